#include "rtp/reception.hpp"

#include <algorithm>

namespace sipfarm::rtp {
namespace {

constexpr std::uint32_t k_window = 64;

}  // namespace

void PayloadClocks::set(std::uint8_t payload_type, std::uint32_t clock_rate_hz, bool telephone_event) noexcept {
  const Clock wanted{clock_rate_hz, ticks(clock_rate_hz), telephone_event};
  const auto same = [&](const Clock& clock) { return clock.rate_hz == wanted.rate_hz && clock.telephone_event == telephone_event; };
  Clock* end = clocks_.data() + count_;
  Clock* found = std::find_if(clocks_.data(), end, same);
  if (clock_rate_hz == 0 || (found == end && count_ == k_most)) return;  // no format has that many clocks
  if (found == end) clocks_[count_++] = wanted;
  index_[payload_type & 0x7fU] = static_cast<std::uint8_t>(found - clocks_.data());
}

Reception::Verdict Reception::receive(const Packet& packet, std::int64_t now_us) noexcept {
  const auto ahead = static_cast<std::uint16_t>(packet.sequence - highest_);
  const bool known = heard() && packet.ssrc == ssrc_;
  if (known && ahead != 0 && ahead < k_dropout_max) [[likely]] {
    if (packet.sequence < highest_) cycles_ += 0x1'0000U;
    highest_ = packet.sequence;
    advance(ahead);
    candidate_.valid = false;
  } else if (known && static_cast<std::uint16_t>(0U - ahead) <= k_misorder_max) {
    const Verdict verdict = late(static_cast<std::uint16_t>(0U - ahead));
    if (verdict == Verdict::counted) measure(packet, now_us);
    return verdict;
  } else if (!heard()) {
    begin(packet, 0);
  } else if (is_next_of_candidate(packet)) {
    begin(packet, 1);
  } else {
    return Verdict::stray;
  }
  ++received_;
  measure(packet, now_us);
  return Verdict::counted;
}

/// A new SSRC, or a jump of the sequence, is believed when a second packet follows the first (RFC 3550 appendix A.1).
bool Reception::is_next_of_candidate(const Packet& packet) noexcept {
  const bool next = candidate_.valid && candidate_.ssrc == packet.ssrc && candidate_.next_sequence == packet.sequence;
  if (!next) ++totals_.strays;
  candidate_ = {packet.ssrc, static_cast<std::uint16_t>(packet.sequence + 1U), !next};
  return next;
}

/// `before`: how many packets of this source have come already, the candidate's.
void Reception::begin(const Packet& packet, std::uint16_t before) noexcept {
  if (heard()) {
    settle(window_size_);
    totals_.expected += expected();
    totals_.received += received_;
    totals_.strays -= before;
  }
  ++totals_.sources;
  ssrc_ = packet.ssrc;
  highest_ = packet.sequence;
  cycles_ = packet.sequence < before ? 0x1'0000U : 0;
  base_ = extended_highest_sequence() - before;
  received_ = before;
  expected_prior_ = received_prior_ = 0;
  window_ = before == 0 ? 1 : 3;
  window_size_ = 1U + before;
  jitter_ = 0;
  transit_known_ = false;
  candidate_.valid = false;
}

/// The oldest of the window are final: their packets came, or never will.
void Reception::settle(std::uint32_t count) noexcept {
  for (; count > 0; --count, --window_size_) {
    if ((window_ >> (window_size_ - 1U) & 1U) != 0) bursts_.came();
    else bursts_.lost();
  }
}

void Reception::advance(std::uint16_t by) noexcept {
  if (window_size_ + by > k_window) settle(std::min<std::uint32_t>(window_size_, window_size_ + by - k_window));
  if (by < k_window) {
    window_ = window_ << by | 1U;
    window_size_ += by;
    return;
  }
  bursts_.lost(by - k_window);
  window_ = 1;
  window_size_ = k_window;
}

Reception::Verdict Reception::late(std::uint16_t behind) noexcept {
  if (behind >= window_size_) {
    if (window_size_ < k_window) return Verdict::stray;  // from before the first
    ++received_;
    ++totals_.out_of_order;  // too late to tell from a duplicate, and to be played
    return Verdict::counted;
  }
  ++received_;
  const std::uint64_t bit = std::uint64_t{1} << behind;
  if ((window_ & bit) != 0) {
    ++totals_.duplicates;
    return Verdict::duplicate;
  }
  window_ |= bit;
  ++totals_.out_of_order;
  return Verdict::counted;
}

/// RFC 3550 appendix A.8. Of telephone-event all packets have the time stamp of its beginning (RFC 4733 §2.5.1.2), and after silence
/// senders take liberties: neither says anything of the network.
void Reception::measure(const Packet& packet, std::int64_t now_us) noexcept {
  const PayloadClocks::Clock& clock = clocks_.of(packet.payload_type);
  if (clock.telephone_event) return;
  if (clock.rate_hz != rate_hz_) {  // jitter is told in the current clock (RFC 7160 §4)
    jitter_ = static_cast<std::uint32_t>(std::uint64_t{jitter_} * clock.rate_hz / rate_hz_);
    rate_hz_ = clock.rate_hz;
    transit_known_ = false;
  }
  const auto arrival = static_cast<std::uint32_t>(static_cast<std::uint64_t>(now_us) * clock.ticks_per_us >> PayloadClocks::k_scale_bits);
  const std::uint32_t transit = arrival - packet.timestamp;
  const auto difference = static_cast<std::int32_t>(transit - transit_);
  const std::uint32_t distance = difference < 0 ? 0U - static_cast<std::uint32_t>(difference) : static_cast<std::uint32_t>(difference);
  transit_ = transit;
  if (transit_known_ && !packet.marker && distance < k_jump_s * rate_hz_) jitter_ += distance - ((jitter_ + 8U) >> 4U);
  transit_known_ = true;
}

ReceptionTotals Reception::totals() const noexcept {
  ReceptionTotals totals = totals_;
  if (heard()) {
    totals.expected += expected();
    totals.received += received_;
  }
  return totals;
}

BurstGap::Sums Reception::bursts() const noexcept {
  Reception ended = *this;
  ended.settle(window_size_);
  return ended.bursts_.sums();
}

ReportBlock Reception::report() noexcept {
  constexpr std::int64_t k_lost_max = 0x7f'ffff;
  ReportBlock block;
  block.ssrc = ssrc_;
  const auto lost = static_cast<std::int64_t>(expected()) - static_cast<std::int64_t>(received_);
  block.cumulative_lost = static_cast<std::int32_t>(std::clamp<std::int64_t>(lost, -k_lost_max - 1, k_lost_max));
  const std::uint64_t expected_now = expected() - expected_prior_;
  const std::uint64_t received_now = received_ - received_prior_;
  if (expected_now > received_now) {
    block.fraction_lost = static_cast<std::uint8_t>(std::min<std::uint64_t>(255, (expected_now - received_now) * 256 / expected_now));
  }
  expected_prior_ = expected();
  received_prior_ = received_;
  block.extended_highest_sequence = extended_highest_sequence();
  block.jitter = jitter_ticks();
  return block;
}

}  // namespace sipfarm::rtp
