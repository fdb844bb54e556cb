#pragma once

#include <cstdint>

#include "audio/pcm.hpp"

namespace sipfarm::audio {

/// An RTP packet as far as timing needs it (RFC 3550 §5.1). The payload belongs to whoever made the packet.
struct Packet {
  std::uint32_t ssrc = 0;
  std::uint16_t sequence = 0;
  std::uint32_t timestamp = 0;
  std::uint32_t duration = 0;  // in timestamp units, as its decoder tells; 0: it stands for no time (comfort noise)
  std::uint8_t payload_type = 0;
  bool marker = false;
  ConstPayload payload;
};

}  // namespace sipfarm::audio
