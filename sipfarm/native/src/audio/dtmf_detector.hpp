#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "audio/resampler.hpp"

struct dtmf_rx_state_s;

namespace sipfarm::audio {

/// Hears DTMF in the audio (ITU-T Q.24), by libspandsp.
class DtmfDetector {
 public:
  struct Digit {
    enum class Kind : std::uint8_t { began, ended };
    Kind kind = Kind::began;
    char digit = '\0';
    std::uint32_t duration_ms = 0;  // of one that ended, to 10 ms
  };
  static constexpr std::size_t k_digits_max = 16;  // told of one call; a digit takes 40 ms at least

  /// Throws std::bad_alloc.
  explicit DtmfDetector(std::uint32_t sample_rate_hz);
  DtmfDetector(const DtmfDetector&) = delete;
  DtmfDetector& operator=(const DtmfDetector&) = delete;

  /// At most codec::k_frame_ms_max. What began and ended in it, until the next call.
  std::span<const Digit> process(ConstPcm pcm) noexcept;

 private:
  struct Free {
    void operator()(dtmf_rx_state_s* state) const noexcept;
  };

  static void hear(void* self, int code, int level, int delay) noexcept;
  void note(Digit::Kind kind, char digit) noexcept;

  Resampler to_8_khz_;
  std::vector<std::int16_t> narrow_;
  std::unique_ptr<dtmf_rx_state_s, Free> state_;
  std::array<Digit, k_digits_max> digits_;
  std::size_t count_ = 0;
  char sounding_ = '\0';
  std::uint64_t heard_samples_ = 0;
  std::uint64_t began_samples_ = 0;
};

}  // namespace sipfarm::audio
