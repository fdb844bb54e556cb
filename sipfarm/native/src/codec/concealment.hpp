#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "codec/codec.hpp"

namespace sipfarm::codec {

/// Fills gaps for codecs that have no concealment of their own, in the way of G.711 appendix I but without its delay: the last pitch
/// cycle is repeated, fades out from 10 ms to 60 ms, and what comes next is blended in. spandsp's has its pitch range and its decay
/// counted in samples of 8 kHz; this one goes by the rate.
class Concealer {
 public:
  explicit Concealer(std::uint32_t rate_hz);

  /// What was decoded; after a gap its beginning is blended with what filled the gap.
  void heard(Pcm pcm) noexcept {
    if (missing_ != 0) [[unlikely]] blend(pcm);
    remember(pcm);
  }
  void fill(Pcm pcm) noexcept;

 private:
  void remember(ConstPcm pcm) noexcept;
  void blend(Pcm pcm) noexcept;
  void begin_gap() noexcept;
  std::size_t pitch() const noexcept;
  float gain() const noexcept;
  float next() noexcept;

  std::size_t lag_min_;  // 200 Hz
  std::size_t lag_max_;  // 66 Hz
  std::size_t window_;
  std::size_t stride_;   // of the coarse search
  std::size_t hold_;     // samples of a gap at full level
  std::size_t fade_;     // samples of the fall after that
  std::vector<std::int16_t> past_;  // its last kept() samples end at end_
  std::size_t end_;
  std::vector<float> cycle_;
  std::size_t lag_ = 0;
  std::size_t at_ = 0;       // in the cycle
  std::size_t missing_ = 0;  // samples of the gap so far
};

}  // namespace sipfarm::codec
