#pragma once

#include <array>
#include <cstdint>

#include "audio/tones.hpp"

namespace sipfarm::audio {

/// DTMF in the audio (ITU-T Q.23): digits wait in a queue and sound one after the other.
class DtmfTones {
 public:
  static constexpr std::size_t k_queue_max = 64;
  static constexpr std::uint32_t k_ms_min = 40;   // a receiver need not hear less (ITU-T Q.24)
  static constexpr float k_low_dbm0 = -10.0F;
  static constexpr float k_twist_db = 2.0F;       // the high frequencies suffer more on the way

  explicit DtmfTones(std::uint32_t sample_rate_hz) noexcept : generator_{sample_rate_hz} {}

  /// False if it is no digit, or k_queue_max wait already. Less than 40 ms of tone or pause become 40.
  bool put(char digit, std::uint32_t tone_ms = 100, std::uint32_t pause_ms = 80) noexcept;
  void fill(Pcm out) noexcept;
  bool busy() const noexcept { return count_ > 0 || !generator_.done(); }
  /// What sounds fades out, what waits is forgotten.
  void stop() noexcept;

 private:
  struct Waiting {
    std::uint8_t event;
    std::uint32_t tone_ms;
    std::uint32_t pause_ms;
  };

  ToneGenerator generator_;
  std::array<Waiting, k_queue_max> queue_{};
  std::size_t head_ = 0;
  std::size_t count_ = 0;
};

}  // namespace sipfarm::audio
