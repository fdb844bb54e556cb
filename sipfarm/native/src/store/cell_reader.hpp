#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/batch_thread.hpp"
#include "store/sqlite.hpp"

namespace sipfarm::store {

struct CellKey {
  std::string noun;
  std::string scope;
  std::string name;
};

/// Cells to be read as of one moment.
struct CellRead {
  std::uint64_t ticket = 0;
  std::vector<CellKey> keys;
};

struct CellValues {
  std::uint64_t ticket = 0;
  std::vector<std::optional<std::string>> values;  // in the order of the keys; nothing where there is no such cell
  std::string error;                               // "" where they were read
};

/// Reads cells of a SQLite file, with a connection of its own: a writer's lock does not stop it.
class CellReader {
 public:
  /// The file must have its schema. Look at `error` before anything else.
  explicit CellReader(const std::string& path);

  /// Why the file cannot be used, "" where it can.
  const std::string& error() const noexcept { return error_; }
  int descriptor() const noexcept { return outbox_->descriptor(); }
  void submit(CellRead read) { thread_.submit(std::move(read), outbox_); }
  std::vector<CellValues> take() { return outbox_->take(); }
  void close() { thread_.close(); }

 private:
  std::vector<CellValues> perform(const std::vector<CellRead>& batch);
  bool read(const CellKey& key, std::optional<std::string>& value);

  Database database_;
  Statement begin_, select_, commit_;
  std::string error_;
  std::shared_ptr<Outbox<CellValues>> outbox_ = std::make_shared<Outbox<CellValues>>();
  BatchThread<CellRead, CellValues> thread_;  // last: it ends before what it works with
};

}  // namespace sipfarm::store
