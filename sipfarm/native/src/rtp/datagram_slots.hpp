#pragma once

#include <cstdint>
#include <memory>

#include "rtp/media_sockets.hpp"

namespace sipfarm::rtp {

/// Room for a batch of datagrams of any size, each with its headroom and tailroom. Pages are touched only by what arrives. Slots are an odd
/// number of cache lines apart, so that the heads of a batch do not fight for the same ones.
class DatagramSlots {
 public:
  DatagramSlots() : bytes_{std::make_unique_for_overwrite<std::uint8_t[]>(k_batch * k_stride)} {}

  std::uint8_t* operator[](std::size_t i) noexcept { return bytes_.get() + i * k_stride + k_headroom; }

 private:
  static constexpr std::size_t k_stride = k_datagram_bytes + 5 * 64;
  static_assert(k_stride >= k_headroom + k_datagram_bytes + k_tailroom);

  std::unique_ptr<std::uint8_t[]> bytes_;
};

}  // namespace sipfarm::rtp
