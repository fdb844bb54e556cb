#include "sip/bus_frame.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace sipfarm;
using Kind = sip::BusMessage::Kind;

namespace {

sip::BusMessage full(Kind kind) {
  sip::BusMessage message;
  message.kind = kind;
  message.settled = true;
  message.hops = 2;
  message.member = 16'383;
  message.epoch = 2'097'151;
  message.sender_epoch = 2'097'150;
  message.ttl_ms = UINT32_MAX;
  message.key = UINT64_MAX;
  message.claim = UINT64_MAX - 1;
  message.merge = UINT64_MAX - 2;
  message.hop = {net::Address::parse("[2001:db8::1]", 65'535).value(), UINT32_MAX, 9, 3, net::Transport::wss};
  message.fault = sip::Fault::foreign;
  message.bytes = "OPTIONS sip:a SIP/2.0\r\n\r\n";
  return message;
}

constexpr Kind kinds[] = {Kind::packet, Kind::lookup, Kind::claim, Kind::claimed, Kind::note, Kind::send, Kind::failed, Kind::sync, Kind::synced, Kind::undelivered, Kind::sender};

}  // namespace

TEST_CASE("bus messages of each kind come back as they went, one after the other") {
  std::string payload;
  for (const Kind kind : kinds) sip::append_bus_message(payload, full(kind));
  net::MsgpackReader reader{payload};
  for (const Kind kind : kinds) {
    const auto read = sip::read_bus_message(reader);
    REQUIRE(read);
    CHECK(read->kind == kind);
    std::string again;
    sip::append_bus_message(again, *read);
    std::string one;
    sip::append_bus_message(one, full(kind));
    CHECK(again == one);
  }
  CHECK(reader.empty());
}

TEST_CASE("a packet keeps its hop, IPv4 and IPv6, and its bytes of any length") {
  for (const char* host : {"192.0.2.1", "[2001:db8::1]"}) {
    for (const std::size_t size : {0U, 255U, 256U, 65'535U}) {
      sip::BusMessage message = full(Kind::packet);
      const std::string bytes(size, 'x');
      message.bytes = bytes;
      message.hop.remote = net::Address::parse(host, 5060).value();
      std::string payload;
      sip::append_bus_message(payload, message);
      net::MsgpackReader reader{payload};
      const auto read = sip::read_bus_message(reader);
      REQUIRE(read);
      CHECK(read->hop == message.hop);
      CHECK(read->bytes == bytes);
      CHECK(read->settled);
      CHECK(read->hops == 2);
    }
  }
}

TEST_CASE("what a sender has shown is good credentials or a fault that there is") {
  sip::BusMessage message = full(Kind::sender);
  message.fault = std::nullopt;
  std::string payload;
  sip::append_bus_message(payload, message);
  net::MsgpackReader reader{payload};
  const auto read = sip::read_bus_message(reader);
  REQUIRE(read);
  CHECK(!read->fault);
  CHECK(read->hop == message.hop);
  payload.back() = static_cast<char>(sip::fault_names.size() + 1);
  net::MsgpackReader unknown{payload};
  CHECK_FALSE(sip::read_bus_message(unknown));
}

TEST_CASE("a message cut anywhere, of another kind or with another count is nothing") {
  for (const Kind kind : kinds) {
    std::string payload;
    sip::append_bus_message(payload, full(kind));
    for (std::size_t size = 0; size < payload.size(); ++size) {
      net::MsgpackReader reader{std::string_view{payload}.substr(0, size)};
      CHECK_FALSE(sip::read_bus_message(reader));
    }
    std::string count = payload;
    count[0] = static_cast<char>(count[0] ^ 1);
    net::MsgpackReader counted{count};
    CHECK_FALSE(sip::read_bus_message(counted));
    std::string other = payload;
    other[1] = 100;
    net::MsgpackReader unknown{other};
    CHECK_FALSE(sip::read_bus_message(unknown));
  }
}
