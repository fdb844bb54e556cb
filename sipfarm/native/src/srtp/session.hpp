#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "srtp/keying.hpp"
#include "srtp/replay.hpp"
#include "srtp/transform.hpp"

namespace sipfarm::srtp {

enum class Result : std::uint8_t {
  ok,
  malformed,         // no RTP or RTCP packet, or too short to be protected
  unauthentic,       // not by this key, or changed on its way
  replayed,          // seen before, or older than the window
  key_expired,       // the key has protected as many packets as it may
  too_many_sources,  // of this key; a source's counters are never forgotten, since that would repeat key stream
  too_large,         // no room for what protection adds
};

struct Outcome {
  Result result = Result::malformed;
  std::size_t bytes = 0;  // of the packet now; with ok only
  bool newest = false;    // of its source, so far; with ok only
};

struct SessionSettings {
  std::uint16_t replay_window = 128;  // packets told apart: 64..k_replay_window_max (RFC 3711 §3.3.2, RFC 4568 §6.3.7)
  std::uint32_t first_roc = 0;        // of a source not heard yet
  std::uint16_t rocs_tried = 2;       // from first_roc on, until a source's first packet is authentic
};

/// Tag, SRTCP index and MKI at their longest.
inline constexpr std::size_t k_overhead_bytes_max = k_tag_bytes_max + 4 + k_mki_bytes_max;

inline constexpr std::uint16_t k_replay_window_min = 64;
inline constexpr std::uint16_t k_replay_window_max = 512;

/// Where the last source of a session stands: what its heir has to know (RFC 3711 §3.2.1).
struct Rollover {
  std::uint32_t ssrc = 0;
  std::uint32_t roc = 0;
};

/// One direction of SRTP and SRTCP under one master key (RFC 3711, RFC 6188, RFC 7714): either protects or
/// unprotects. Allocates when made, never after; the sources of a key are bounded, and forged ones take no place.
/// For one thread, but for `rollover`.
class Session {
 public:
  static constexpr std::size_t k_sources_max = 16;

  explicit Session(const Keying& keying, const SessionSettings& settings = {});

  /// The packet is the first `bytes` of the buffer; what protection adds goes behind it.
  Outcome protect(Protocol protocol, std::span<std::uint8_t> buffer, std::size_t bytes) noexcept;
  /// In place. Whatever is not ok leaves the packet as it came.
  Outcome unprotect(Protocol protocol, std::span<std::uint8_t> packet) noexcept;

  /// The source heard or sent last; from any thread. Nothing before the first RTP packet.
  std::optional<Rollover> rollover() const noexcept;

  /// Bytes that protection adds at most.
  std::size_t overhead_bytes() const noexcept { return trailer_bytes(Protocol::rtcp); }

 private:
  struct Source {
    std::uint32_t ssrc = 0;
    ReplayWindow<k_replay_window_max / 64 + 1> rtp;
    ReplayWindow<2> rtcp;
  };
  struct Trailer;

  std::size_t tag_bytes(Protocol protocol) const noexcept;
  std::size_t trailer_bytes(Protocol protocol) const noexcept;
  Trailer trailer_at(Protocol protocol, std::span<std::uint8_t> bytes) const noexcept;
  Transform& transform(Protocol protocol) noexcept { return protocol == Protocol::rtp ? *rtp_ : *rtcp_; }
  Source* find(std::uint32_t ssrc) noexcept;
  Source* claim(std::uint32_t ssrc) noexcept;
  Outcome protect_rtp(std::span<std::uint8_t> buffer, std::size_t header, std::size_t bytes) noexcept;
  Outcome protect_rtcp(std::span<std::uint8_t> buffer, std::size_t bytes) noexcept;
  Outcome unprotect_rtp(std::span<std::uint8_t> packet, std::size_t header, std::size_t bytes) noexcept;
  Outcome unprotect_rtcp(std::span<std::uint8_t> packet, std::size_t bytes) noexcept;
  bool open_rtp(std::uint32_t ssrc, std::uint64_t index, const Parts& parts, std::span<const std::uint8_t> tag) noexcept;
  void note_rtp(Source& source, std::uint64_t index) noexcept;

  Suite suite_;
  SessionSettings settings_;
  std::array<std::uint8_t, k_mki_bytes_max> mki_;
  std::size_t mki_bytes_;
  std::uint64_t rtp_packets_left_;
  std::uint64_t rtcp_packets_left_;
  std::unique_ptr<Transform> rtp_;
  std::unique_ptr<Transform> rtcp_;
  std::size_t sources_count_ = 0;
  std::array<Source, k_sources_max> sources_{};
  std::atomic<std::uint64_t> rollover_{k_no_rollover};

  static constexpr std::uint64_t k_no_rollover = ~std::uint64_t{0};  // a ROC that ends its key
};

}  // namespace sipfarm::srtp
