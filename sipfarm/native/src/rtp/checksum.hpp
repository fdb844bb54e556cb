#pragma once

#include <cstdint>
#include <cstring>
#include <span>

namespace sipfarm::rtp {

/// Adds the bytes to an unfinished Internet checksum (RFC 1071): 16-bit words as they stand in memory, whatever its byte order.
inline std::uint64_t checksum_add(std::uint64_t sum, std::span<const std::uint8_t> bytes) noexcept {
  const std::uint8_t* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 4; left -= 4, at += 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, at, 4);
    sum += word;
  }
  std::uint32_t rest = 0;
  if (left != 0) std::memcpy(&rest, at, left);
  return sum + rest;
}

/// The sum in 16 bits, not yet complemented.
constexpr std::uint16_t checksum_fold(std::uint64_t sum) noexcept {
  sum = (sum >> 32U) + (sum & 0xffffffffU);
  sum = (sum >> 32U) + (sum & 0xffffffffU);
  sum = (sum >> 16U) + (sum & 0xffffU);
  sum = (sum >> 16U) + (sum & 0xffffU);
  return static_cast<std::uint16_t>(sum);
}

/// As it stands in a UDP header, where 0 would mean "none" (RFC 768).
constexpr std::uint16_t udp_checksum(std::uint64_t sum) noexcept {
  const auto checksum = static_cast<std::uint16_t>(~checksum_fold(sum));
  return checksum == 0 ? 0xffff : checksum;
}

}  // namespace sipfarm::rtp
