#pragma once

#include <cstdint>
#include <span>

namespace sipfarm::rtp {

/// What a datagram on a media port is (RFC 7983 §7, RFC 5761 §4).
enum class Packet : std::uint8_t { rtp, rtcp, stun, dtls, zrtp, malformed };

inline constexpr std::size_t k_rtp_header_bytes = 12;
inline constexpr std::size_t k_rtcp_header_bytes = 8;  // smallest: header and SSRC; an empty BYE has 4 and is never sent alone

/// Tells RTP from RTCP as RFC 5761 §4 does, by payload types 64..95. Reads the fixed headers only.
constexpr Packet demux(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() < 2) return Packet::malformed;
  const unsigned first = bytes[0];
  if (first >= 128 && first <= 191) {
    const unsigned second = bytes[1];
    if (second >= 192 && second <= 223) return bytes.size() >= k_rtcp_header_bytes ? Packet::rtcp : Packet::malformed;
    const std::size_t header = k_rtp_header_bytes + 4U * (first & 0x0fU);  // CSRC list, RFC 3550 §5.1
    return bytes.size() >= header ? Packet::rtp : Packet::malformed;
  }
  if (first <= 3) return bytes.size() >= 20 ? Packet::stun : Packet::malformed;   // RFC 8489 §5
  if (first >= 20 && first <= 63) return bytes.size() >= 13 ? Packet::dtls : Packet::malformed;  // RFC 6347 §4.1
  if (first >= 16 && first <= 19) return bytes.size() >= 12 ? Packet::zrtp : Packet::malformed;  // RFC 6189 §5
  return Packet::malformed;
}

/// The SSRC of an RTP packet that demux() has called one (RFC 3550 §5.1).
constexpr std::uint32_t ssrc_of(std::span<const std::uint8_t> rtp) noexcept {
  return static_cast<std::uint32_t>(rtp[8]) << 24U | static_cast<std::uint32_t>(rtp[9]) << 16U |
         static_cast<std::uint32_t>(rtp[10]) << 8U | static_cast<std::uint32_t>(rtp[11]);
}

/// Its sequence number, as 16 bits.
constexpr std::uint16_t sequence_of(std::span<const std::uint8_t> rtp) noexcept {
  return static_cast<std::uint16_t>(rtp[2] << 8U | rtp[3]);
}

constexpr void set_ssrc(std::span<std::uint8_t> rtp, std::uint32_t ssrc) noexcept {
  rtp[8] = static_cast<std::uint8_t>(ssrc >> 24U);
  rtp[9] = static_cast<std::uint8_t>(ssrc >> 16U);
  rtp[10] = static_cast<std::uint8_t>(ssrc >> 8U);
  rtp[11] = static_cast<std::uint8_t>(ssrc);
}

/// RTP as its sender may hear it again: the same packet from another source, since a phone that meets its
/// own SSRC takes it for a collision or a loop (RFC 3550 §8.2).
constexpr void make_echo(std::span<std::uint8_t> rtp, std::uint32_t ssrc) noexcept {
  set_ssrc(rtp, ssrc_of(rtp) == ssrc ? ~ssrc : ssrc);
}

}  // namespace sipfarm::rtp
