#include "audio/voice_activity.hpp"

#include <algorithm>

namespace sipfarm::audio {

bool VoiceActivity::process(ConstPcm pcm) noexcept {
  const auto ms = static_cast<std::uint32_t>(pcm.size()) / samples_per_ms_;
  level_ = level_dbov(pcm);
  const float rise = k_floor_rise_db_per_s * static_cast<float>(ms) / 1'000.0F;
  floor_ = level_ < floor_ ? floor_ + 0.5F * (level_ - floor_) : std::min(floor_ + rise, level_);
  const bool speech = level_ >= std::max(floor_ + k_above_floor_db, k_speech_dbov_min);
  hangover_ms_ = speech ? k_hangover_ms : hangover_ms_ - std::min(hangover_ms_, ms);
  return hangover_ms_ > 0;
}

}  // namespace sipfarm::audio
