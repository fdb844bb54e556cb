#include <doctest/doctest.h>

#include <fstream>

#include "store/binding_writer.hpp"
#include "store_file.hpp"

// The thread that writes bindings to a SQLite file.

using namespace sipfarm::store;

namespace {

constexpr std::int64_t for_ever = INT64_MAX;

/// A RegisterUpdate with one contact.
std::string update(char cseq) {
  const std::string binding = std::string{"\x9a\xa1""a\xa1""c\xa1""c\xa1x"} + cseq + "\xce\x7f\xff\xff\xff\xa0" + '\0' + "\x90\xcd\x03\xe8";
  return std::string{"\x97\xa1""a\xa1x"} + cseq + "\x91" + binding + "\x90\xc2\x0a";
}

}  // namespace

TEST_CASE("what is told of is in the file, in the order it was submitted") {
  StoreFile store;
  BindingWriter writer{store.path(), 2'000};
  REQUIRE(writer.error() == "");
  for (std::uint64_t i = 0; i < 3'000; ++i) {
    writer.submit({i, "sip:" + std::to_string(i % 1'000) + "@x", update(static_cast<char>(1 + i / 1'000)), 1'000, for_ever});
  }
  const auto told = told_by(writer, 3'000);
  CHECK(store.count() == 1'000);
  for (std::size_t i = 0; i < told.size(); ++i) {
    REQUIRE(told[i].asked.ticket == i);
    REQUIRE(told[i].error == "");
    REQUIRE(told[i].registered.status == RegisterStatus::applied);
  }
}

TEST_CASE("what nobody waits for any more is not written") {
  StoreFile store;
  BindingWriter writer{store.path(), 2'000};
  writer.submit({1, "sip:a@x", update(1), 1'000, 0});
  CHECK(told_by(writer, 1)[0].error == "no answer in time");
  CHECK(store.count() == 0);
}

TEST_CASE("an error is that of the whole batch, and the next one is done") {
  StoreFile store;
  BindingWriter writer{store.path(), 2'000};
  store.run("CREATE TRIGGER refuse BEFORE INSERT ON cell WHEN NEW.scope = 'sip:b@x' BEGIN SELECT RAISE(ABORT, 'refused'); END");
  writer.submit({1, "sip:b@x", update(1), 1'000, for_ever});
  CHECK(told_by(writer, 1)[0].error == "refused");
  writer.submit({2, "sip:a@x", update(1), 1'000, for_ever});
  CHECK(told_by(writer, 1)[0].error == "");
  CHECK(store.count() == 1);
}

TEST_CASE("outcomes go to the outbox of who asked") {
  StoreFile store;
  BindingWriter writer{store.path(), 2'000};
  const auto other = std::make_shared<Outbox<BindingOutcome>>();
  for (std::uint64_t i = 0; i < 100; ++i) {
    if (i % 3 == 0) {
      writer.submit({i, "sip:" + std::to_string(i) + "@x", update(1), 1'000, for_ever}, other);
    } else {
      writer.submit({i, "sip:" + std::to_string(i) + "@x", update(1), 1'000, for_ever});
    }
  }
  for (const BindingOutcome& outcome : told_by(writer, 66)) CHECK(outcome.asked.ticket % 3 != 0);
  for (const BindingOutcome& outcome : told_by(*other, 34)) CHECK(outcome.asked.ticket % 3 == 0);
  CHECK(writer.take().empty());
}

TEST_CASE("closing finishes what was submitted") {
  StoreFile store;
  BindingWriter writer{store.path(), 2'000};
  for (std::uint64_t i = 0; i < 100; ++i) writer.submit({i, "sip:" + std::to_string(i) + "@x", update(1), 1'000, for_ever});
  writer.close();
  CHECK(writer.take().size() == 100);
  CHECK(store.count() == 100);
}

TEST_CASE("a file that cannot be used is told of") {
  StoreFile store;
  CHECK(BindingWriter{store.path() + ".missing", 2'000}.error() == "unable to open database file");
  store.run("DROP TABLE cell");
  CHECK(BindingWriter{store.path(), 2'000}.error() == "no such table: cell");
  std::ofstream{store.path() + ".text"} << std::string(2'000, 'x');
  CHECK(BindingWriter{store.path() + ".text", 2'000}.error() == "file is not a database");
}
