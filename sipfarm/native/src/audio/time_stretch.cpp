#include "audio/time_stretch.hpp"

#include <algorithm>
#include <cmath>

namespace sipfarm::audio {

namespace {

/// From a to b over the length of `out`.
void overlap(std::int16_t* out, const std::int16_t* a, const std::int16_t* b, std::size_t samples) noexcept {
  const float step = 1.0F / static_cast<float>(samples + 1);
  for (std::size_t i = 0; i < samples; ++i) {
    const float share = step * static_cast<float>(i + 1);
    out[i] = to_sample(static_cast<float>(a[i]) * (1.0F - share) + static_cast<float>(b[i]) * share);
  }
}

}  // namespace

TimeStretch::TimeStretch(std::uint32_t sample_rate_hz)
    : lag_min_{sample_rate_hz / 400},
      lag_max_{sample_rate_hz / 100},
      stride_{std::max<std::size_t>(sample_rate_hz / 8'000, 1)},
      scratch_(sample_rate_hz * codec::k_frame_ms_max / 1'000 + lag_max_) {}

std::size_t TimeStretch::shorten(Pcm frame) noexcept {
  const std::size_t lag = find_lag(frame);
  if (lag == 0) return frame.size();
  const std::size_t rest = frame.size() - lag;
  const std::size_t fade = std::min(lag, rest);
  overlap(scratch_.data(), frame.data(), frame.data() + lag, fade);
  std::copy_n(frame.data() + lag + fade, rest - fade, scratch_.data() + fade);
  std::copy_n(scratch_.data(), rest, frame.data());
  return rest;
}

std::size_t TimeStretch::lengthen(Pcm room, std::size_t samples) noexcept {
  const std::size_t lag = find_lag(room.first(samples));
  if (lag == 0 || samples + lag > room.size()) return samples;
  const std::size_t rest = samples - lag;
  const std::size_t fade = std::min(lag, rest);
  std::copy_n(room.data(), lag, scratch_.data());
  overlap(scratch_.data() + lag, room.data() + lag, room.data(), fade);
  std::copy_n(room.data() + fade, samples - fade, scratch_.data() + lag + fade);
  std::copy_n(scratch_.data(), samples + lag, room.data());
  return samples + lag;
}

/// The distance at which the frame is most like itself; 0 if there is none.
std::size_t TimeStretch::find_lag(ConstPcm frame) const noexcept {
  if (frame.size() < 2 * lag_min_ || frame.size() + lag_max_ > scratch_.size()) return 0;
  const std::size_t most = std::min(lag_max_, frame.size() / 2);
  const std::size_t window = frame.size() - most;
  double energy = 1e-9;
  for (std::size_t i = 0; i < window; i += stride_) energy += static_cast<double>(frame[i]) * static_cast<double>(frame[i]);
  const double rms = std::sqrt(energy * static_cast<double>(stride_) / static_cast<double>(window));
  if (rms < static_cast<double>(k_quiet_rms)) return most;
  std::size_t best = 0;
  double best_score = static_cast<double>(k_alike);
  for (std::size_t lag = lag_min_; lag <= most; lag += stride_) {
    double product = 0.0;
    double other = 1e-9;
    for (std::size_t i = 0; i < window; i += stride_) {
      const auto later = static_cast<double>(frame[i + lag]);
      product += static_cast<double>(frame[i]) * later;
      other += later * later;
    }
    const double score = product / std::sqrt(energy * other);
    if (score <= best_score) continue;
    best_score = score;
    best = lag;
  }
  return best;
}

}  // namespace sipfarm::audio
