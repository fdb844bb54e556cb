#include "audio/jitter_buffer.hpp"

#include <algorithm>
#include <bit>

namespace sipfarm::audio {

namespace {

Popped nothing(std::int64_t duration) noexcept {
  Popped out;
  out.duration = static_cast<std::uint32_t>(duration);
  return out;
}

}  // namespace

JitterBuffer::JitterBuffer(const JitterConfig& config)
    : clock_rate_hz_{config.clock_rate_hz},
      tick_us_{config.tick_us},
      delay_min_us_{config.delay_min_us},
      delay_max_us_{config.delay_max_us},
      mask_{std::bit_ceil(config.packets_max) - 1},
      payload_bytes_max_{config.payload_bytes_max},
      slots_(mask_ + 1),
      payloads_((mask_ + 1) * config.payload_bytes_max),
      estimate_{config.delay_max_us, std::clamp(config.delay_initial_us, config.delay_min_us, config.delay_max_us)} {}

void JitterBuffer::set_delay(std::int64_t min_us, std::int64_t max_us) noexcept {
  delay_max_us_ = std::clamp<std::int64_t>(max_us, tick_us_, estimate_.max_us());
  delay_min_us_ = std::clamp<std::int64_t>(min_us, 0, delay_max_us_);
}

void JitterBuffer::reset(std::uint32_t clock_rate_hz) noexcept {
  clock_rate_hz_ = clock_rate_hz;
  tracker_.reset();
  estimate_.reset();
  forget();
  started_ = false;
}

// ---- what comes

void JitterBuffer::push(const Packet& packet, std::int64_t arrival_us) noexcept {
  Slot* place = take(packet);
  if (place == nullptr) return;
  place->duration = packet.duration;
  place->payload_bytes = static_cast<std::uint16_t>(packet.payload.size());
  place->payload_type = packet.payload_type;
  place->audio = true;
  held_ += place->duration;
  std::copy(packet.payload.begin(), packet.payload.end(),
            payloads_.begin() + (place - slots_.data()) * static_cast<std::ptrdiff_t>(payload_bytes_max_));
  estimate_.receive(arrival_us - us_of(place->timestamp), arrival_us);
}

void JitterBuffer::skip(const Packet& packet) noexcept { take(packet); }

/// The slot for a packet that is to be kept, its number and timestamp filled in.
JitterBuffer::Slot* JitterBuffer::take(const Packet& packet) noexcept {
  ++statistics_.received;
  const auto seen = packet.payload.size() <= payload_bytes_max_ ? tracker_.receive(packet.ssrc, packet.sequence)
                                                                : SequenceTracker::Seen{SequenceTracker::Kind::stray, 0};
  if (seen.kind == SequenceTracker::Kind::stray) {
    ++statistics_.discarded;
    return nullptr;
  }
  if (seen.kind == SequenceTracker::Kind::restart) begin(seen.sequence, packet.timestamp);
  if (!playing_ && newest_ - seen.sequence <= static_cast<std::int64_t>(mask_)) next_ = std::min(next_, seen.sequence);
  if (seen.sequence >= next_) make_room(seen.sequence);
  newest_ = std::max(newest_, seen.sequence);
  Slot& place = slot(seen.sequence);
  const bool known = place.sequence == seen.sequence;
  const bool passed = known && place.passed;
  if (passed) {
    --statistics_.lost;
    place.passed = false;
  }
  if (place.present && known) {
    ++statistics_.duplicates;
    return nullptr;
  }
  if (seen.sequence < next_) {
    ++(known && !passed ? statistics_.duplicates : statistics_.late);
    return nullptr;
  }
  latest_timestamp_ = extend(latest_timestamp_, packet.timestamp);
  place = Slot{};
  place.sequence = seen.sequence;
  place.timestamp = latest_timestamp_;
  place.present = true;
  ++count_;
  return &place;
}

void JitterBuffer::begin(std::int64_t sequence, std::uint32_t timestamp) noexcept {
  if (started_) ++statistics_.restarts;
  for (const Slot& held : slots_) statistics_.discarded += held.present && held.audio ? 1U : 0U;
  forget();
  estimate_.restart();
  started_ = true;
  next_ = newest_ = sequence;
  latest_timestamp_ = (std::int64_t{1} << 32U) + timestamp;
}

void JitterBuffer::forget() noexcept {
  std::fill(slots_.begin(), slots_.end(), Slot{});
  count_ = 0;
  held_ = 0;
  playing_ = false;
  resting_ = true;
  starved_ = 0;
  frame_ = 0;
}

void JitterBuffer::make_room(std::int64_t sequence) noexcept {
  if (sequence - next_ > static_cast<std::int64_t>(mask_)) pass(sequence - static_cast<std::int64_t>(mask_));
}

// ---- what is played

Popped JitterBuffer::pop(std::int64_t now_us, std::uint32_t held) noexcept {
  const std::int64_t when_us = now_us + us_of(held);
  const std::int64_t wanted = std::max<std::int64_t>(units_of(tick_us_) - held, 1);
  statistics_.target_us = target_us();
  drop_excess();
  while (count_ > 0) {
    Slot& head = first_held();
    if (resting_ && head.audio && !is_due(head.timestamp, when_us)) return nothing(wanted);
    if (!playing_) {
      playing_ = true;
      next_ = head.sequence;
      position_ = head.timestamp;
    }
    if (head.sequence > next_) {
      cover_starved(head.timestamp);
      if (!resting_ && head.timestamp - position_ > frame_ / 2) return conceal(head);
      pass(head.sequence);
    }
    if (head.audio) return play(head, when_us, wanted);
    remove(head);
    ++next_;
    resting_ = true;
  }
  return starve(wanted);
}

/// More than the longest delay is held: the oldest goes, for the way to shorten it by stretching would be long.
void JitterBuffer::drop_excess() noexcept {
  const std::int64_t most = units_of(delay_max_us_ + tick_us_) + frame_;
  while (held_ > most && count_ > 1) {
    const Slot& head = first_held();
    position_ = head.timestamp + head.duration;
    pass(head.sequence + 1);
    resting_ = true;  // the next one is played at once: nothing is missed before it
  }
}

/// Goes on to the number `until`: what had not come is lost, what is held is thrown away.
void JitterBuffer::pass(std::int64_t until) noexcept {
  for (; next_ < until; ++next_) {
    Slot& passed = slot(next_);
    if (passed.present) {
      statistics_.discarded += passed.audio ? 1U : 0U;
      remove(passed);
    } else {
      passed = Slot{};
      passed.sequence = next_;
      passed.passed = true;
      ++statistics_.lost;
    }
  }
}

/// What was played while nothing had come counts for what turns out to be lost.
void JitterBuffer::cover_starved(std::int64_t timestamp) noexcept {
  const std::int64_t covered = std::min(starved_, timestamp - position_);
  if (covered <= 0) return;
  position_ += covered;
  starved_ -= covered;
}

Popped JitterBuffer::play(Slot& head, std::int64_t when_us, std::int64_t wanted) noexcept {
  const bool follows = !resting_ && head.timestamp - position_ < units_of(tick_us_) / 2;
  if (!follows && head.timestamp > position_ && !is_due(head.timestamp, when_us)) {
    resting_ = true;
    return nothing(wanted);
  }
  Popped out;
  out.kind = Popped::Kind::frame;
  out.payload_type = head.payload_type;
  out.timestamp = static_cast<std::uint32_t>(head.timestamp);
  out.duration = head.duration;
  out.payload = payload_of(head);
  statistics_.delay_us = delay_at(head.timestamp, when_us);
  if (follows && head.duration > 0) out.pace = pace(statistics_.delay_us);
  ++statistics_.played;
  ++next_;
  position_ = head.timestamp + head.duration;
  if (head.duration > 0) frame_ = head.duration;
  resting_ = head.duration == 0;
  starved_ = 0;
  remove(head);
  return out;
}

Popped JitterBuffer::conceal(const Slot& head) noexcept {
  const std::int64_t gap = head.timestamp - position_;
  const bool last = head.sequence == next_ + 1;
  Popped out;
  out.kind = last && head.audio ? Popped::Kind::recoverable : Popped::Kind::lost;
  out.timestamp = static_cast<std::uint32_t>(position_);
  out.duration = static_cast<std::uint32_t>(last && gap < frame_ * 3 / 2 ? gap : std::min(gap, frame_));
  if (out.kind == Popped::Kind::recoverable) {
    out.payload_type = head.payload_type;
    out.payload = payload_of(head);
  }
  position_ += out.duration;
  pass(next_ + 1);
  return out;
}

Popped JitterBuffer::starve(std::int64_t wanted) noexcept {
  Popped out = nothing(wanted);
  if (!playing_ || resting_) return out;
  ++statistics_.starved;
  starved_ += wanted;
  if (us_of(starved_) <= k_conceal_us) out.kind = Popped::Kind::lost;
  return out;
}

Popped::Pace JitterBuffer::pace(std::int64_t delay_us) noexcept {
  if (++since_pace_ < k_pace_every) return Popped::Pace::keep;
  if (delay_us > target_us() + tick_us_ * 3 / 2) {
    since_pace_ = 0;
    ++statistics_.shortened;
    return Popped::Pace::shorten;
  }
  if (delay_us < target_us() - tick_us_ / 2) {
    since_pace_ = 0;
    ++statistics_.lengthened;
    return Popped::Pace::lengthen;
  }
  return Popped::Pace::keep;
}

// ---- what is held

bool JitterBuffer::is_due(std::int64_t timestamp, std::int64_t when_us) const noexcept {
  return delay_at(timestamp, when_us) >= target_us();
}

/// Only while something is held.
JitterBuffer::Slot& JitterBuffer::first_held() noexcept {
  for (std::int64_t sequence = next_;; ++sequence) {
    Slot& found = slot(sequence);
    if (found.present) return found;
  }
}

void JitterBuffer::remove(Slot& held) noexcept {
  held.present = false;
  --count_;
  if (held.audio) held_ -= held.duration;
}

ConstPayload JitterBuffer::payload_of(const Slot& held) const noexcept {
  const auto index = static_cast<std::size_t>(&held - slots_.data());
  return {payloads_.data() + index * payload_bytes_max_, held.payload_bytes};
}

}  // namespace sipfarm::audio
