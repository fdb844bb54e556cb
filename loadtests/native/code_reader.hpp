#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "tone_code.hpp"

namespace sipfarm::loadtests {

/// What one frame of 20 ms holds: mean squares, full scale being 1.0.
struct Frame {
  std::array<float, k_tones> tones{};
  float power = 0;  // of everything
};

/// How much of each tone is in a frame: a Hann window, seventeen correlations.
class Spectrum {
 public:
  explicit Spectrum(std::size_t sample_rate_hz) : samples_{sample_rate_hz * k_frame_ms / 1'000}, table_(samples_) {
    double sum = 0;
    for (std::size_t i = 0; i < samples_; ++i) {
      const double turn = 2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(samples_);
      const double window = 0.5 - 0.5 * std::cos(turn);
      sum += window;
      for (std::size_t tone = 0; tone < k_tones; ++tone) {
        const double phase = 2 * std::numbers::pi * tone_hz(tone) * static_cast<double>(i) / static_cast<double>(sample_rate_hz);
        table_[i][tone] = static_cast<float>(window * std::cos(phase));
        table_[i][k_sine + tone] = static_cast<float>(window * std::sin(phase));
      }
    }
    scale_ = static_cast<float>(2.0 / (sum * sum));  // amplitude 2|X|/sum, mean square half of its square
  }

  std::size_t frame_samples() const noexcept { return samples_; }

  /// `pcm` holds frame_samples() of 16 bit.
  Frame analyse(std::span<const std::int16_t> pcm) const noexcept {
    Row sums{};
    float power = 0;
    for (std::size_t i = 0; i < samples_; ++i) {
      const float value = static_cast<float>(pcm[i]) * (1.0F / 32'768.0F);
      power += value * value;
      for (std::size_t column = 0; column < k_columns; ++column) sums[column] += value * table_[i][column];
    }
    Frame frame;
    frame.power = power / static_cast<float>(samples_);
    for (std::size_t tone = 0; tone < k_tones; ++tone) {
      frame.tones[tone] = scale_ * (sums[tone] * sums[tone] + sums[k_sine + tone] * sums[k_sine + tone]);
    }
    return frame;
  }

 private:
  static constexpr std::size_t k_sine = 18;
  static constexpr std::size_t k_columns = 36;
  using Row = std::array<float, k_columns>;

  std::size_t samples_;
  std::vector<Row> table_;
  float scale_ = 0;
};

struct WordHeard {
  std::uint16_t number = 0;
  float power = 0;  // of its median symbol
};

/// Finds code words in a row of frames' strongest tones, whatever their alignment to the symbols: of three frames
/// that one symbol lasts, two lie wholly in it.
class WordTrack {
 public:
  /// A tone of power 0 is silence. The answer comes sixteen frames after the sync tone's end.
  std::optional<WordHeard> push(std::uint8_t tone, float power) noexcept {
    at(now_) = {tone, power};
    const std::size_t end = now_ - k_lag;  // of the sync tone
    ++now_;
    if (!is_sync(end) || is_sync(end + 1)) return std::nullopt;
    std::size_t length = 1;
    while (length <= k_sync_frames_max && is_sync(end - length)) ++length;
    if (length < k_sync_frames_min || length > k_sync_frames_max) return std::nullopt;
    return read(2 * end - (length - 1));
  }

 private:
  struct Tone {
    std::uint8_t symbol = 0;
    float power = 0;
  };
  static constexpr std::size_t k_ring = 32;
  static constexpr std::size_t k_lag = 16;
  static constexpr std::size_t k_sync_frames_min = 2;
  static constexpr std::size_t k_sync_frames_max = 4;

  Tone& at(std::size_t frame) noexcept { return ring_[frame % k_ring]; }
  bool is_sync(std::size_t frame) noexcept { return at(frame).power > 0 && at(frame).symbol == k_sync; }

  /// `middle` of the sync tone in half frames.
  std::optional<WordHeard> read(std::size_t middle) noexcept {
    Word word{k_sync};
    std::array<float, k_symbols - 1> powers{};
    for (std::size_t place = 1; place < k_symbols; ++place) {
      const std::size_t centre = middle + 2 * k_symbol_frames * place;
      const Tone tone = centre % 2 == 0 ? louder(louder(at(centre / 2 - 1), at(centre / 2)), at(centre / 2 + 1))
                                        : louder(at(centre / 2), at(centre / 2 + 1));
      if (tone.power <= 0 || tone.symbol == k_sync) return std::nullopt;
      word[place] = tone.symbol;
      powers[place - 1] = tone.power;
    }
    if (check_of(word) != word[5]) return std::nullopt;
    std::nth_element(powers.begin(), powers.begin() + 2, powers.end());
    return WordHeard{number_of(word), powers[2]};
  }

  static Tone louder(Tone a, Tone b) noexcept { return b.power > a.power ? b : a; }

  std::array<Tone, k_ring> ring_{};
  std::size_t now_ = k_ring;
};

/// Reads the words of the loudest code, and of a second one up to 30 dB below it.
class CodeReader {
 public:
  struct Words {
    std::optional<WordHeard> loudest;
    std::optional<WordHeard> beside;
  };

  Words push(const Frame& frame) noexcept {
    before_ = middle_;
    middle_ = after_;
    after_ = frame;
    const std::size_t tone = strongest(middle_);
    const float power = middle_.tones[tone];
    const bool silent = power < k_quiet;
    Words words;
    words.loudest = loudest_.push(static_cast<std::uint8_t>(tone), silent ? 0.0F : power);
    Frame beside = middle_;  // without the loudest code, which swells and fades in the frames around
    for (const Frame* around : {&before_, &middle_, &after_}) beside.tones[strongest(*around)] = 0;
    const std::size_t second = strongest(beside);
    const float second_power = beside.tones[second];
    const bool nothing = silent || second_power < k_quiet || second_power < power * k_beside;
    words.beside = beside_.push(static_cast<std::uint8_t>(second), nothing ? 0.0F : second_power);
    return words;
  }

 private:
  static constexpr float k_quiet = 1e-6F;    // -60 dBFS
  static constexpr float k_beside = 1e-3F;   // -30 dB

  static std::size_t strongest(const Frame& frame) noexcept {
    return static_cast<std::size_t>(std::max_element(frame.tones.begin(), frame.tones.end()) - frame.tones.begin());
  }

  Frame before_, middle_, after_;
  WordTrack loudest_, beside_;
};

}  // namespace sipfarm::loadtests
