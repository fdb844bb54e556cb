#pragma once

#include <cstdint>

#include "net/address.hpp"

namespace sipfarm::rtp {

struct LatchTimes {
  std::int64_t window_ms = 3'000;  // from the first packet until the source is locked
  std::int64_t quiet_ms = 500;     // an unlocked source that is quiet this long may be replaced by its equal
};

/// Symmetric latching (RFC 7362 §4) with a lock-in rule: which source address one port listens to, and so
/// where it sends.
///
/// A packet from exactly the signalled address locks at once. Any other source is taken tentatively, and within
/// the window gives way only to a better one: the signalled address before its IP with another port or the IP
/// that the signalling came from, and these before a stranger; or to an equal one after it has fallen quiet.
/// With the window over, the next packet of the tentative source locks it. A lock holds until `open`.
class SourceLatch {
 public:
  enum class Verdict : std::uint8_t {
    refused,   // a stranger: drop and count
    accepted,  // as before
    moved,     // accepted; the port sends to this source from now on
    locked,    // accepted, and locked from now on (the source may be new as well)
  };

  explicit SourceLatch(const LatchTimes& times = {}) noexcept : times_{times} {}

  /// A (new) SDP: learning starts again, except that a source which is exactly the signalled address stays locked.
  /// One learned under the same address, or before any was known, stays the tentative one. One learned under
  /// another is heard but not learned for quiet_ms, so that packets still under way do not take the latch back.
  void open(const net::Address& signalled, const net::Address& signalling, std::int64_t now_ms) noexcept;

  Verdict receive(const net::Address& source, std::int64_t now_ms) noexcept;

  /// A packet whose tag is valid: its source is locked at once. From another source than that it moves the lock (the far end
  /// roams), if it is `newest`; one that was overtaken is heard only.
  Verdict receive_authentic(const net::Address& source, bool newest, std::int64_t now_ms) noexcept;

  /// Where to send: the learned source, before that the signalled address; empty while no SDP is known.
  const net::Address& remote() const noexcept { return signalled_.empty() || !learned_ ? signalled_ : source_; }
  bool locked() const noexcept { return locked_; }

 private:
  enum class Rank : std::uint8_t { stranger, same_host, exact };

  Rank rank(const net::Address& source) const noexcept;
  bool is_stale(const net::Address& source, std::int64_t now_ms) const noexcept;
  bool may_replace(const net::Address& source, std::int64_t now_ms) const noexcept;
  Verdict learn(const net::Address& source, std::int64_t now_ms) noexcept;

  LatchTimes times_;
  net::Address signalled_;
  net::Address signalling_;
  net::Address source_;  // meaningful when learned_
  net::Address stale_;   // source under the SDP before; empty: none
  std::int64_t stale_until_ms_ = 0;
  std::int64_t window_ends_ms_ = 0;
  std::int64_t last_packet_ms_ = 0;
  bool learned_ = false;
  bool locked_ = false;
};

}  // namespace sipfarm::rtp
