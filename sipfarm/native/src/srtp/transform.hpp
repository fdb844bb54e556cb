#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "srtp/keying.hpp"

namespace sipfarm::srtp {

enum class Protocol : std::uint8_t { rtp, rtcp };

/// A packet as its transform sees it. `header` is authenticated, `payload` is encrypted as well, and `suffix`
/// is authenticated after both: the rollover counter, or the SRTCP index with its E bit (RFC 3711 §4.2, RFC 7714 §8, §9).
struct Parts {
  std::span<const std::uint8_t> header;
  std::span<std::uint8_t> payload;
  std::span<const std::uint8_t> suffix;
};

/// Which packet of a key it is: 48 bits of RTP (rollover counter and sequence number), 31 of RTCP.
struct Position {
  std::uint32_t ssrc = 0;
  std::uint64_t index = 0;
};

/// Keys of a session in the shape that a suite works with them (RFC 3711 §4.3.1): `auth` is empty for AEAD.
struct SessionKeys {
  SecretBytes<32> cipher;
  SecretBytes<14> salt;
  SecretBytes<20> auth;
};

SessionKeys derive(const Keying& keying, Protocol protocol) noexcept;

/// Encryption and authentication of packets, in place; allocates when made only. State is scratch: the same
/// position, parts and keys give the same bytes.
class Transform {
 public:
  virtual ~Transform() = default;
  virtual void seal(const Position& at, const Parts& parts, std::span<std::uint8_t> tag) noexcept = 0;
  /// False, and the payload as it was, if the tag is not that of these parts at this position.
  [[nodiscard]] virtual bool open(const Position& at, const Parts& parts, std::span<const std::uint8_t> tag) noexcept = 0;
};

std::unique_ptr<Transform> make_transform(Suite suite, const SessionKeys& keys);

}  // namespace sipfarm::srtp
