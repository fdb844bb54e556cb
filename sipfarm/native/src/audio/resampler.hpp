#pragma once

#include <cstdint>
#include <memory>

#include "audio/pcm.hpp"

struct SpeexResamplerState_;

namespace sipfarm::audio {

/// PCM from one sample rate to another. Every frame that is a whole number of samples at both rates gives exactly that many;
/// nothing is allocated after construction.
class Resampler {
 public:
  /// Of libspeexdsp. The least with a flat passband (0.02 dB at 85 % of it) and everything beyond it 88 dB down; one less
  /// loses 1 dB there, one more costs a quarter more and a millisecond.
  static constexpr int k_quality = 4;

  /// Throws std::bad_alloc.
  Resampler(std::uint32_t from_hz, std::uint32_t to_hz);

  /// Samples written to `out`, which has room for `out_samples(in.size())`.
  std::size_t process(ConstPcm in, Pcm out) noexcept;
  /// Forgets the past: another stream.
  void reset() noexcept;

  std::size_t out_samples(std::size_t in_samples) const noexcept { return (in_samples * to_hz_ + from_hz_ - 1) / from_hz_ + 1; }
  /// By how much what comes out is behind what went in, at the rate of what comes out.
  std::size_t delay_samples() const noexcept;

 private:
  struct Free {
    void operator()(SpeexResamplerState_* state) const noexcept;
  };

  std::uint32_t from_hz_;
  std::uint32_t to_hz_;
  std::unique_ptr<SpeexResamplerState_, Free> state_;  // none: both rates are the same
};

}  // namespace sipfarm::audio
