#pragma once

#include <array>
#include <cstdint>

#include "audio/level.hpp"
#include "audio/pcm.hpp"

namespace sipfarm::audio {

/// A payload of comfort noise (RFC 3389 §3): a level, and a spectrum as reflection coefficients.
struct NoiseDescription {
  static constexpr std::size_t k_order_max = 12;  // what is sent beyond is not heard

  float dbov = k_silence_dbov;
  std::array<float, k_order_max> reflection{};
  std::size_t order = 0;

  /// An empty payload is silence.
  static NoiseDescription parse(ConstPayload payload) noexcept;
  /// Bytes written to `out`, which has room for 1 + order.
  std::size_t write(Payload out) const noexcept;
};

/// What is heard while the far end sends nothing.
class ComfortNoise {
 public:
  explicit ComfortNoise(std::uint32_t seed) noexcept : dice_{seed | 1U} {}

  void receive(const NoiseDescription& noise) noexcept;
  /// Changes of level are spread over one frame.
  void fill(Pcm out) noexcept;

 private:
  float white() noexcept;

  std::uint32_t dice_;
  NoiseDescription noise_;
  float shape_ = 0.0F;    // what makes the filter's output as loud as 1
  float applied_ = 0.0F;  // the level at the end of the last frame
  float wanted_ = 0.0F;
  std::array<float, NoiseDescription::k_order_max + 1> backward_{};
};

/// What the background sounds like, from frames without speech.
class NoiseEstimate {
 public:
  static constexpr float k_weight = 0.2F;  // of a new frame

  /// `order` 0: the level alone.
  explicit NoiseEstimate(std::size_t order = 0) noexcept : order_{std::min(order, NoiseDescription::k_order_max)} {}

  void process(ConstPcm pcm) noexcept;
  NoiseDescription describe() const noexcept;

 private:
  std::size_t order_;
  bool known_ = false;
  std::array<double, NoiseDescription::k_order_max + 1> correlation_{};  // per sample
};

}  // namespace sipfarm::audio
