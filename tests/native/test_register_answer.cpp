#include <doctest/doctest.h>

#include "net/msgpack.hpp"
#include "registrar/register_answer.hpp"
#include "registrar/register_update.hpp"

// What a 200 to a REGISTER says (RFC 3261 §10.3 step 8), and the update it answers.

using namespace sipfarm;
using namespace sipfarm::registrar;

namespace {

constexpr std::int64_t wall_ms = 1'700'000'000'000;

/// One binding of a stored array, as a later release may have it.
struct Stored {
  std::string contact = "sip:a@x";
  std::int64_t expires_at_wall_ms = wall_ms + 60'000;
  std::string instance_id;
  std::uint64_t reg_id = 0;
  std::uint64_t q = 1'000;

  void append_to(net::MsgpackWriter& writer) const {
    writer.array(12);
    for (const std::string_view text : {std::string_view{"sip:a@x"}, std::string_view{contact}, std::string_view{"key"}, std::string_view{"call"}}) {
      writer.str(text);
    }
    writer.uint(7);
    writer.uint(static_cast<std::uint64_t>(expires_at_wall_ms));
    writer.str(instance_id);
    writer.uint(reg_id);
    writer.array(1);
    writer.str("<sip:hop>");
    writer.uint(q);
    writer.str("received");
    writer.str("flow");
  }
};

std::string contacts_of_all(const std::vector<Stored>& bindings) {
  std::string record;
  net::MsgpackWriter writer{record};
  writer.array(static_cast<std::uint8_t>(bindings.size()));
  for (const Stored& binding : bindings) binding.append_to(writer);
  std::string out;
  return append_contacts(out, record, wall_ms) ? out : "refused";
}

std::string date_of(std::int64_t at_ms) {
  std::string out;
  append_date(out, at_ms);
  return out;
}

}  // namespace

TEST_CASE("each binding that has not expired is a Contact") {
  CHECK(contacts_of_all({}) == "");
  CHECK(contacts_of_all({{}}) == "Contact: <sip:a@x>;expires=60\r\n");
  CHECK(contacts_of_all({{"sip:b@y", wall_ms + 1, {}, 0, 1'000}, {"sip:c@z", wall_ms, {}, 0, 1'000}}) == "Contact: <sip:b@y>;expires=1\r\n");
  CHECK(contacts_of_all({{"sip:b@y", wall_ms + 1'000, "a\"b\\", 3, 1'000}}) ==
        "Contact: <sip:b@y>;expires=1;+sip.instance=\"a\\\"b\\\\\";reg-id=3\r\n");
}

TEST_CASE("a qvalue has no digit too many") {
  const auto q = [](std::uint64_t thousandths) { return contacts_of_all({{"sip:a@x", wall_ms + 1'000, {}, 0, thousandths}}).substr(28); };
  CHECK(q(0) == ";q=0\r\n");
  CHECK(q(5) == ";q=0.005\r\n");
  CHECK(q(50) == ";q=0.05\r\n");
  CHECK(q(120) == ";q=0.12\r\n");
  CHECK(q(999) == ";q=0.999\r\n");
  CHECK(q(1'000) == "\r\n");
}

TEST_CASE("what cannot be a Contact line is refused") {
  CHECK(contacts_of_all({{"sip:a@x\r\nEvil: 1", wall_ms + 1'000, {}, 0, 1'000}}) == "refused");
  CHECK(contacts_of_all({{"sip:a@x", wall_ms + 1'000, "\n", 0, 1'000}}) == "refused");
  CHECK(contacts_of_all({{"sip:a@x", wall_ms + 1'000, {}, 0, 1'001}}) == "refused");
  std::string out;
  for (const std::string_view record : {"", "\xc0", "\x91", "\x91\x91\xa1" "a"}) CHECK_FALSE(append_contacts(out, record, wall_ms));
}

TEST_CASE("a Date is that of its second") {
  CHECK(date_of(wall_ms) == "Tue, 14 Nov 2023 22:13:20 GMT");
  CHECK(date_of(wall_ms + 999) == "Tue, 14 Nov 2023 22:13:20 GMT");
  CHECK(date_of(0) == "Thu, 01 Jan 1970 00:00:00 GMT");
  CHECK(date_of(1'709'164'799'000) == "Wed, 28 Feb 2024 23:59:59 GMT");
  CHECK(date_of(1'709'164'800'000) == "Thu, 29 Feb 2024 00:00:00 GMT");
}

TEST_CASE("the contacts of an update are found again") {
  sip::RegisterContact contact;
  contact.uri = "sip:a@192.0.2.1";
  contact.key = "sip:a@192.0.2.1";
  std::string update;
  append_update(update, {"sip:a@x", "call", 300, contact, wall_ms + 60'000, "udp:192.0.2.1:5060", "mark", std::string(40, 'u'), 10});
  std::string out;
  CHECK(append_contacts(out, contacts_of(update), wall_ms));
  CHECK(out == "Contact: <sip:a@192.0.2.1>;expires=60\r\n");
  CHECK(contacts_of("\x97\xa1").empty());
}
