#include "audio/resampler.hpp"

#include <speex/speex_resampler.h>

#include <algorithm>
#include <new>

namespace sipfarm::audio {

void Resampler::Free::operator()(SpeexResamplerState_* state) const noexcept { speex_resampler_destroy(state); }

Resampler::Resampler(std::uint32_t from_hz, std::uint32_t to_hz) : from_hz_{from_hz}, to_hz_{to_hz} {
  if (from_hz == to_hz) return;
  int error = 0;
  state_.reset(speex_resampler_init(1, from_hz, to_hz, k_quality, &error));
  if (!state_) throw std::bad_alloc{};
}

std::size_t Resampler::process(ConstPcm in, Pcm out) noexcept {
  if (!state_) {
    std::copy(in.begin(), in.end(), out.begin());
    return in.size();
  }
  auto taken = static_cast<spx_uint32_t>(in.size());
  auto made = static_cast<spx_uint32_t>(out.size());
  speex_resampler_process_int(state_.get(), 0, in.data(), &taken, out.data(), &made);
  return made;
}

void Resampler::reset() noexcept {
  if (state_) speex_resampler_reset_mem(state_.get());
}

std::size_t Resampler::delay_samples() const noexcept {
  return state_ ? static_cast<std::size_t>(speex_resampler_get_output_latency(state_.get())) : 0;
}

}  // namespace sipfarm::audio
