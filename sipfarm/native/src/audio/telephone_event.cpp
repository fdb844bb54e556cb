#include "audio/telephone_event.hpp"

#include <algorithm>
#include <utility>

namespace sipfarm::audio {

namespace {

constexpr std::uint32_t k_segment_max = 0xffff;

}  // namespace

std::optional<EventReport> EventReport::parse(ConstPayload payload) noexcept {
  // Deviation: of several events in one packet (RFC 4733 §2.5.1.5, of no sender that we know) the first is taken.
  if (payload.size() < k_bytes) return std::nullopt;
  EventReport out;
  out.event = payload[0];
  out.end = (payload[1] & 0x80U) != 0;
  out.volume = payload[1] & 0x3fU;
  out.duration = static_cast<std::uint16_t>(payload[2] << 8U | payload[3]);
  return out;
}

std::array<std::uint8_t, EventReport::k_bytes> EventReport::bytes() const noexcept {
  return {event, static_cast<std::uint8_t>((end ? 0x80U : 0U) | (volume & 0x3fU)), static_cast<std::uint8_t>(duration >> 8U),
          static_cast<std::uint8_t>(duration)};
}

// ---- receiving

TelephoneEvents EventReceiver::receive(const EventReport& report, std::uint32_t timestamp, std::int64_t now_us) noexcept {
  TelephoneEvents out;
  known_ = known_ && now_us - last_us_ < k_memory_us;
  const auto later = static_cast<std::int32_t>(timestamp - timestamp_);
  if (known_ && later < 0) return out;  // an event that is over
  if (known_ && later == 0) {
    if (!running_) return out;  // its end once more
    duration_ = std::max<std::uint32_t>(duration_, report.duration);
    last_us_ = now_us;
  } else {
    const bool goes_on = running_ && report.event == event_ && timestamp - timestamp_ == k_segment_max;  // RFC 4733 §2.5.1.3
    if (running_ && !goes_on) out.add(end_event());
    before_ = goes_on ? before_ + k_segment_max : 0;
    event_ = report.event;
    volume_ = report.volume;
    timestamp_ = timestamp;
    duration_ = report.duration;
    last_us_ = now_us;
    known_ = running_ = true;
    if (!goes_on) out.add({TelephoneEvent::Kind::began, event_, volume_, 0});
  }
  if (report.end) out.add(end_event());
  return out;
}

TelephoneEvents EventReceiver::expire(std::int64_t now_us) noexcept {
  TelephoneEvents out;
  if (running_ && now_us >= last_us_ + k_quiet_us) out.add(end_event());
  return out;
}

std::optional<std::int64_t> EventReceiver::deadline_us() const noexcept {
  return running_ ? std::optional{last_us_ + k_quiet_us} : std::nullopt;
}

TelephoneEvent EventReceiver::end_event() noexcept {
  running_ = false;
  return {TelephoneEvent::Kind::ended, event_, volume_, before_ + duration_};
}

// ---- sending

bool EventSender::put(std::uint8_t event, std::uint32_t duration_ms, std::uint32_t gap_ms, std::uint8_t volume) noexcept {
  if (count_ == k_queue_max) return false;
  queue_[(head_ + count_++) % k_queue_max] = {event, volume, units_of(duration_ms), units_of(gap_ms)};
  return true;
}

void EventSender::stop() noexcept {
  count_ = 0;
  gap_ = 0;
  now_.gap = 0;
  if (running_ && ends_ == 0) now_.duration = static_cast<std::uint32_t>(std::max<std::uint64_t>(elapsed_, 1));
}

std::optional<EventSender::Sent> EventSender::tick(Timeline& timeline, std::uint32_t units) noexcept {
  if (!running_) {
    if (gap_ > 0) {
      gap_ -= std::min(gap_, units);
      return std::nullopt;
    }
    if (count_ == 0) return std::nullopt;
    begin(timeline.timestamp());
  }
  const std::uint32_t segment = segment_;
  const auto payload = report(units).bytes();
  const Sent out{payload, timeline.send_event(segment, std::exchange(marker_, false))};
  timeline.skip(units);
  return out;
}

void EventSender::begin(std::uint32_t timestamp) noexcept {
  now_ = queue_[head_];
  head_ = (head_ + 1) % k_queue_max;
  --count_;
  running_ = marker_ = true;
  ends_ = 0;
  segment_ = timestamp;
  elapsed_ = segments_ = 0;
}

/// The packet of a tick that ends `units` from now.
EventReport EventSender::report(std::uint32_t units) noexcept {
  EventReport out{now_.event, false, now_.volume, 0};
  elapsed_ = std::min<std::uint64_t>(elapsed_ + units, std::max<std::uint64_t>(now_.duration, 1));
  if (elapsed_ - segments_ > k_segment_max) {  // the segment is full: the next packet begins another
    out.duration = k_segment_max;
    segments_ += k_segment_max;
    segment_ += k_segment_max;
    return out;
  }
  out.duration = static_cast<std::uint16_t>(elapsed_ - segments_);
  out.end = elapsed_ >= now_.duration;
  if (out.end && ++ends_ == k_ends) {
    running_ = false;
    gap_ = now_.gap;
  }
  return out;
}

}  // namespace sipfarm::audio
