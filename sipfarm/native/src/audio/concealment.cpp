#include "audio/concealment.hpp"

#include <algorithm>

#include "audio/mix_kernel.hpp"

namespace sipfarm::audio {

void Joins::audio(Pcm frame) noexcept {
  const std::size_t samples = std::min(edge_.size(), frame.size());
  if (!sounding_) ramp(frame.data(), 0.0F, 1.0F, samples);
  sounding_ = true;
  std::copy_n(frame.end() - static_cast<std::ptrdiff_t>(samples), samples, edge_.begin());
}

void Joins::pause(Pcm frame) noexcept {
  if (!sounding_) return;
  sounding_ = false;
  std::reverse(edge_.begin(), edge_.end());
  ramp(edge_.data(), 1.0F, 0.0F, edge_.size());
  const std::size_t samples = std::min(edge_.size(), frame.size());
  for (std::size_t i = 0; i < samples; ++i) frame[i] = to_sample(static_cast<float>(frame[i]) + static_cast<float>(edge_[i]));
}

}  // namespace sipfarm::audio
