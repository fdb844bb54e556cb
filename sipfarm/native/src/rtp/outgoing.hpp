#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "codec/codec.hpp"
#include "rtp/header.hpp"
#include "rtp/media_sockets.hpp"

namespace sipfarm::rtp {

/// Room for a batch of packets that are made here, each with its headroom and tailroom.
class Outgoing {
 public:
  Outgoing() : bytes_{std::make_unique_for_overwrite<std::uint8_t[]>(k_batch * k_stride)} {}

  std::span<std::uint8_t> operator[](std::size_t i) noexcept { return {bytes_.get() + i * k_stride + k_headroom, k_packet_bytes}; }

 private:
  static constexpr std::size_t k_packet_bytes = k_fixed_header_bytes + codec::k_payload_bytes_max;
  static constexpr std::size_t k_stride = k_headroom + k_packet_bytes + k_tailroom;

  std::unique_ptr<std::uint8_t[]> bytes_;
};

}  // namespace sipfarm::rtp
