#include "store/cell_reader.hpp"

#include <chrono>
#include <utility>

namespace sipfarm::store {

namespace {

constexpr auto gather = std::chrono::milliseconds{5};  // a decision waits

}  // namespace

CellReader::CellReader(const std::string& path) {
  error_ = open(path, SQLITE_OPEN_READWRITE, database_);
  if (error_.empty()) {
    error_ = prepare(database_, {{begin_, "BEGIN"}, {select_, "SELECT value FROM cell WHERE noun = ?1 AND scope = ?2 AND name = ?3"}, {commit_, "COMMIT"}});
  }
  if (error_.empty()) thread_.start([this](const std::vector<CellRead>& batch) { return perform(batch); }, gather);
}

/// The whole batch is read as of one moment.
std::vector<CellValues> CellReader::perform(const std::vector<CellRead>& batch) {
  std::vector<CellValues> out;
  out.reserve(batch.size());
  bool done = begin_.run() == SQLITE_DONE;
  for (const CellRead& asked : batch) {
    CellValues& told = out.emplace_back(CellValues{asked.ticket, {}, {}});
    for (const CellKey& key : asked.keys) done = done && read(key, told.values.emplace_back());
    if (!done) told.error = sqlite3_errmsg(database_.get());
  }
  if (sqlite3_get_autocommit(database_.get()) == 0) commit_.run();
  return out;
}

bool CellReader::read(const CellKey& key, std::optional<std::string>& value) {
  select_.text(1, key.noun);
  select_.text(2, key.scope);
  select_.text(3, key.name);
  const int found = select_.step();
  if (found == SQLITE_ROW) value.emplace(select_.column(0));
  select_.reset();
  return found == SQLITE_ROW || found == SQLITE_DONE;
}

}  // namespace sipfarm::store
