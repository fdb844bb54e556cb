#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <vector>

/// The tone code of `sipfarm/phone/tones.py`: a sync tone, four symbols of sixteen tones that spell a number, and a
/// check symbol, 60 ms each, over and over.
namespace sipfarm::loadtests {

inline constexpr std::size_t k_tones = 17;
inline constexpr std::size_t k_symbols = 6;  // of a word
inline constexpr std::uint8_t k_sync = 16;
inline constexpr std::size_t k_frame_ms = 20;
inline constexpr std::size_t k_symbol_frames = 3;
inline constexpr std::size_t k_word_frames = k_symbols * k_symbol_frames;
inline constexpr double k_level_dbfs = -20.0;

constexpr double tone_hz(std::size_t symbol) noexcept { return 500.0 + 175.0 * static_cast<double>(symbol); }

using Word = std::array<std::uint8_t, k_symbols>;

/// A weighted sum, so that one wrong digit and two swapped ones show.
constexpr std::uint8_t check_of(const Word& word) noexcept {
  const unsigned sum = 3U * word[1] + 5U * word[2] + 7U * word[3] + 9U * word[4] + 7U;
  return static_cast<std::uint8_t>(sum & 15U);
}

constexpr Word word_of(std::uint16_t number) noexcept {
  Word word{k_sync,
            static_cast<std::uint8_t>(number >> 12U),
            static_cast<std::uint8_t>(number >> 8U & 15U),
            static_cast<std::uint8_t>(number >> 4U & 15U),
            static_cast<std::uint8_t>(number & 15U),
            0};
  word[5] = check_of(word);
  return word;
}

constexpr std::uint16_t number_of(const Word& word) noexcept {
  return static_cast<std::uint16_t>(word[1] << 12U | word[2] << 8U | word[3] << 4U | word[4]);
}

/// One symbol at full level, 1.0 being full scale: it swells and fades for 4 ms.
inline std::vector<float> symbol_wave(std::size_t symbol, std::size_t sample_rate_hz, double level_dbfs = k_level_dbfs) {
  const std::size_t samples = sample_rate_hz * k_frame_ms * k_symbol_frames / 1'000;
  const std::size_t edge = samples / 15;
  std::vector<float> wave(samples);
  double power = 0;
  for (std::size_t i = 0; i < samples; ++i) {
    const std::size_t from_end = i < samples - 1 - i ? i : samples - 1 - i;
    const double swell = from_end < edge ? 0.25 + 0.75 * static_cast<double>(from_end) / static_cast<double>(edge - 1) : 1.0;
    const double at = static_cast<double>(i) / static_cast<double>(sample_rate_hz);
    const double value = swell * std::sin(2 * std::numbers::pi * tone_hz(symbol) * at);
    power += value * value / static_cast<double>(samples);
    wave[i] = static_cast<float>(value);
  }
  const double gain = std::pow(10.0, level_dbfs / 20.0) / std::sqrt(power);
  for (float& value : wave) value = static_cast<float>(value * gain);
  return wave;
}

}  // namespace sipfarm::loadtests
