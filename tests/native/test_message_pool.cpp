#include "sip/message_pool.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <string>

using namespace sipfarm::sip;

namespace {
const std::string wire =
    "OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n";
}

TEST_CASE("message pool: a message lives as long as its last reference, and its buffers are used again") {
  MessagePool pool;
  bool ok = false;
  const Message* first = nullptr;
  {
    MessageRef one = pool.parse(wire, ok);
    CHECK(ok);
    first = &*one;
    MessageRef two = one;
    one.reset();
    CHECK_FALSE(one);
    CHECK(two->call_id() == "1");
    MessageRef three = std::move(two);
    two = three;
    CHECK(&*two == first);
    CHECK(pool.out() == 1);
    CHECK(pool.bytes() >= wire.size());
  }
  CHECK(pool.out() == 0);
  CHECK(pool.bytes() == 0);
  CHECK(&*pool.parse(wire, ok) == first);
}

TEST_CASE("message pool: a message may outlive its pool") {
  std::optional<MessagePool> pool{std::in_place};
  bool ok = false;
  MessageRef kept = pool->parse(wire, ok);
  pool.reset();
  CHECK(kept->call_id() == "1");
}

TEST_CASE("message pool: what does not parse can still be looked at, and large buffers are not kept") {
  MessagePool pool;
  bool ok = true;
  CHECK(pool.parse("OPTIONS sip:a SIP/2.0\r\n\r\n", ok)->failure().status == 400);
  CHECK_FALSE(ok);
  const Message* large = nullptr;
  {
    const MessageRef one = pool.parse(wire + std::string(60'000, 'x'), ok);
    CHECK(ok);
    large = &*one;
    CHECK(large->capacity_bytes() > 60'000);
  }
  CHECK(pool.parse(wire, ok)->capacity_bytes() < 10'000);
}
