#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "g711.hpp"
#include "tone_code.hpp"

namespace sipfarm::loadtests {

/// How audio goes over the wire.
struct AudioCodec {
  std::string_view name;
  std::uint8_t payload_type = 0;
  std::uint32_t clock_rate_hz = 8'000;
  std::uint32_t sample_rate_hz = 8'000;

  constexpr std::uint32_t frame_ticks() const noexcept { return clock_rate_hz / 1'000 * std::uint32_t{k_frame_ms}; }
  constexpr std::size_t frame_samples() const noexcept { return sample_rate_hz * k_frame_ms / 1'000; }
};

inline constexpr std::array k_codecs{AudioCodec{"PCMU", 0}, AudioCodec{"PCMA", 8}};

constexpr std::optional<AudioCodec> codec_named(std::string_view name) noexcept {
  for (const AudioCodec& codec : k_codecs) {
    if (codec.name == name) return codec;
  }
  return std::nullopt;
}

/// The payloads of all symbols, encoded beforehand: what a code sounds like is a walk through this table.
class Voice {
 public:
  explicit Voice(const AudioCodec& codec) : codec_{codec}, payloads_(k_tones * k_symbol_frames) {
    const G711 law{static_cast<Law>(codec.payload_type)};
    for (std::size_t symbol = 0; symbol < k_tones; ++symbol) {
      const std::vector<float> wave = symbol_wave(symbol, codec.sample_rate_hz);
      for (std::size_t i = 0; i < wave.size(); ++i) payloads_[symbol * k_symbol_frames + i / codec.frame_samples()].push_back(law.compress(wave[i]));
    }
  }

  const AudioCodec& codec() const noexcept { return codec_; }

  /// The packet of a word that is said over and over.
  std::span<const std::uint8_t> payload(const Word& word, std::size_t frame) const noexcept {
    return payloads_[word[frame / k_symbol_frames % k_symbols] * k_symbol_frames + frame % k_symbol_frames];
  }

 private:
  AudioCodec codec_;
  std::vector<std::vector<std::uint8_t>> payloads_;
};

/// Turns what comes in into PCM.
class Ear {
 public:
  static constexpr std::size_t k_samples_max = 2'048;

  explicit Ear(const AudioCodec& codec) : codec_{codec}, law_{static_cast<Law>(codec.payload_type)} {}

  std::uint8_t payload_type() const noexcept { return codec_.payload_type; }
  std::uint32_t frame_ticks() const noexcept { return codec_.frame_ticks(); }

  /// Samples written; 0: not a payload of this codec.
  std::size_t decode(std::span<const std::uint8_t> payload, std::span<std::int16_t> pcm) noexcept {
    if (payload.size() > k_samples_max) return 0;
    law_.expand(payload, pcm);
    return payload.size();
  }

 private:
  AudioCodec codec_;
  G711 law_;
};

}  // namespace sipfarm::loadtests
