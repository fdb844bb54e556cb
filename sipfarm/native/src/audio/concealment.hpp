#pragma once

#include <cstdint>
#include <vector>

#include "audio/pcm.hpp"

namespace sipfarm::audio {

/// Joins of speech with what stands in for it, without a click. What a codec conceals is its own affair (Decoder::conceal);
/// here are the edges: where audio ceases, its last 5 ms run backwards and fade out; where it begins, it fades in.
class Joins {
 public:
  explicit Joins(std::uint32_t sample_rate_hz) : edge_(sample_rate_hz / 200) {}

  /// A frame of audio, of at least 5 ms.
  void audio(Pcm frame) noexcept;
  /// A frame of silence or comfort noise; what fades out is added to it.
  void pause(Pcm frame) noexcept;

 private:
  std::vector<std::int16_t> edge_;  // the last samples of audio
  bool sounding_ = false;
};

}  // namespace sipfarm::audio
