#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <numbers>
#include <random>
#include <span>
#include <vector>

/// Tones to feed to audio parts, and what is found in what comes out.
namespace sipfarm::tests {

using Samples = std::vector<std::int16_t>;

inline Samples sine(double hz, double rate_hz, std::size_t count, double peak = 10'000.0) {
  Samples out(count);
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = static_cast<std::int16_t>(std::lrint(peak * std::sin(2.0 * std::numbers::pi * hz * static_cast<double>(i) / rate_hz)));
  }
  return out;
}

/// The peak of the sine of that frequency, looked at through a Hann window.
inline double peak_at(std::span<const std::int16_t> pcm, double hz, double rate_hz) {
  double x = 0.0;
  double y = 0.0;
  double weights = 0.0;
  for (std::size_t i = 0; i < pcm.size(); ++i) {
    const double weight = 1.0 - std::cos(2.0 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(pcm.size()));
    const double angle = 2.0 * std::numbers::pi * hz * static_cast<double>(i) / rate_hz;
    x += weight * static_cast<double>(pcm[i]) * std::cos(angle);
    y += weight * static_cast<double>(pcm[i]) * std::sin(angle);
    weights += weight;
  }
  return 2.0 * std::hypot(x, y) / weights;
}

inline double rms(std::span<const std::int16_t> pcm) {
  double sum = 0.0;
  for (const std::int16_t sample : pcm) sum += static_cast<double>(sample) * static_cast<double>(sample);
  return pcm.empty() ? 0.0 : std::sqrt(sum / static_cast<double>(pcm.size()));
}

/// The largest step from one sample to the next: what is heard as a click.
inline int largest_step(std::span<const std::int16_t> pcm) {
  int out = 0;
  for (std::size_t i = 1; i < pcm.size(); ++i) out = std::max(out, std::abs(pcm[i] - pcm[i - 1]));
  return out;
}

inline double db(double ratio) { return 20.0 * std::log10(std::max(ratio, 1e-12)); }

inline Samples noise(std::mt19937& dice, std::size_t count, double sigma) {
  std::normal_distribution<double> normal{0.0, sigma};
  Samples out(count);
  for (auto& sample : out) sample = static_cast<std::int16_t>(std::clamp(normal(dice), -32'768.0, 32'767.0));
  return out;
}

/// What a voice does to a DTMF receiver: harmonics of a gliding pitch under moving formants, in syllables of changing level.
inline Samples speech_like(std::mt19937& dice, double rate_hz, std::size_t count) {
  std::uniform_real_distribution<double> any{0.0, 1.0};
  Samples out(count);
  double phase = 0.0;
  double pitch_hz = 120.0;
  double first_hz = 500.0;
  double second_hz = 1'500.0;
  double level = 0.0;
  double wanted = 0.0;
  for (std::size_t i = 0; i < count; ++i) {
    if (i % static_cast<std::size_t>(rate_hz / 8) == 0) {
      pitch_hz = 80.0 + 180.0 * any(dice);
      first_hz = 300.0 + 600.0 * any(dice);
      second_hz = 900.0 + 1'500.0 * any(dice);
      wanted = any(dice) < 0.25 ? 0.0 : 12'000.0 * any(dice);
    }
    level += (wanted - level) * 0.002;
    phase += 2.0 * std::numbers::pi * pitch_hz / rate_hz;
    double value = 0.0;
    for (int harmonic = 1; harmonic * pitch_hz < 3'400.0; ++harmonic) {
      const double hz = harmonic * pitch_hz;
      const double weight = 1.0 / (1.0 + std::pow((hz - first_hz) / 90.0, 2)) + 0.6 / (1.0 + std::pow((hz - second_hz) / 120.0, 2));
      value += weight * std::sin(harmonic * phase);
    }
    out[i] = static_cast<std::int16_t>(std::clamp(level * value, -32'767.0, 32'767.0));
  }
  return out;
}

}  // namespace sipfarm::tests
