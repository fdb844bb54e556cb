#pragma once

#include "audio/mix_kernel.hpp"
#include "audio/pcm.hpp"
#include "audio/voice_activity.hpp"

namespace sipfarm::audio {

/// A gain whose changes are spread over one frame.
class Gain {
 public:
  void set(float db) noexcept { wanted_ = factor_of_db(db); }

  void apply(Pcm pcm) noexcept {
    if (applied_ != 1.0F || wanted_ != 1.0F) ramp(pcm.data(), applied_, wanted_, pcm.size());
    applied_ = wanted_;
  }

 private:
  float applied_ = 1.0F;
  float wanted_ = 1.0F;
};

/// Brings speech to one level, slowly: a gain that listens. Off until it is switched on.
class AutomaticGain {
 public:
  static constexpr float k_target_dbov = -22.0F;
  static constexpr float k_gain_db_min = -12.0F;
  static constexpr float k_gain_db_max = 18.0F;
  static constexpr float k_rise_db_per_s = 5.0F;
  static constexpr float k_fall_db_per_s = 30.0F;

  explicit AutomaticGain(std::uint32_t sample_rate_hz) noexcept : rate_hz_{static_cast<float>(sample_rate_hz)}, voice_{sample_rate_hz} {}

  void enable(bool on) noexcept { on_ = on; }
  bool enabled() const noexcept { return on_; }
  float gain_db() const noexcept { return gain_db_; }

  void apply(Pcm pcm) noexcept;

 private:
  float rate_hz_;
  VoiceActivity voice_;
  Gain gain_;
  float gain_db_ = 0.0F;
  bool on_ = false;
};

}  // namespace sipfarm::audio
