#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "rtp/checksum.hpp"

using namespace sipfarm::rtp;

namespace {

/// RFC 1071 §4.1 word by word, in network order.
std::uint16_t plain_checksum(const std::vector<std::uint8_t>& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    sum += static_cast<std::uint32_t>(bytes[i] << 8) | (i + 1 < bytes.size() ? bytes[i + 1] : 0U);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(~sum);
}

}  // namespace

TEST_CASE("the checksum agrees with the plain one, for any length and however it is cut in even pieces") {
  std::mt19937 random{7};
  for (std::size_t size = 0; size < 300; ++size) {
    std::vector<std::uint8_t> bytes(size);
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    const std::size_t cut = random() % (size + 1) / 2 * 2;
    const std::span<const std::uint8_t> whole{bytes};
    const std::uint16_t folded = checksum_fold(checksum_add(checksum_add(0, whole.first(cut)), whole.subspan(cut)));
    const auto ours = static_cast<std::uint16_t>(~folded);
    CAPTURE(size);
    CHECK(static_cast<std::uint16_t>(ours << 8 | ours >> 8) == plain_checksum(bytes));
  }
}

TEST_CASE("a UDP checksum is never 0, which would mean none") {
  CHECK(udp_checksum(0xffff) == 0xffff);
  CHECK(udp_checksum(0) == 0xffff);
  CHECK(udp_checksum(1) == 0xfffe);
}
