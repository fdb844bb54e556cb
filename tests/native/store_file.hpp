#pragma once

#include <doctest/doctest.h>
#include <poll.h>

#include <filesystem>
#include <string>
#include <vector>

#include "store/sqlite.hpp"

/// A SQLite store in a directory of its own, as cluster/io/sqlite_schema.py makes it.
class StoreFile {
 public:
  StoreFile() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sipfarm-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    home_ = pattern;
    sqlite3* opened = nullptr;
    REQUIRE(sqlite3_open(path().c_str(), &opened) == SQLITE_OK);
    database_.reset(opened);
    run("PRAGMA journal_mode = WAL");
    run(schema);
  }
  ~StoreFile() {
    database_.reset();
    std::filesystem::remove_all(home_);
  }

  std::string path() const { return (home_ / "farm.db").string(); }
  void run(const std::string& sql) { REQUIRE(sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK); }
  std::int64_t count() {
    sipfarm::store::Statement select{database_.get(), "SELECT count(*) FROM cell WHERE noun = 'registration'"};
    REQUIRE(select.step() == SQLITE_ROW);
    return std::stoll(std::string{select.column(0)});
  }

 private:
  static constexpr const char* schema =
      "CREATE TABLE cell (noun TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, dead_at_wall_ms INTEGER NOT NULL, "
      "PRIMARY KEY (noun, scope, name)) WITHOUT ROWID";

  std::filesystem::path home_;
  sipfarm::store::Database database_;
};

/// Waits for what a thread of the store tells.
template <typename Thread>
auto told_by(Thread& thread, std::size_t count) {
  decltype(thread.take()) out;
  while (out.size() < count) {
    pollfd readable{thread.descriptor(), POLLIN, 0};
    REQUIRE(poll(&readable, 1, 10'000) == 1);
    for (auto& outcome : thread.take()) out.push_back(std::move(outcome));
  }
  return out;
}
