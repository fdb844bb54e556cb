#pragma once

#include <cstdint>

namespace sipfarm::audio {

/// The 64-bit number nearest to `near` whose low bits are `sequence`.
constexpr std::int64_t extend(std::int64_t near, std::uint16_t sequence) noexcept {
  return near + static_cast<std::int16_t>(static_cast<std::uint16_t>(sequence - static_cast<std::uint16_t>(near)));
}

constexpr std::int64_t extend(std::int64_t near, std::uint32_t timestamp) noexcept {
  return near + static_cast<std::int32_t>(timestamp - static_cast<std::uint32_t>(near));
}

/// Sequence numbers of one source made 64 bits long, and whether another source or a leap is to be believed: it is when
/// its next packet follows in order (RFC 3550 §A.1 with MIN_SEQUENTIAL of 2).
class SequenceTracker {
 public:
  enum class Kind : std::uint8_t {
    known,    // of the running source, near its highest number
    restart,  // the first packet that is kept of a source, or of numbers that leapt
    stray,    // of another source, or far off: not to be played
  };
  struct Seen {
    Kind kind;
    std::int64_t sequence;
  };

  static constexpr int k_dropout_max = 3'000;  // RFC 3550 §A.1
  static constexpr int k_misorder_max = 100;

  constexpr Seen receive(std::uint32_t ssrc, std::uint16_t sequence) noexcept {
    if (!started_) return restart(ssrc, sequence);
    const std::int64_t extended = extend(highest_, sequence);
    const std::int64_t leap = extended - highest_;
    if (ssrc == ssrc_ && leap < k_dropout_max && leap >= -k_misorder_max) {
      if (leap > 0) highest_ = extended;
      doubtful_ = false;
      return {Kind::known, extended};
    }
    if (doubtful_ && ssrc == doubtful_ssrc_ && sequence == doubtful_next_) return restart(ssrc, sequence);
    doubtful_ = true;
    doubtful_ssrc_ = ssrc;
    doubtful_next_ = static_cast<std::uint16_t>(sequence + 1);
    return {Kind::stray, 0};
  }

  constexpr void reset() noexcept { *this = SequenceTracker{}; }

 private:
  constexpr Seen restart(std::uint32_t ssrc, std::uint16_t sequence) noexcept {
    started_ = true;
    doubtful_ = false;
    ssrc_ = ssrc;
    highest_ = 0x10000 + std::int64_t{sequence};  // what came just before it stays above zero
    return {Kind::restart, highest_};
  }

  bool started_ = false;
  bool doubtful_ = false;
  std::uint32_t ssrc_ = 0;
  std::uint32_t doubtful_ssrc_ = 0;
  std::uint16_t doubtful_next_ = 0;
  std::int64_t highest_ = 0;
};

}  // namespace sipfarm::audio
