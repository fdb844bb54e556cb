#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "audio/mix_kernel.hpp"
#include "audio/pcm.hpp"

namespace sipfarm::audio {

inline constexpr float k_silence_dbov = -127.0F;

/// Root mean square against the overload point: 0 is the loudest square wave, the loudest sine has -3 (RFC 6464 §3).
inline float level_dbov(std::uint64_t sum_of_squares, std::size_t samples) noexcept {
  if (sum_of_squares == 0 || samples == 0) return k_silence_dbov;
  const float power = static_cast<float>(sum_of_squares) / (static_cast<float>(samples) * static_cast<float>(k_overload * k_overload));
  return std::max(10.0F * std::log10(power), k_silence_dbov);
}

inline float level_dbov(ConstPcm pcm) noexcept { return level_dbov(sum_of_squares(pcm.data(), pcm.size()), pcm.size()); }

/// The level of the header extension: 0 (loudest) to 127 (silence), in -dBov (RFC 6464 §3); of comfort noise the same (RFC 3389 §3.1).
inline std::uint8_t level_field(float dbov) noexcept { return static_cast<std::uint8_t>(std::lrint(std::clamp(-dbov, 0.0F, 127.0F))); }

}  // namespace sipfarm::audio
