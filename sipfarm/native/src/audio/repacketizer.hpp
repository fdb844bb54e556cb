#pragma once

#include <cstddef>
#include <vector>

#include "audio/pcm.hpp"

namespace sipfarm::audio {

/// Frames of any length in, frames of one length out; what is left over waits for the next.
class Repacketizer {
 public:
  /// `samples_max`: the longest frame that comes and the longest that goes, together.
  Repacketizer(std::size_t samples_max, std::size_t frame_samples) : samples_(samples_max), frame_{frame_samples} {}

  /// Another packet time; what is left over stays.
  void set_frame(std::size_t frame_samples) noexcept { frame_ = frame_samples; }
  std::size_t frame() const noexcept { return frame_; }
  std::size_t held() const noexcept { return held_; }

  /// False if there is no room: nothing is taken.
  bool push(ConstPcm pcm) noexcept;
  /// A frame, until the next push; empty while there is less.
  ConstPcm pop() noexcept;
  /// Fills up the last frame with silence. Returns with how many samples; 0 if nothing was left over.
  std::size_t flush() noexcept;

 private:
  void move_to_front() noexcept;

  std::vector<std::int16_t> samples_;
  std::size_t frame_;
  std::size_t begin_ = 0;
  std::size_t held_ = 0;
};

}  // namespace sipfarm::audio
