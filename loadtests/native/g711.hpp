#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

/// G.711 by table, apart from the farm's own codec: who checks does not ask the checked.
namespace sipfarm::loadtests {

enum class Law : std::uint8_t { mu = 0, a = 8 };  // the static payload types (RFC 3551 §6)

constexpr std::int16_t expand_mu(std::uint8_t code) noexcept {
  const unsigned bits = ~unsigned{code} & 0xffU;
  const int magnitude = static_cast<int>((((bits & 15U) << 1U) + 33U) << ((bits >> 4U) & 7U)) - 33;
  return static_cast<std::int16_t>((bits & 0x80U) != 0 ? -magnitude * 4 : magnitude * 4);
}

constexpr std::int16_t expand_a(std::uint8_t code) noexcept {
  const unsigned bits = code ^ 0x55U;
  const unsigned segment = (bits >> 4U) & 7U;
  const unsigned step = ((bits & 15U) << 1U) + 1U;
  const int magnitude = static_cast<int>(segment == 0 ? step : (step + 32U) << (segment - 1U));
  return static_cast<std::int16_t>((bits & 0x80U) != 0 ? magnitude * 8 : -magnitude * 8);
}

class G711 {
 public:
  explicit G711(Law law) {
    for (unsigned code = 0; code < 256; ++code) {
      const auto byte = static_cast<std::uint8_t>(code);
      values_[code] = law == Law::mu ? expand_mu(byte) : expand_a(byte);
    }
  }

  std::int16_t expand(std::uint8_t code) const noexcept { return values_[code]; }

  /// The nearest code. Slow: payloads are made beforehand.
  std::uint8_t compress(float value) const noexcept {
    const float wanted = value * 32'768.0F;
    std::size_t best = 0;
    float best_error = 1e9F;
    for (std::size_t code = 0; code < 256; ++code) {
      const float error = wanted > values_[code] ? wanted - values_[code] : values_[code] - wanted;
      if (error < best_error) {
        best = code;
        best_error = error;
      }
    }
    return static_cast<std::uint8_t>(best);
  }

  void expand(std::span<const std::uint8_t> payload, std::span<std::int16_t> pcm) const noexcept {
    for (std::size_t i = 0; i < payload.size(); ++i) pcm[i] = values_[payload[i]];
  }

 private:
  std::array<std::int16_t, 256> values_{};
};

}  // namespace sipfarm::loadtests
