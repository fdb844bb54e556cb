#pragma once

#include <cstddef>
#include <cstdint>

/// The loops of the mixer, built so that the compiler makes vectors of them.
namespace sipfarm::audio {

/// Sums up to here leave as they are; louder ones are bent towards the largest sample, which no sum reaches.
/// The curve has no memory, so that a party may hear the common mix in one tick and its own in the next without a step,
/// and no corner, so that two loud speakers do not crackle.
inline constexpr std::int32_t k_limit_knee = 24'576;

std::uint64_t sum_of_squares(const std::int16_t* pcm, std::size_t samples) noexcept;

void add(std::int32_t* sum, const std::int16_t* pcm, std::size_t samples) noexcept;
void add_scaled(std::int32_t* sum, const std::int16_t* pcm, float gain, std::size_t samples) noexcept;
void subtract(std::int32_t* out, const std::int32_t* sum, const std::int16_t* pcm, std::size_t samples) noexcept;
void scale(std::int32_t* sum, float gain, std::size_t samples) noexcept;

/// `pcm` with a gain that goes evenly from `from` to `to`, saturated.
void ramp(std::int16_t* out, const std::int16_t* pcm, float from, float to, std::size_t samples) noexcept;
void ramp(std::int16_t* pcm, float from, float to, std::size_t samples) noexcept;
/// Two of them, one fading into the other.
void cross_fade(std::int16_t* out, const std::int16_t* before, float from, const std::int16_t* after, float to, std::size_t samples) noexcept;

void limit(std::int16_t* out, const std::int32_t* sum, std::size_t samples) noexcept;
/// limit(sum - own)
void limit_minus(std::int16_t* out, const std::int32_t* sum, const std::int16_t* own, std::size_t samples) noexcept;

}  // namespace sipfarm::audio
