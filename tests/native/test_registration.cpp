#include <doctest/doctest.h>

#include "store/record_reader.hpp"
#include "store/registration.hpp"

// The stored form of registrations; the rules themselves are held against a model in tests/cluster/test_registration.py.

using namespace sipfarm::store;

namespace {

std::string str(std::string_view text) { return static_cast<char>(0xa0 | text.size()) + std::string{text}; }

std::string integer(std::uint32_t number) {
  std::string out = "\xce";
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(number >> shift);
  return out;
}

/// A Binding whose contact, Call-ID and CSeq are given; `more` are fields of a later release.
std::string binding(std::string_view contact, std::string_view call_id, std::uint32_t cseq, std::string_view more = {}, int more_count = 0) {
  return static_cast<char>(0x9a + more_count) + str("sip:a@x") + str(contact) + str(contact) + str(call_id) + integer(cseq) + integer(9'000) +
         str("") + integer(0) + "\x90" + integer(1'000) + std::string{more};
}

std::string update(std::string_view contact, std::string_view call_id, std::uint32_t cseq) {
  return "\x97" + str("sip:a@x") + str(call_id) + integer(cseq) + "\x91" + binding(contact, call_id, cseq) + "\x90\xc2" + integer(10);
}

}  // namespace

TEST_CASE("a first binding is stored as it came") {
  const Registered done = apply_register({}, update("c", "x", 1), 1'000);
  CHECK(done.status == RegisterStatus::applied);
  CHECK(done.as_asked);
  CHECK(done.value == "\x92\x91" + binding("c", "x", 1) + "\x90");
  CHECK(done.dead_at_wall_ms == 9'000);
}

TEST_CASE("a repeat and an older CSeq write nothing") {
  const Registered done = apply_register({}, update("c", "x", 2), 1'000);
  const Registered again = apply_register(done.value, update("c", "x", 2), 1'000);
  CHECK(again.status == RegisterStatus::repeated);
  CHECK_FALSE(again.changed);
  CHECK(again.as_asked);
  CHECK(apply_register(done.value, update("c", "x", 1), 1'000).status == RegisterStatus::out_of_order);
}

TEST_CASE("the bindings of others are told and kept with what a later release appended") {
  const std::string old = binding("b", "y", 1, "\xa5later\xc0", 2);
  const Registered done = apply_register("\x92\x91" + old + "\x90", update("c", "x", 1), 1'000);
  CHECK_FALSE(done.as_asked);
  CHECK(done.bindings == "\x92" + old + binding("c", "x", 1));
  CHECK(done.value == "\x92\x92" + old + binding("c", "x", 1) + "\x90");
}

TEST_CASE("what is cut off is corrupt, wherever it is cut") {
  const std::string whole = apply_register({}, update("c", "x", 1), 1'000).value;
  const std::string asked = update("c", "x", 2);
  for (std::size_t size = 1; size < whole.size(); ++size) CHECK(apply_register(whole.substr(0, size), asked, 1).status == RegisterStatus::corrupt);
  for (std::size_t size = 0; size < asked.size(); ++size) CHECK(apply_register(whole, asked.substr(0, size), 1).status == RegisterStatus::corrupt);
}

TEST_CASE("a number that is too large for what is kept is corrupt, wherever it stands") {
  const std::string mark = "\x97" + str("c") + str("") + integer(0) + str("z") + "\xcf\xff" + std::string(7, '\0') + integer(9'000) + "\xc3";
  CHECK(apply_register("\x92\x90\x91" + mark, update("c", "x", 1), 1'000).status == RegisterStatus::corrupt);
  RecordReader reader{std::string_view{"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9}};
  CHECK(reader.integer() == INT64_MAX);
  CHECK_FALSE(reader.failed());
}

TEST_CASE("values nested without end are not followed") {
  RecordReader reader{std::string_view{"\x91\x91\x91\x91\x91\x91\x90"}};
  reader.skip();
  CHECK(reader.failed());
}
