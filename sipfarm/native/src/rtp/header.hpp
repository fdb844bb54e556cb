#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "audio/timeline.hpp"

namespace sipfarm::rtp {

inline constexpr std::size_t k_fixed_header_bytes = 12;

/// The fixed header of an RTP packet and where its payload lies (RFC 3550 §5.1).
struct Header {
  std::uint32_t ssrc = 0;
  std::uint32_t timestamp = 0;
  std::uint16_t sequence = 0;
  std::uint8_t payload_type = 0;
  bool marker = false;
  std::span<const std::uint8_t> payload;

  /// Nothing where CSRC list, extension or padding are longer than the packet.
  static std::optional<Header> read(std::span<const std::uint8_t> bytes) noexcept;
};

/// A header without CSRC list, extension or padding. `out` has room for k_fixed_header_bytes.
void write_header(std::span<std::uint8_t> out, const audio::Stamp& stamp, std::uint8_t payload_type) noexcept;

}  // namespace sipfarm::rtp
