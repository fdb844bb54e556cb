#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

/// SQLite handles that close themselves.
namespace sipfarm::store {

struct CloseDatabase {
  void operator()(sqlite3* database) const noexcept { sqlite3_close_v2(database); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

/// Opens a file that exists; why it cannot be, "" where it is open.
std::string open(const std::string& path, int flags, Database& database);

/// A prepared statement; texts and blobs that are bound must live until it is reset.
class Statement {
 public:
  Statement() = default;
  Statement(sqlite3* database, std::string_view sql) {
    sqlite3_stmt* made = nullptr;
    sqlite3_prepare_v3(database, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &made, nullptr);
    statement_.reset(made);
  }

  explicit operator bool() const noexcept { return statement_ != nullptr; }

  void text(int index, std::string_view value) noexcept {
    sqlite3_bind_text(statement_.get(), index, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
  }
  void blob(int index, std::string_view value) noexcept {
    sqlite3_bind_blob(statement_.get(), index, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
  }
  void integer(int index, std::int64_t value) noexcept { sqlite3_bind_int64(statement_.get(), index, value); }

  int step() noexcept { return sqlite3_step(statement_.get()); }
  std::string_view column(int index) const noexcept {
    const void* bytes = sqlite3_column_blob(statement_.get(), index);
    if (bytes == nullptr) return {};
    return {static_cast<const char*>(bytes), static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), index))};
  }
  int reset() noexcept { return sqlite3_reset(statement_.get()); }
  /// One step of a statement that gives no rows.
  int run() noexcept {
    const int code = step();
    reset();
    return code;
  }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

struct Preparation {
  Statement& statement;
  std::string_view sql;
};
/// Why one of them cannot be prepared, "" where all are.
std::string prepare(const Database& database, std::initializer_list<Preparation> preparations);

}  // namespace sipfarm::store
