#include "audio/dtmf_tones.hpp"

#include <algorithm>

#include "audio/telephone_event.hpp"

namespace sipfarm::audio {

namespace {

struct Pair {
  std::uint16_t low_hz;
  std::uint16_t high_hz;
};

constexpr std::array<Pair, k_digit_events> k_pairs = {{
    {941, 1336}, {697, 1209}, {697, 1336}, {697, 1477}, {770, 1209}, {770, 1336}, {770, 1477}, {852, 1209},
    {852, 1336}, {852, 1477}, {941, 1209}, {941, 1477}, {697, 1633}, {770, 1633}, {852, 1633}, {941, 1633},
}};

Cadence cadence_of(std::uint8_t event, std::uint32_t tone_ms, std::uint32_t pause_ms) noexcept {
  Cadence out;
  out.segments[0] = {k_pairs[event].low_hz, k_pairs[event].high_hz, false, tone_ms};
  out.segments[1] = {0, 0, false, pause_ms};
  out.count = 2;
  out.repeats = false;
  return out;
}

}  // namespace

bool DtmfTones::put(char digit, std::uint32_t tone_ms, std::uint32_t pause_ms) noexcept {
  const auto event = event_of(digit);
  if (!event || count_ == k_queue_max) return false;
  queue_[(head_ + count_++) % k_queue_max] = {*event, std::max(tone_ms, k_ms_min), std::max(pause_ms, k_ms_min)};
  return true;
}

void DtmfTones::fill(Pcm out) noexcept {
  while (!out.empty()) {
    if (generator_.done() && count_ > 0) {
      const Waiting& next = queue_[head_];
      generator_.start(cadence_of(next.event, next.tone_ms, next.pause_ms), k_low_dbm0, k_twist_db);
      head_ = (head_ + 1) % k_queue_max;
      --count_;
    }
    const std::size_t made = std::min(out.size(), generator_.until_done());
    generator_.fill(out.first(made));
    out = out.subspan(made);
  }
}

void DtmfTones::stop() noexcept {
  count_ = 0;
  generator_.stop();
}

}  // namespace sipfarm::audio
