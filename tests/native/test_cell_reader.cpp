#include <doctest/doctest.h>

#include "store/cell_reader.hpp"
#include "store_file.hpp"

// The thread that reads cells of a SQLite file.

using namespace sipfarm::store;

TEST_CASE("values come in the order of their keys") {
  StoreFile store;
  store.run("INSERT INTO cell VALUES ('n', 's', 'a', x'00ff', 0), ('n', 's', 'b', x'', 0)");
  CellReader reader{store.path()};
  REQUIRE(reader.error() == "");
  reader.submit({7, {{"n", "s", "b"}, {"n", "s", "missing"}, {"n", "s", "a"}}});
  reader.submit({8, {}});
  const auto told = told_by(reader, 2);
  CHECK(told[0].ticket == 7);
  CHECK(told[0].error == "");
  REQUIRE(told[0].values.size() == 3);
  CHECK(told[0].values[0] == std::string{});
  CHECK_FALSE(told[0].values[1]);
  CHECK(told[0].values[2] == std::string{"\0\xff", 2});
  CHECK(told[1].values.empty());
}

TEST_CASE("the write lock of another does not stop it, and what is committed is seen") {
  StoreFile store;
  CellReader reader{store.path()};
  store.run("BEGIN IMMEDIATE; INSERT INTO cell VALUES ('n', 's', 'a', x'01', 0)");
  reader.submit({1, {{"n", "s", "a"}}});
  CHECK_FALSE(told_by(reader, 1)[0].values[0]);
  store.run("COMMIT");
  reader.submit({2, {{"n", "s", "a"}}});
  CHECK(told_by(reader, 1)[0].values[0] == "\x01");
}

TEST_CASE("an error is told") {
  StoreFile store;
  CellReader reader{store.path()};
  store.run("ALTER TABLE cell RENAME TO other");
  reader.submit({1, {{"n", "s", "a"}}});
  CHECK(told_by(reader, 1)[0].error == "no such table: cell");
  store.run("ALTER TABLE other RENAME TO cell");
  reader.submit({2, {{"n", "s", "a"}}});
  CHECK(told_by(reader, 1)[0].error == "");
}
