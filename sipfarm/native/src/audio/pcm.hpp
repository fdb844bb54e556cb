#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "codec/codec.hpp"

namespace sipfarm::audio {

using codec::ConstPayload;
using codec::ConstPcm;
using codec::Payload;
using codec::Pcm;

inline constexpr float k_pcm_max = 32'767.0F;
inline constexpr double k_overload = 32'768.0;           // the amplitude of 0 dBov
inline constexpr double k_full_scale_sine_dbm0 = 3.14;   // ITU-T G.711 §A.1: the largest sine of A-law

inline std::int16_t to_sample(float value) noexcept {
  return static_cast<std::int16_t>(std::lrint(std::clamp(value, -k_pcm_max - 1.0F, k_pcm_max)));
}

/// The factor of an amplitude that a gain of so many decibels is.
inline float factor_of_db(float db) noexcept { return std::pow(10.0F, db / 20.0F); }

/// The peak of a sine of that level.
inline float peak_of_dbm0(float dbm0) noexcept {
  return k_pcm_max * factor_of_db(dbm0 - static_cast<float>(k_full_scale_sine_dbm0));
}

}  // namespace sipfarm::audio
