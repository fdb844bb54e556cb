#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "codec/amr_payload.hpp"

namespace {

using namespace sipfarm::codec;

std::vector<std::uint8_t> bytes_of(std::string bits) {
  std::erase(bits, ' ');
  while (bits.size() % 8 != 0) bits += '0';
  std::vector<std::uint8_t> bytes;
  for (std::size_t at = 0; at < bits.size(); at += 8) bytes.push_back(static_cast<std::uint8_t>(std::stoi(bits.substr(at, 8), nullptr, 2)));
  return bytes;
}

/// Bits that differ along the frame: 1 0 0 1 0 0 ... from a frame's own start.
std::string frame_bits(std::size_t count, std::size_t phase) {
  std::string bits;
  for (std::size_t i = 0; i < count; ++i) bits += (i + phase) % 3 == 0 ? '1' : '0';
  return bits;
}

AmrFrame frame_of(const AmrKind& kind, std::uint8_t type, std::size_t phase) {
  AmrFrame frame;
  frame.type = type;
  const auto bits = bytes_of(frame_bits(*kind.bits_of(type), phase));
  std::copy(bits.begin(), bits.end(), frame.bits.begin());
  return frame;
}

std::vector<std::uint8_t> written(const AmrKind& kind, bool octet_aligned, const AmrPacket& packet) {
  std::vector<std::uint8_t> out(k_payload_bytes_max, 0xff);
  out.resize(write_amr(kind, octet_aligned, packet, out));
  return out;
}

TEST_CASE("a bandwidth-efficient packet with one frame (RFC 4867 §4.3.5.1)") {
  AmrPacket packet;
  packet.requested_mode = k_amr_any_mode;
  packet.count = 1;
  packet.frames[0] = frame_of(k_amr_kind, 4, 0);  // AMR 7.4
  // CMR, F, FT, Q, 148 bits, two bits of padding
  const auto expected = bytes_of("1111 0 0100 1" + frame_bits(148, 0) + "00");
  CHECK(expected.size() == 20);
  CHECK(written(k_amr_kind, false, packet) == expected);
}

TEST_CASE("a bandwidth-efficient packet with several frames (RFC 4867 §4.3.5.3)") {
  AmrPacket packet;
  packet.requested_mode = 8;
  packet.count = 2;
  packet.frames[0] = frame_of(k_amr_wb_kind, 8, 1);  // AMR-WB 23.85
  packet.frames[1] = frame_of(k_amr_wb_kind, 0, 2);  // AMR-WB 6.60
  const auto expected = bytes_of("1000 1 1000 1 0 0000 1" + frame_bits(477, 1) + frame_bits(132, 2));
  CHECK(written(k_amr_wb_kind, false, packet) == expected);
  const auto read = read_amr(k_amr_wb_kind, false, expected);
  REQUIRE(read);
  CHECK(read->requested_mode == 8);
  CHECK(read->count == 2);
  CHECK(read->frames[0].bits == packet.frames[0].bits);
  CHECK(read->frames[1].bits == packet.frames[1].bits);
}

TEST_CASE("an octet-aligned packet with a lost frame in the middle (RFC 4867 §4.4.5)") {
  AmrPacket packet;
  packet.requested_mode = 6;
  packet.count = 3;
  packet.frames[0] = frame_of(k_amr_kind, 6, 0);
  packet.frames[1] = frame_of(k_amr_kind, AmrKind::k_no_data, 0);
  packet.frames[2] = frame_of(k_amr_kind, 5, 1);
  const auto expected = bytes_of("0110 0000  1 0110 1 00  1 1111 1 00  0 0101 1 00 " + frame_bits(204, 0) + "0000" + frame_bits(159, 1));
  CHECK(written(k_amr_kind, true, packet) == expected);
  CHECK(count_amr_frames(k_amr_kind, true, expected) == 3);
}

TEST_CASE("what is written is read, for each type of frame") {
  for (const AmrKind* kind : {&k_amr_kind, &k_amr_wb_kind}) {
    for (const bool octet_aligned : {false, true}) {
      for (std::uint8_t type = 0; type < 16; ++type) {
        if (!kind->bits_of(type)) continue;
        AmrPacket packet;
        packet.count = k_amr_frames_max;
        for (std::size_t i = 0; i < packet.count; ++i) {
          packet.frames[i] = frame_of(*kind, type, i);
          packet.frames[i].is_good = i % 2 == 0;
        }
        const auto bytes = written(*kind, octet_aligned, packet);
        const auto read = read_amr(*kind, octet_aligned, bytes);
        REQUIRE(read);
        CHECK(count_amr_frames(*kind, octet_aligned, bytes) == k_amr_frames_max);
        for (std::size_t i = 0; i < packet.count; ++i) {
          CHECK(read->frames[i].type == type);
          CHECK(read->frames[i].is_good == packet.frames[i].is_good);
          CHECK(read->frames[i].bits == packet.frames[i].bits);
        }
        if (*kind->bits_of(type) == 0) continue;
        CHECK_FALSE(read_amr(*kind, octet_aligned, ConstPayload{bytes}.first(bytes.size() - 1)));
      }
    }
  }
}

TEST_CASE("types that are reserved, and more frames than a packet may have, are no payload") {
  CHECK_FALSE(read_amr(k_amr_kind, true, bytes_of("11110000 0 1001 100")));
  CHECK_FALSE(read_amr(k_amr_kind, true, bytes_of("11110000 0 1110 100")));
  CHECK(read_amr(k_amr_wb_kind, true, bytes_of("11110000 0 1110 100")));  // SPEECH_LOST
  CHECK_FALSE(read_amr(k_amr_wb_kind, true, bytes_of("11110000 0 1010 100")));
  std::string many = "11110000";
  for (std::size_t i = 0; i < k_amr_frames_max; ++i) many += "1 1111 100";
  CHECK_FALSE(read_amr(k_amr_kind, true, bytes_of(many + "0 1111 100")));
  CHECK_FALSE(read_amr(k_amr_kind, true, {}));
  CHECK_FALSE(read_amr(k_amr_kind, true, bytes_of("11110000")));
  CHECK_FALSE(read_amr(k_amr_kind, false, bytes_of("11111111 11111111")));
}

}  // namespace
