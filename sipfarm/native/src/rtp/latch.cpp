#include "rtp/latch.hpp"

namespace sipfarm::rtp {

void SourceLatch::open(const net::Address& signalled, const net::Address& signalling, std::int64_t now_ms) noexcept {
  const bool moved = signalled != signalled_ && !signalled_.empty();
  signalled_ = signalled;
  signalling_ = signalling;
  locked_ = locked_ && rank(source_) == Rank::exact;
  window_ends_ms_ = now_ms + times_.window_ms;
  stale_ = {};
  if (!moved || !learned_ || rank(source_) == Rank::exact) return;
  stale_ = source_;
  stale_until_ms_ = now_ms + times_.quiet_ms;
  learned_ = false;
}

SourceLatch::Verdict SourceLatch::receive(const net::Address& source, std::int64_t now_ms) noexcept {
  if (learned_ && source == source_) {
    last_packet_ms_ = now_ms;
    const bool settled = !signalled_.empty() && (rank(source) == Rank::exact || now_ms >= window_ends_ms_);
    if (locked_ || !settled) return Verdict::accepted;
    locked_ = true;
    return Verdict::locked;
  }
  if (!learned_ && is_stale(source, now_ms)) return Verdict::accepted;
  if (locked_ || !may_replace(source, now_ms)) return Verdict::refused;
  return learn(source, now_ms);
}

SourceLatch::Verdict SourceLatch::receive_authentic(const net::Address& source, bool newest, std::int64_t now_ms) noexcept {
  if (learned_ && locked_ && (source == source_ || !newest)) return Verdict::accepted;
  if (!learned_ && is_stale(source, now_ms)) return Verdict::accepted;
  learn(source, now_ms);
  locked_ = !signalled_.empty();
  return locked_ ? Verdict::locked : Verdict::moved;
}

SourceLatch::Rank SourceLatch::rank(const net::Address& source) const noexcept {
  if (source == signalled_) return Rank::exact;
  const bool same_host = (!signalled_.empty() && source.same_ip(signalled_)) ||
                         (!signalling_.empty() && source.same_ip(signalling_));
  return same_host ? Rank::same_host : Rank::stranger;
}

bool SourceLatch::is_stale(const net::Address& source, std::int64_t now_ms) const noexcept {
  return !stale_.empty() && source == stale_ && now_ms < stale_until_ms_;
}

bool SourceLatch::may_replace(const net::Address& source, std::int64_t now_ms) const noexcept {
  if (!learned_) return true;
  const Rank offered = rank(source);
  if (offered == Rank::exact) return true;
  if (is_stale(source, now_ms)) return false;
  const Rank held = rank(source_);
  if (offered != held) return offered > held;
  return now_ms - last_packet_ms_ >= times_.quiet_ms;
}

SourceLatch::Verdict SourceLatch::learn(const net::Address& source, std::int64_t now_ms) noexcept {
  source_ = source;
  learned_ = true;
  last_packet_ms_ = now_ms;
  window_ends_ms_ = now_ms + times_.window_ms;
  locked_ = rank(source) == Rank::exact && !signalled_.empty();
  return locked_ ? Verdict::locked : Verdict::moved;
}

}  // namespace sipfarm::rtp
