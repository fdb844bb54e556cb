#include "audio/gain.hpp"

#include <algorithm>

namespace sipfarm::audio {

void AutomaticGain::apply(Pcm pcm) noexcept {
  const float seconds = static_cast<float>(pcm.size()) / rate_hz_;
  const bool speech = voice_.process(pcm) && voice_.level() > voice_.floor() + VoiceActivity::k_above_floor_db;
  if (!on_) {
    gain_db_ = 0.0F;  // faded out over one frame
  } else if (speech) {
    const float missing = k_target_dbov - (voice_.level() + gain_db_);
    const float step = std::clamp(missing, -k_fall_db_per_s * seconds, k_rise_db_per_s * seconds);
    gain_db_ = std::clamp(gain_db_ + step, k_gain_db_min, k_gain_db_max);
  }
  gain_.set(gain_db_);
  gain_.apply(pcm);
}

}  // namespace sipfarm::audio
