#include "store/sqlite.hpp"

namespace sipfarm::store {

std::string open(const std::string& path, int flags, Database& database) {
  sqlite3* opened = nullptr;
  int code = sqlite3_open_v2(path.c_str(), &opened, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  database.reset(opened);
  if (code == SQLITE_OK) code = sqlite3_exec(opened, "PRAGMA synchronous = NORMAL", nullptr, nullptr, nullptr);
  if (code == SQLITE_OK) return {};
  return opened != nullptr ? sqlite3_errmsg(opened) : "out of memory";
}

std::string prepare(const Database& database, std::initializer_list<Preparation> preparations) {
  for (const auto& [statement, sql] : preparations) {
    statement = Statement{database.get(), sql};
    if (!statement) return sqlite3_errmsg(database.get());
  }
  return {};
}

}  // namespace sipfarm::store
