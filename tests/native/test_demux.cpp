#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "rtp/demux.hpp"

using sipfarm::rtp::demux;
using sipfarm::rtp::Packet;

TEST_CASE("the first byte tells the protocol for all of its values (RFC 7983 §7)") {
  for (unsigned first = 0; first < 256; ++first) {
    std::vector<std::uint8_t> bytes(200, 0);
    bytes[0] = static_cast<std::uint8_t>(first);
    Packet expected = Packet::malformed;
    if (first <= 3) expected = Packet::stun;
    if (first >= 16 && first <= 19) expected = Packet::zrtp;
    if (first >= 20 && first <= 63) expected = Packet::dtls;
    if (first >= 128 && first <= 191) expected = Packet::rtp;
    CAPTURE(first);
    CHECK(demux(bytes) == expected);
  }
}

TEST_CASE("the second byte tells RTCP from RTP for all of its values (RFC 5761 §4)") {
  for (unsigned second = 0; second < 256; ++second) {
    std::vector<std::uint8_t> bytes(32, 0);
    bytes[0] = 0x80;
    bytes[1] = static_cast<std::uint8_t>(second);
    CAPTURE(second);
    CHECK(demux(bytes) == (second >= 192 && second <= 223 ? Packet::rtcp : Packet::rtp));
  }
}

TEST_CASE("a packet shorter than its fixed header is malformed") {
  struct Case {
    std::uint8_t first, second;
    std::size_t least;
    Packet kind;
  };
  const Case cases[] = {
      {0x80, 0, 12, Packet::rtp},  {0x8f, 0, 72, Packet::rtp}, {0x80, 200, 8, Packet::rtcp},
      {0x00, 1, 20, Packet::stun}, {22, 254, 13, Packet::dtls}, {16, 0, 12, Packet::zrtp},
  };
  for (const Case& each : cases) {
    std::vector<std::uint8_t> bytes(each.least, 0);
    bytes[0] = each.first;
    bytes[1] = each.second;
    CAPTURE(int{each.first});
    CHECK(demux(bytes) == each.kind);
    for (std::size_t length = 0; length < each.least; ++length) CHECK(demux(std::span{bytes}.first(length)) == Packet::malformed);
  }
}

TEST_CASE("each packet of the vectors is what its name says") {
  struct Case {
    const char* name;
    Packet kind;
  };
  const Case cases[] = {
      {"pcmu", Packet::rtp},
      {"telephone_event", Packet::rtp},
      {"csrc_and_extension", Packet::rtp},
      {"csrc_cut_short", Packet::malformed},
      {"header_cut_short", Packet::malformed},
      {"marker_payload_type_72", Packet::rtcp},  // as RTCP's, where the ports are one (RFC 5761 §4)
      {"rtcp_sender_report", Packet::rtcp},
      {"rtcp_bye_cut_short", Packet::malformed},
      {"stun_binding", Packet::stun},
      {"dtls_client_hello", Packet::dtls},
      {"zrtp_hello", Packet::zrtp},
      {"turn_channel_data", Packet::malformed},
      {"empty", Packet::malformed},
  };
  for (const Case& each : cases) {
    CAPTURE(each.name);
    std::ifstream file{std::string{SIPFARM_VECTORS} + "/rtp/" + each.name + ".bin", std::ios::binary};
    REQUIRE(file.is_open());
    std::vector<std::uint8_t> bytes;
    for (std::istreambuf_iterator<char> at{file}, end; at != end; ++at) bytes.push_back(static_cast<std::uint8_t>(*at));
    CHECK(demux(bytes) == each.kind);
  }
}

TEST_CASE("an echo changes the SSRC and nothing else, and never gives back the sender's own") {
  std::array<std::uint8_t, 16> packet{0x80, 0x65, 1, 2, 3, 4, 5, 6, 0xde, 0xad, 0xbe, 0xef, 9, 9, 9, 9};
  const auto before = packet;
  sipfarm::rtp::make_echo(packet, 0x01020304);
  CHECK(sipfarm::rtp::ssrc_of(packet) == 0x01020304);
  sipfarm::rtp::set_ssrc(packet, 0xdeadbeef);
  CHECK(packet == before);
  sipfarm::rtp::make_echo(packet, 0xdeadbeef);
  CHECK(sipfarm::rtp::ssrc_of(packet) != 0xdeadbeef);
}
