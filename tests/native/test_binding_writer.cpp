#include <doctest/doctest.h>
#include <poll.h>

#include <filesystem>
#include <fstream>

#include "store/binding_writer.hpp"

// The thread that writes bindings to a SQLite file.

using namespace sipfarm::store;

namespace {

constexpr std::string_view schema =
    "CREATE TABLE cell (noun TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, dead_at_wall_ms INTEGER NOT NULL, "
    "PRIMARY KEY (noun, scope, name)) WITHOUT ROWID";
constexpr std::int64_t for_ever = INT64_MAX;

/// A store in a directory of its own.
class Store {
 public:
  Store() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sipfarm-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    home_ = pattern;
    sqlite3* opened = nullptr;
    REQUIRE(sqlite3_open(path().c_str(), &opened) == SQLITE_OK);
    database_.reset(opened);
    run("PRAGMA journal_mode = WAL");
    run(std::string{schema});
  }
  ~Store() {
    database_.reset();
    std::filesystem::remove_all(home_);
  }

  std::string path() const { return (home_ / "farm.db").string(); }
  void run(const std::string& sql) { REQUIRE(sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK); }
  std::int64_t count() {
    Statement select{database_.get(), "SELECT count(*) FROM cell WHERE noun = 'registration'"};
    REQUIRE(select.step() == SQLITE_ROW);
    return std::stoll(std::string{select.column(0)});
  }

 private:
  std::filesystem::path home_;
  Database database_;
};

/// A RegisterUpdate with one contact.
std::string update(char cseq) {
  const std::string binding = std::string{"\x9a\xa1""a\xa1""c\xa1""c\xa1x"} + cseq + "\xce\x7f\xff\xff\xff\xa0" + '\0' + "\x90\xcd\x03\xe8";
  return std::string{"\x97\xa1""a\xa1x"} + cseq + "\x91" + binding + "\x90\xc2\x0a";
}

std::vector<BindingOutcome> outcomes(BindingWriter& writer, std::size_t count) {
  std::vector<BindingOutcome> out;
  while (out.size() < count) {
    pollfd readable{writer.descriptor(), POLLIN, 0};
    REQUIRE(poll(&readable, 1, 10'000) == 1);
    for (BindingOutcome& outcome : writer.take()) out.push_back(std::move(outcome));
  }
  return out;
}

}  // namespace

TEST_CASE("what is told of is in the file, in the order it was submitted") {
  Store store;
  BindingWriter writer{store.path()};
  REQUIRE(writer.error() == "");
  for (std::uint64_t i = 0; i < 3'000; ++i) {
    writer.submit({i, "sip:" + std::to_string(i % 1'000) + "@x", update(static_cast<char>(1 + i / 1'000)), 1'000, for_ever});
  }
  const auto told = outcomes(writer, 3'000);
  CHECK(store.count() == 1'000);
  for (std::size_t i = 0; i < told.size(); ++i) {
    REQUIRE(told[i].ticket == i);
    REQUIRE(told[i].error == "");
    REQUIRE(told[i].registered.status == RegisterStatus::applied);
  }
}

TEST_CASE("what nobody waits for any more is not written") {
  Store store;
  BindingWriter writer{store.path()};
  writer.submit({1, "sip:a@x", update(1), 1'000, 0});
  CHECK(outcomes(writer, 1)[0].error == "no answer in time");
  CHECK(store.count() == 0);
}

TEST_CASE("an error is that of the whole batch, and the next one is done") {
  Store store;
  BindingWriter writer{store.path()};
  store.run("CREATE TRIGGER refuse BEFORE INSERT ON cell WHEN NEW.scope = 'sip:b@x' BEGIN SELECT RAISE(ABORT, 'refused'); END");
  writer.submit({1, "sip:b@x", update(1), 1'000, for_ever});
  CHECK(outcomes(writer, 1)[0].error == "refused");
  writer.submit({2, "sip:a@x", update(1), 1'000, for_ever});
  CHECK(outcomes(writer, 1)[0].error == "");
  CHECK(store.count() == 1);
}

TEST_CASE("closing finishes what was submitted") {
  Store store;
  BindingWriter writer{store.path()};
  for (std::uint64_t i = 0; i < 100; ++i) writer.submit({i, "sip:" + std::to_string(i) + "@x", update(1), 1'000, for_ever});
  writer.close();
  CHECK(writer.take().size() == 100);
  CHECK(store.count() == 100);
}

TEST_CASE("a file that cannot be used is told of") {
  Store store;
  CHECK(BindingWriter{store.path() + ".missing"}.error() == "unable to open database file");
  store.run("DROP TABLE cell");
  CHECK(BindingWriter{store.path()}.error() == "no such table: cell");
  std::ofstream{store.path() + ".text"} << std::string(2'000, 'x');
  CHECK(BindingWriter{store.path() + ".text"}.error() == "file is not a database");
}
