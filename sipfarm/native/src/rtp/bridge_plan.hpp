#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "codec/codec.hpp"

namespace sipfarm::rtp {

/// A payload type, and how its payloads are coded.
struct PayloadFormat {
  std::uint8_t payload_type = 0;
  codec::Format format;
};

/// A payload type whose payloads are not coded audio: telephone-event, comfort noise.
struct BesideFormat {
  std::uint8_t payload_type = 0;
  std::uint32_t clock_rate_hz = 8'000;
};

/// One side of a bridge: what comes from there, and what is sent there. The numbers of one codec may differ by direction (RFC 3264 §5.1).
struct BridgeSide {
  std::vector<PayloadFormat> receive;
  PayloadFormat send;
  unsigned ptime_ms = 20;                   // of the packets that go there
  std::vector<BesideFormat> receive_events; // telephone-event (RFC 4733)
  std::optional<BesideFormat> send_events;
  std::vector<BesideFormat> receive_noise;  // comfort noise (RFC 3389)
  std::optional<BesideFormat> send_noise;
  bool listens = true;                      // false: it has said that it takes nothing
};

struct BridgePlan {
  std::array<BridgeSide, 2> sides;  // by Side
};

}  // namespace sipfarm::rtp
