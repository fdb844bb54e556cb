#include "audio/timeline.hpp"

#include <algorithm>
#include <utility>

namespace sipfarm::audio {

Stamp Timeline::send(std::uint32_t duration) noexcept {
  const Stamp out{ssrc_, sequence_++, timestamp_, std::exchange(marker_, false)};
  timestamp_ += duration;
  return out;
}

void Timeline::skip(std::uint32_t duration) noexcept {
  timestamp_ += duration;
  marker_ = marker_ || duration > 0;
}

Stamp Timeline::send_event(std::uint32_t timestamp, bool marker) noexcept { return {ssrc_, sequence_++, timestamp, marker}; }

std::uint32_t Timeline::follow(const SourceTime& source, std::int64_t now_us) noexcept {
  const SourceTime before = std::exchange(source_, source);
  const std::int64_t passed_us = now_us - std::exchange(source_us_, now_us);
  if (!std::exchange(following_, true)) return 0;
  const std::int64_t before_us = std::int64_t{before.duration} * 1'000'000 / before.clock_rate_hz;
  std::int64_t gap_us = passed_us - before_us;
  if (source.ssrc == before.ssrc && source.clock_rate_hz == before.clock_rate_hz) {
    const auto step = static_cast<std::int32_t>(source.timestamp - before.timestamp - before.duration);
    const std::int64_t step_us = std::int64_t{step} * 1'000'000 / source.clock_rate_hz;
    if (step >= 0 && step_us <= std::max<std::int64_t>(gap_us, 0) + k_early_us_max) gap_us = step_us;
  } else {
    marker_ = true;
  }
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(gap_us, 0, k_gap_us_max) * clock_rate_hz_ / 1'000'000);
}

}  // namespace sipfarm::audio
