#pragma once

#include <cstdint>

#include "audio/level.hpp"

namespace sipfarm::audio {

/// Tells speech from background by its level above a floor that follows the background.
class VoiceActivity {
 public:
  static constexpr float k_above_floor_db = 9.0F;
  static constexpr float k_speech_dbov_min = -60.0F;   // nothing below is speech
  static constexpr float k_floor_rise_db_per_s = 3.0F; // a floor that rose with speech would cut its end off
  static constexpr std::uint32_t k_hangover_ms = 200;

  explicit VoiceActivity(std::uint32_t sample_rate_hz) noexcept : samples_per_ms_{sample_rate_hz / 1'000} {}

  /// Of a frame of any length: is it speech, or a pause within?
  bool process(ConstPcm pcm) noexcept;

  float level() const noexcept { return level_; }
  float floor() const noexcept { return floor_; }

 private:
  std::uint32_t samples_per_ms_;
  float level_ = k_silence_dbov;
  float floor_ = -50.0F;
  std::uint32_t hangover_ms_ = 0;
};

}  // namespace sipfarm::audio
