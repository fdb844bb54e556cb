#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "audio/oscillator.hpp"
#include "audio/pcm.hpp"

namespace sipfarm::audio {

/// Tones and pauses in turn.
struct Cadence {
  static constexpr std::size_t k_segments_max = 16;

  struct Segment {
    std::uint16_t first_hz = 0;   // 0: a pause
    std::uint16_t second_hz = 0;  // 0: one frequency alone
    bool modulated = false;       // the second swings the first's amplitude, else both sound
    std::uint32_t ms = 0;         // 0: for ever
  };

  std::array<Segment, k_segments_max> segments{};
  std::size_t count = 0;
  bool repeats = true;

  /// Segments parted by commas, of `HZ`, `HZ+HZ` or `HZ*HZ` (modulated), then `/MS` unless it lasts; `0` is a pause:
  /// "400+450/400,0/200,400+450/400,0/2000".
  static constexpr std::optional<Cadence> parse(std::string_view text) noexcept;
};

enum class CallProgress : std::uint8_t { dial, ring_back, busy, congestion, special_information };

/// The tone of a country (ISO 3166, two lower case letters) after ITU-T E.180 Supplement 2; none where we do not know the country.
std::optional<Cadence> call_progress_tone(std::string_view country, CallProgress tone) noexcept;
std::span<const std::string_view> countries_with_tones() noexcept;

inline constexpr float k_tone_dbm0 = -13.0F;  // of each frequency: two make -10 (ITU-T E.180 §8)

/// Plays one cadence at any rate. A frame goes on where the one before ended; what begins and ends does so in 5 ms.
class ToneGenerator {
 public:
  explicit ToneGenerator(std::uint32_t sample_rate_hz) noexcept;

  /// `twist_db`: by how much the second frequency is louder than the first.
  void start(const Cadence& cadence, float dbm0 = k_tone_dbm0, float twist_db = 0.0F) noexcept;
  /// 1,004 Hz at 0 dBm0 (ITU-T O.61 has 1,020 Hz; 1,004 does not beat with the sampling).
  void start_milliwatt() noexcept;
  /// Fades out.
  void stop() noexcept { on_ = false; }

  void fill(Pcm out) noexcept;
  /// Nothing more will come.
  bool done() const noexcept { return !on_ && envelope_ == 0.0F; }
  /// How many samples may be filled before that has to be asked again; at least one.
  std::size_t until_done() const noexcept;

 private:
  void advance() noexcept;
  void tune(const Cadence::Segment& segment) noexcept;
  float sample() noexcept;

  float rate_hz_;
  float slope_;
  Cadence cadence_;
  float dbm0_ = k_tone_dbm0;
  float twist_db_ = 0.0F;
  bool on_ = false;
  std::size_t segment_ = 0;
  std::uint64_t left_ = 0;              // samples of the segment
  std::array<Oscillator, 3> oscillators_;
  std::size_t tuned_ = 0;               // segment that the oscillators play
  float envelope_ = 0.0F;
};

constexpr std::optional<Cadence> Cadence::parse(std::string_view text) noexcept {
  Cadence out;
  std::size_t at = 0;
  const auto number = [&](std::uint32_t most) -> std::optional<std::uint32_t> {
    std::uint32_t value = 0;
    const std::size_t begun = at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at) {
      value = value * 10 + static_cast<std::uint32_t>(text[at] - '0');
      if (value > most) return std::nullopt;
    }
    return at > begun ? std::optional{value} : std::nullopt;
  };
  const auto accept = [&](char wanted) {
    const bool found = at < text.size() && text[at] == wanted;
    at += found ? 1U : 0U;
    return found;
  };
  do {
    if (out.count == k_segments_max) return std::nullopt;
    Segment& segment = out.segments[out.count++];
    const auto first = number(20'000);
    if (!first) return std::nullopt;
    segment.first_hz = static_cast<std::uint16_t>(*first);
    segment.modulated = accept('*');
    if (segment.modulated || accept('+')) {
      const auto second = number(20'000);
      if (!second) return std::nullopt;
      segment.second_hz = static_cast<std::uint16_t>(*second);
    }
    if (accept('/')) {
      const auto ms = number(600'000);
      if (!ms || *ms == 0) return std::nullopt;
      segment.ms = *ms;
    }
  } while (accept(','));
  return at == text.size() ? std::optional{out} : std::nullopt;
}

}  // namespace sipfarm::audio
