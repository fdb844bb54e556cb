#pragma once

#include <cstdint>

namespace sipfarm::audio {

/// The numbers of an RTP packet that we send (RFC 3550 §5.1).
struct Stamp {
  std::uint32_t ssrc = 0;
  std::uint16_t sequence = 0;
  std::uint32_t timestamp = 0;
  bool marker = false;  // a talk spurt begins (RFC 3551 §4.1)
};

/// When a packet that came was taken.
struct SourceTime {
  std::uint32_t ssrc = 0;
  std::uint32_t timestamp = 0;
  std::uint32_t duration = 0;
  std::uint32_t clock_rate_hz = 8'000;
};

/// The numbers of one stream that we send, whatever it is made from: one SSRC, sequence numbers without a hole, timestamps
/// that go on through changes of source, codec and packet time.
class Timeline {
 public:
  Timeline(std::uint32_t ssrc, std::uint16_t sequence, std::uint32_t timestamp, std::uint32_t clock_rate_hz) noexcept
      : ssrc_{ssrc}, sequence_{sequence}, timestamp_{timestamp}, clock_rate_hz_{clock_rate_hz} {}

  /// A packet of media; time moves on by what it holds.
  Stamp send(std::uint32_t duration) noexcept;
  /// Time in which nothing is sent; what is sent next is marked.
  void skip(std::uint32_t duration) noexcept;
  /// Packets that never came and are not made up: their numbers stay free, so that the far end misses them as well.
  void leave_out(std::uint32_t packets) noexcept { sequence_ = static_cast<std::uint16_t>(sequence_ + packets); }
  /// A packet of an event that began at `timestamp` (RFC 4733 §2.2): time stays, `skip` moves it.
  Stamp send_event(std::uint32_t timestamp, bool marker) noexcept;

  /// A packet came that is to be sent on: the time that is missing between the one before and it, in our units. The caller
  /// conceals it or skips it. From one source this is the gap in its timestamps, so far as time has passed as well; when the
  /// source changes, or its timestamps leap, it is the time that has passed.
  std::uint32_t follow(const SourceTime& source, std::int64_t now_us) noexcept;

  /// Another codec: timestamps go on from where they are (RFC 7160 §4.1 advises another SSRC only to those who can).
  void set_clock_rate(std::uint32_t clock_rate_hz) noexcept {
    clock_rate_hz_ = clock_rate_hz;
    marker_ = true;
  }

  std::uint32_t ssrc() const noexcept { return ssrc_; }
  std::uint32_t clock_rate_hz() const noexcept { return clock_rate_hz_; }
  /// Of what is sent next.
  std::uint32_t timestamp() const noexcept { return timestamp_; }

 private:
  static constexpr std::int64_t k_early_us_max = 500'000;  // by which timestamps may run ahead of time
  static constexpr std::int64_t k_gap_us_max = 600'000'000;

  std::uint32_t ssrc_;
  std::uint16_t sequence_;
  std::uint32_t timestamp_;
  std::uint32_t clock_rate_hz_;
  bool marker_ = true;

  bool following_ = false;
  SourceTime source_;           // the last packet
  std::int64_t source_us_ = 0;  // and when it came
};

}  // namespace sipfarm::audio
