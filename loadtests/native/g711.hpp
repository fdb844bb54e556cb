#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

/// G.711 by table, apart from the farm's own codec: who checks does not ask the checked.
namespace sipfarm::loadtests {

enum class Law : std::uint8_t { mu, a };

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
    for (int step = 0; step < k_steps; ++step) codes_[static_cast<std::size_t>(step)] = nearest(step * k_step + INT16_MIN);
  }

  std::int16_t expand(std::uint8_t code) const noexcept { return values_[code]; }

  /// The nearest code, of the sample in 14 bits.
  std::uint8_t compress(std::int16_t sample) const noexcept { return codes_[static_cast<std::size_t>((sample - INT16_MIN) / k_step)]; }

  void expand(std::span<const std::uint8_t> payload, std::span<std::int16_t> pcm) const noexcept {
    for (std::size_t i = 0; i < payload.size(); ++i) pcm[i] = values_[payload[i]];
  }

 private:
  static constexpr int k_step = 4;
  static constexpr int k_steps = 65'536 / k_step;

  std::uint8_t nearest(int sample) const noexcept {
    std::size_t best = 0;
    for (std::size_t code = 1; code < values_.size(); ++code) {
      if (std::abs(sample - values_[code]) < std::abs(sample - values_[best])) best = code;
    }
    return static_cast<std::uint8_t>(best);
  }

  std::array<std::int16_t, 256> values_{};
  std::array<std::uint8_t, k_steps> codes_{};
};

inline const G711& g711(Law law) {
  static const G711 mu{Law::mu};
  static const G711 a{Law::a};
  return law == Law::mu ? mu : a;
}

}  // namespace sipfarm::loadtests
