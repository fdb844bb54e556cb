#include "audio/reorder.hpp"

#include <algorithm>

namespace sipfarm::audio {

Reorder::Reorder(const ReorderConfig& config)
    : hold_us_{config.hold_us},
      payload_bytes_max_{config.payload_bytes_max},
      slots_(config.packets_max),
      payloads_(config.packets_max * config.payload_bytes_max) {}

Reorder::Verdict Reorder::push(const Packet& packet, std::int64_t now_us) noexcept {
  ++statistics_.received;
  const auto seen = packet.payload.size() <= payload_bytes_max_ ? tracker_.receive(packet.ssrc, packet.sequence)
                                                                : SequenceTracker::Seen{SequenceTracker::Kind::stray, 0};
  if (seen.kind == SequenceTracker::Kind::stray) {
    ++statistics_.discarded;
    return Verdict::dropped;
  }
  if (seen.kind == SequenceTracker::Kind::restart) restart(seen.sequence);
  if (is_duplicate(seen.sequence)) {
    ++statistics_.duplicates;
    return Verdict::dropped;
  }
  if (seen.sequence < next_) {
    --statistics_.lost;
    ++statistics_.late;
    came_ |= std::uint64_t{1} << static_cast<unsigned>(next_ - 1 - seen.sequence);
    return Verdict::dropped;
  }
  if (seen.sequence > next_) return hold(packet, seen.sequence, now_us);
  go_to(seen.sequence + 1);
  return Verdict::deliver;
}

void Reorder::restart(std::int64_t sequence) noexcept {
  if (next_ != 0) ++statistics_.restarts;
  statistics_.discarded += count_;
  for (Slot& slot : slots_) slot.used = false;
  count_ = 0;
  next_ = sequence;
  came_ = ~std::uint64_t{0};  // what precedes the beginning is not missed
}

/// What is too old to be known counts as one.
bool Reorder::is_duplicate(std::int64_t sequence) noexcept {
  if (sequence < next_) {
    const std::int64_t back = next_ - 1 - sequence;
    return back >= 64 || (came_ >> static_cast<unsigned>(back) & 1U) != 0;
  }
  return std::any_of(slots_.begin(), slots_.end(), [&](const Slot& slot) { return slot.used && slot.sequence == sequence; });
}

/// The number before `next` has come, those from next_ on have not.
void Reorder::go_to(std::int64_t next) noexcept {
  const std::int64_t steps = next - next_;
  came_ = steps >= 64 ? 1U : came_ << static_cast<unsigned>(steps) | 1U;
  next_ = next;
}

Reorder::Verdict Reorder::hold(const Packet& packet, std::int64_t sequence, std::int64_t now_us) noexcept {
  const auto place = std::find_if(slots_.begin(), slots_.end(), [](const Slot& slot) { return !slot.used; });
  if (place == slots_.end()) {  // the caller has not released what is to be given up
    ++statistics_.discarded;
    return Verdict::dropped;
  }
  const auto bytes = payloads_.begin() + (place - slots_.begin()) * static_cast<std::ptrdiff_t>(payload_bytes_max_);
  std::copy(packet.payload.begin(), packet.payload.end(), bytes);
  *place = {true, sequence, now_us, packet};
  place->packet.payload = {&*bytes, packet.payload.size()};
  ++count_;
  return Verdict::held;
}

const Reorder::Slot* Reorder::first() const noexcept {
  const Slot* found = nullptr;
  for (const Slot& slot : slots_) {
    if (slot.used && (found == nullptr || slot.sequence < found->sequence)) found = &slot;
  }
  return found;
}

std::optional<Reorder::Released> Reorder::release(std::int64_t now_us) noexcept {
  const Slot* head = count_ > 0 ? first() : nullptr;
  if (head == nullptr) return std::nullopt;
  const bool given_up = count_ == slots_.size() || now_us >= *deadline_us();
  if (head->sequence > next_ && !given_up) return std::nullopt;
  const Released out{head->packet, static_cast<std::uint32_t>(head->sequence - next_)};
  statistics_.lost += out.lost;
  go_to(head->sequence + 1);
  slots_[static_cast<std::size_t>(head - slots_.data())].used = false;
  --count_;
  return out;
}

std::optional<std::int64_t> Reorder::deadline_us() const noexcept {
  std::optional<std::int64_t> earliest;
  for (const Slot& slot : slots_) {
    if (slot.used && (!earliest || slot.arrival_us + hold_us_ < *earliest)) earliest = slot.arrival_us + hold_us_;
  }
  return earliest;
}

}  // namespace sipfarm::audio
