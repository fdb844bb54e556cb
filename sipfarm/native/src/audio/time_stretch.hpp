#pragma once

#include <cstdint>
#include <vector>

#include "audio/pcm.hpp"

namespace sipfarm::audio {

/// Makes a frame shorter or longer by one period of its voice, overlapping two pieces where they are most alike: pitch stays,
/// and both ends of the frame are as they were, so that frames around it fit. This is how a jitter buffer changes its delay
/// and how a clock that drifts is followed.
class TimeStretch {
 public:
  /// For frames of up to codec::k_frame_ms_max.
  explicit TimeStretch(std::uint32_t sample_rate_hz);

  /// In place. Samples left: less by 2.5 to 10 ms, or as many as before if no two pieces are alike.
  std::size_t shorten(Pcm frame) noexcept;
  /// The frame is the first `samples` of `room`. Samples there are then: more by 2.5 to 10 ms, if there is room, or as before.
  std::size_t lengthen(Pcm room, std::size_t samples) noexcept;
  /// What a frame can grow by.
  std::size_t growth_max() const noexcept { return lag_max_; }

 private:
  static constexpr float k_alike = 0.5F;  // correlation from which on the overlap is not heard
  static constexpr float k_quiet_rms = 60.0F;  // -55 dBov: here it need not be alike

  std::size_t find_lag(ConstPcm frame) const noexcept;

  std::size_t lag_min_;
  std::size_t lag_max_;
  std::size_t stride_;   // of the search: as fine as 8 kHz
  std::vector<std::int16_t> scratch_;
};

}  // namespace sipfarm::audio
