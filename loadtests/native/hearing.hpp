#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "code_reader.hpp"
#include "voice.hpp"

namespace sipfarm::loadtests {

/// A number that was read, and when.
struct CodeTally {
  std::uint16_t number = 0;
  std::uint32_t words = 0;
  std::int64_t first_ms = 0;
  std::int64_t last_ms = 0;
  double power_sum = 0;
};

struct Gap {
  std::int64_t start_ms = 0;
  std::int64_t length_ms = 0;
};

/// The codes that were read, the first sixteen numbers of them.
class Tallies {
 public:
  static constexpr std::size_t k_most = 16;

  void add(const WordHeard& word, std::int64_t at_ms) noexcept {
    CodeTally* found = std::find_if(codes_.begin(), codes_.begin() + count_, [&](const CodeTally& code) { return code.number == word.number; });
    if (found == codes_.begin() + count_) {
      if (count_ == k_most) {
        ++more_;
        return;
      }
      *found = {word.number, 0, at_ms, at_ms, 0};
      ++count_;
    }
    ++found->words;
    found->last_ms = at_ms;
    found->power_sum += static_cast<double>(word.power);
  }

  std::span<const CodeTally> codes() const noexcept { return {codes_.data(), count_}; }
  std::uint32_t more() const noexcept { return more_; }

 private:
  std::array<CodeTally, k_most> codes_{};
  std::size_t count_ = 0;
  std::uint32_t more_ = 0;  // words of numbers that found no place
};

/// What one end of a call hears. Packets go in as they come; times are of the call, in ms.
class Hearing {
 public:
  static constexpr std::size_t k_gaps = 32;

  struct Counters {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;       // RTP headers and payloads
    std::uint64_t lost = 0;        // as sequence numbers tell
    std::uint64_t out_of_order = 0;
    std::uint64_t malformed = 0;   // neither RTP nor RTCP, or not a payload of the codec
    std::uint64_t other = 0;       // RTCP, other payload types
    std::uint64_t sources = 0;     // SSRCs, and jumps of one
    std::uint64_t sounding_frames = 0;
    std::uint64_t silent_frames = 0;
    std::uint64_t gaps = 0;        // of which the first k_gaps are kept
    double power_sum = 0;          // of sounding frames
    std::int64_t first_ms = -1;    // sound
    std::int64_t last_ms = -1;
    std::int64_t late_ms = 0;      // of the most belated packet, against the first
  };

  Hearing(const Spectrum& spectrum, Ear ear) : spectrum_{&spectrum}, ear_{std::move(ear)} {}

  void receive(std::span<const std::uint8_t> packet, std::int64_t at_ms) noexcept {
    if (packet.size() >= 8 && packet[0] >> 6U == 2 && packet[1] >= 192 && packet[1] <= 223) {
      ++counters_.other;
      return;
    }
    if (packet.size() < k_header_bytes || packet[0] != 0x80) {  // ours have neither CSRCs nor extensions
      ++counters_.malformed;
      return;
    }
    if ((packet[1] & 0x7fU) != ear_.payload_type()) {
      ++counters_.other;
      return;
    }
    ++counters_.packets;
    counters_.bytes += packet.size();
    const auto sequence = static_cast<std::uint16_t>(packet[2] << 8U | packet[3]);
    const std::uint32_t timestamp = read32(packet, 4);
    const std::uint32_t ssrc = read32(packet, 8);
    const auto ahead = static_cast<std::uint16_t>(sequence - next_sequence_);
    if (counters_.sources == 0 || ssrc != ssrc_ || (ahead >= k_jump && ahead < k_behind)) {
      begin_source(ssrc, timestamp, at_ms);
    } else if (ahead >= k_behind) {
      ++counters_.out_of_order;
      return;
    } else {
      counters_.lost += ahead;
      fill(static_cast<std::uint32_t>(timestamp - next_timestamp_), at_ms);
    }
    next_sequence_ = static_cast<std::uint16_t>(sequence + 1);
    play(packet.subspan(k_header_bytes), timestamp, at_ms);
  }

  const Counters& counters() const noexcept { return counters_; }
  const Tallies& tallies() const noexcept { return tallies_; }
  std::span<const Gap> gaps() const noexcept { return {gaps_.data(), std::min<std::size_t>(counters_.gaps, k_gaps)}; }

 private:
  static constexpr std::size_t k_header_bytes = 12;
  static constexpr std::uint16_t k_jump = 3'000;   // a minute of packets: another source (RFC 3550 appendix A.1)
  static constexpr std::uint16_t k_behind = 0xff00;
  static constexpr std::size_t k_filled_frames_max = 3'000;
  static constexpr float k_silent = 1e-5F;         // -50 dBFS
  static constexpr std::size_t k_gap_frames = 2;
  static constexpr std::int64_t k_word_ms = k_word_frames * k_frame_ms;

  static std::uint32_t read32(std::span<const std::uint8_t> bytes, std::size_t at) noexcept {
    return std::uint32_t{bytes[at]} << 24U | std::uint32_t{bytes[at + 1]} << 16U | std::uint32_t{bytes[at + 2]} << 8U | bytes[at + 3];
  }

  void begin_source(std::uint32_t ssrc, std::uint32_t timestamp, std::int64_t at_ms) noexcept {
    ++counters_.sources;
    ssrc_ = ssrc;
    first_timestamp_ = timestamp;
    first_at_ms_ = at_ms;
    pending_ = 0;
    if (last_packet_ms_ >= 0) silent_run_ += static_cast<std::size_t>(std::max<std::int64_t>(0, at_ms - last_packet_ms_)) / k_frame_ms;
  }

  /// Silence where packets or time stamps are missing.
  void fill(std::uint32_t missing, std::int64_t at_ms) noexcept {
    if (missing == 0 || missing > 0x8000'0000U) return;
    const std::size_t frames = missing / ear_.frame_ticks();
    for (std::size_t i = 0; i < std::min(frames, k_filled_frames_max); ++i) hear(Frame{}, at_ms);
  }

  void play(std::span<const std::uint8_t> payload, std::uint32_t timestamp, std::int64_t at_ms) noexcept {
    const std::size_t samples = ear_.decode(payload, std::span{pcm_}.subspan(pending_));
    if (samples == 0) {
      ++counters_.malformed;
      return;
    }
    const std::size_t frame = spectrum_->frame_samples();
    next_timestamp_ = timestamp + static_cast<std::uint32_t>(samples * ear_.frame_ticks() / frame);
    last_packet_ms_ = at_ms;
    const std::int64_t media_ms = std::int64_t{timestamp - first_timestamp_} * static_cast<std::int64_t>(k_frame_ms) / ear_.frame_ticks();
    counters_.late_ms = std::max(counters_.late_ms, at_ms - first_at_ms_ - media_ms);
    pending_ += samples;
    std::size_t done = 0;
    for (; pending_ - done >= frame; done += frame) hear(spectrum_->analyse(std::span{pcm_}.subspan(done, frame)), at_ms);
    std::copy(pcm_.begin() + static_cast<std::ptrdiff_t>(done), pcm_.begin() + static_cast<std::ptrdiff_t>(pending_), pcm_.begin());
    pending_ -= done;
  }

  void hear(const Frame& frame, std::int64_t at_ms) noexcept {
    const CodeReader::Words words = reader_.push(frame);
    const std::int64_t word_began_ms = std::max<std::int64_t>(0, at_ms - k_word_ms);
    if (words.loudest) tallies_.add(*words.loudest, word_began_ms);
    if (words.beside) tallies_.add(*words.beside, word_began_ms);
    if (frame.power < k_silent) {
      ++counters_.silent_frames;
      ++silent_run_;
      return;
    }
    if (counters_.first_ms < 0) counters_.first_ms = at_ms;
    else if (silent_run_ >= k_gap_frames) note_gap(at_ms);
    silent_run_ = 0;
    ++counters_.sounding_frames;
    counters_.power_sum += static_cast<double>(frame.power);
    counters_.last_ms = at_ms;
  }

  void note_gap(std::int64_t end_ms) noexcept {
    const auto length = static_cast<std::int64_t>(silent_run_ * k_frame_ms);
    if (counters_.gaps < k_gaps) gaps_[counters_.gaps] = {std::max(counters_.last_ms, end_ms - length), length};
    ++counters_.gaps;
  }

  const Spectrum* spectrum_;
  Ear ear_;
  CodeReader reader_;
  Counters counters_;
  Tallies tallies_;
  std::array<Gap, k_gaps> gaps_{};
  std::array<std::int16_t, 2 * Ear::k_samples_max> pcm_{};
  std::size_t pending_ = 0;
  std::size_t silent_run_ = 0;
  std::uint16_t next_sequence_ = 0;
  std::uint32_t next_timestamp_ = 0;
  std::uint32_t first_timestamp_ = 0;
  std::uint32_t ssrc_ = 0;
  std::int64_t first_at_ms_ = 0;
  std::int64_t last_packet_ms_ = -1;
};

}  // namespace sipfarm::loadtests
