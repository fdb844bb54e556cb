#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "codec/codec.hpp"
#include "g711.hpp"
#include "tone_code.hpp"

namespace sipfarm::loadtests {

/// How audio goes over the wire.
struct AudioCodec {
  std::string_view name;
  std::uint8_t payload_type = 0;
  codec::Format format;

  std::uint32_t frame_ticks() const noexcept { return format.clock_rate_hz / 1'000 * std::uint32_t{k_frame_ms}; }
  std::size_t frame_samples() const noexcept { return format.sample_rate_hz / 1'000 * k_frame_ms; }
  bool is_g711() const noexcept { return format.id == codec::Id::pcmu || format.id == codec::Id::pcma; }
  Law law() const noexcept { return format.id == codec::Id::pcma ? Law::a : Law::mu; }
};

/// Those that carry the tones; the payload types of the others are what loadtests/listened_calls.py offers them by.
inline const std::array k_codecs{
    AudioCodec{"PCMU", 0, {.id = codec::Id::pcmu}},
    AudioCodec{"PCMA", 8, {.id = codec::Id::pcma}},
    AudioCodec{"G722", 9, {.id = codec::Id::g722, .sample_rate_hz = 16'000}},
    AudioCodec{"GSM", 3, {.id = codec::Id::gsm}},
    AudioCodec{"G729", 18, {.id = codec::Id::g729}},
    AudioCodec{"opus", 96, {.id = codec::Id::opus, .clock_rate_hz = 48'000, .sample_rate_hz = 16'000, .channels = 2}},
    AudioCodec{"L16", 97, {.id = codec::Id::l16, .clock_rate_hz = 16'000, .sample_rate_hz = 16'000}},
    AudioCodec{"G726-32", 98, {.id = codec::Id::g726_32}},
    AudioCodec{"speex", 99, {.id = codec::Id::speex}},
    AudioCodec{"AMR", 100, {.id = codec::Id::amr}},
    AudioCodec{"AMR-WB", 101, {.id = codec::Id::amr_wb, .clock_rate_hz = 16'000, .sample_rate_hz = 16'000}},
};

inline std::optional<AudioCodec> codec_named(std::string_view name) {
  for (const AudioCodec& codec : k_codecs) {
    if (codec.name == name && (codec.is_g711() || codec::is_built_in(codec.format.id))) return codec;
  }
  return std::nullopt;
}

/// A code in payloads, to be said over and over.
using Speech = std::array<std::vector<std::uint8_t>, k_word_frames>;

/// Says codes in a codec.
class Voice {
 public:
  explicit Voice(const AudioCodec& codec) : codec_{codec} {
    for (std::size_t symbol = 0; symbol < k_tones; ++symbol) waves_[symbol] = symbol_wave(symbol, codec.format.sample_rate_hz);
  }

  const AudioCodec& codec() const noexcept { return codec_; }

  /// The second time that an encoder says the word: what it remembers at its end is then what it will at the next one's beginning.
  Speech say(std::uint16_t number) const {
    Speech speech;
    const std::unique_ptr<codec::Encoder> encoder = codec_.is_g711() ? nullptr : codec::make_encoder(codec_.format);
    std::vector<std::int16_t> pcm(codec_.frame_samples());
    for (std::size_t frame = 0; frame < 2 * k_word_frames; ++frame) {
      const std::vector<float>& wave = waves_[word_of(number)[frame / k_symbol_frames % k_symbols]];
      const std::span<const float> part = std::span{wave}.subspan(frame % k_symbol_frames * pcm.size(), pcm.size());
      std::transform(part.begin(), part.end(), pcm.begin(), [](float value) { return static_cast<std::int16_t>(value * 32'768.0F); });
      speech[frame % k_word_frames] = encoder ? encoded(*encoder, pcm) : compressed(pcm);
    }
    return speech;
  }

 private:
  static std::vector<std::uint8_t> encoded(codec::Encoder& encoder, std::span<const std::int16_t> pcm) {
    std::vector<std::uint8_t> payload(codec::k_payload_bytes_max);
    payload.resize(encoder.encode(pcm, payload));
    return payload;
  }

  std::vector<std::uint8_t> compressed(std::span<const std::int16_t> pcm) const {
    std::vector<std::uint8_t> payload;
    for (const std::int16_t sample : pcm) payload.push_back(g711(codec_.law()).compress(sample));
    return payload;
  }

  AudioCodec codec_;
  std::array<std::vector<float>, k_tones> waves_;
};

/// Turns what comes in into PCM.
class Ear {
 public:
  static constexpr std::size_t k_samples_max = codec::k_frame_ms_max * 16;

  explicit Ear(const AudioCodec& codec)
      : codec_{codec}, decoder_{codec.is_g711() ? nullptr : codec::make_decoder(codec.format)} {}

  std::uint8_t payload_type() const noexcept { return codec_.payload_type; }
  std::uint32_t frame_ticks() const noexcept { return codec_.frame_ticks(); }

  /// Samples written, k_samples_max at most; 0: not a payload of this codec.
  std::size_t decode(std::span<const std::uint8_t> payload, std::span<std::int16_t> pcm) noexcept {
    if (decoder_) return decoder_->decode(payload, pcm);
    if (payload.size() > k_samples_max) return 0;
    g711(codec_.law()).expand(payload, pcm);
    return payload.size();
  }

 private:
  AudioCodec codec_;
  std::unique_ptr<codec::Decoder> decoder_;
};

}  // namespace sipfarm::loadtests
