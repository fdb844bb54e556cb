#include "audio/mix_kernel.hpp"

#include <algorithm>

namespace sipfarm::audio {

namespace {

constexpr float k_largest = 32'767.0F;

/// Halves go away from zero: unlike lrint this is made of what every vector unit has.
inline std::int32_t rounded(float value) noexcept { return static_cast<std::int32_t>(value + (value < 0.0F ? -0.5F : 0.5F)); }

inline std::int16_t saturated(float value) noexcept {
  return static_cast<std::int16_t>(rounded(std::min(std::max(value, -k_largest - 1.0F), k_largest)));
}

/// T + (M - T)·u / (u + M - T) with u = |sum| - T: slope 1 at the knee, M at infinity.
inline std::int16_t bent(std::int32_t sum) noexcept {
  constexpr float knee = static_cast<float>(k_limit_knee);
  constexpr float room = k_largest - knee;
  const auto value = static_cast<float>(sum);
  const float above = std::max((value < 0.0F ? -value : value) - knee, 0.0F);
  const float size = std::min(value < 0.0F ? -value : value, knee) + room * above / (above + room);
  return static_cast<std::int16_t>(rounded(value < 0.0F ? -size : size));
}

/// Negative where `sum` is beyond the knee.
inline std::int32_t beyond(std::int32_t sum) noexcept { return (sum + k_limit_knee) | (k_limit_knee - sum); }

}  // namespace

std::uint64_t sum_of_squares(const std::int16_t* pcm, std::size_t samples) noexcept {
  std::uint32_t high = 0;  // in two halves, so that lanes of 32 bits are wide enough for 65,536 samples
  std::uint32_t low = 0;
  for (std::size_t i = 0; i < samples; ++i) {
    const auto square = static_cast<std::uint32_t>(std::int32_t{pcm[i]} * pcm[i]);
    high += square >> 16U;
    low += square & 0xffffU;
  }
  return (std::uint64_t{high} << 16U) + low;
}

void add(std::int32_t* __restrict sum, const std::int16_t* __restrict pcm, std::size_t samples) noexcept {
  for (std::size_t i = 0; i < samples; ++i) sum[i] += pcm[i];
}

void add_scaled(std::int32_t* __restrict sum, const std::int16_t* __restrict pcm, float gain, std::size_t samples) noexcept {
  for (std::size_t i = 0; i < samples; ++i) sum[i] += rounded(static_cast<float>(pcm[i]) * gain);
}

void subtract(std::int32_t* __restrict out, const std::int32_t* __restrict sum, const std::int16_t* __restrict pcm,
              std::size_t samples) noexcept {
  for (std::size_t i = 0; i < samples; ++i) out[i] = sum[i] - pcm[i];
}

void scale(std::int32_t* __restrict sum, float gain, std::size_t samples) noexcept {
  for (std::size_t i = 0; i < samples; ++i) sum[i] = rounded(static_cast<float>(sum[i]) * gain);
}

void ramp(std::int16_t* __restrict out, const std::int16_t* __restrict pcm, float from, float to, std::size_t samples) noexcept {
  const float step = (to - from) / static_cast<float>(samples);
  for (std::size_t i = 0; i < samples; ++i) {
    const float gain = from + step * static_cast<float>(static_cast<std::int32_t>(i) + 1);
    out[i] = saturated(static_cast<float>(pcm[i]) * gain);
  }
}

void ramp(std::int16_t* pcm, float from, float to, std::size_t samples) noexcept {
  const float step = (to - from) / static_cast<float>(samples);
  for (std::size_t i = 0; i < samples; ++i) {
    const float gain = from + step * static_cast<float>(static_cast<std::int32_t>(i) + 1);
    pcm[i] = saturated(static_cast<float>(pcm[i]) * gain);
  }
}

void cross_fade(std::int16_t* __restrict out, const std::int16_t* __restrict before, float from, const std::int16_t* __restrict after, float to,
                std::size_t samples) noexcept {
  const float step = 1.0F / static_cast<float>(samples);
  for (std::size_t i = 0; i < samples; ++i) {
    const float share = step * static_cast<float>(static_cast<std::int32_t>(i) + 1);
    out[i] = saturated(static_cast<float>(before[i]) * from * (1.0F - share) + static_cast<float>(after[i]) * to * share);
  }
}

void limit(std::int16_t* __restrict out, const std::int32_t* __restrict sum, std::size_t samples) noexcept {
  std::int32_t any = 0;
  for (std::size_t i = 0; i < samples; ++i) {
    out[i] = static_cast<std::int16_t>(sum[i]);
    any |= beyond(sum[i]);
  }
  if (any >= 0) return;
  for (std::size_t i = 0; i < samples; ++i) out[i] = bent(sum[i]);
}

void limit_minus(std::int16_t* __restrict out, const std::int32_t* __restrict sum, const std::int16_t* __restrict own,
                 std::size_t samples) noexcept {
  std::int32_t any = 0;
  for (std::size_t i = 0; i < samples; ++i) {
    const std::int32_t rest = sum[i] - own[i];
    out[i] = static_cast<std::int16_t>(rest);
    any |= beyond(rest);
  }
  if (any >= 0) return;
  for (std::size_t i = 0; i < samples; ++i) out[i] = bent(sum[i] - own[i]);
}

}  // namespace sipfarm::audio
