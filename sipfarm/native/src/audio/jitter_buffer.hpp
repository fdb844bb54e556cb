#pragma once

#include <cstdint>
#include <vector>

#include "audio/delay_estimate.hpp"
#include "audio/packet.hpp"
#include "audio/sequence.hpp"

namespace sipfarm::audio {

struct JitterConfig {
  std::uint32_t clock_rate_hz = 8'000;
  std::int64_t tick_us = 20'000;
  std::int64_t delay_min_us = 20'000;
  std::int64_t delay_initial_us = 40'000;
  std::int64_t delay_max_us = 200'000;
  std::size_t packets_max = 64;           // held at once; rounded up to a power of two
  std::size_t payload_bytes_max = codec::k_payload_bytes_max;
};

struct JitterStatistics {
  std::uint64_t received = 0;    // every packet that was pushed
  std::uint64_t played = 0;      // handed out as frames
  std::uint64_t lost = 0;        // passed over and never come
  std::uint64_t late = 0;        // come after they had been passed over
  std::uint64_t duplicates = 0;
  std::uint64_t discarded = 0;   // of a stray source, too large, or thrown away because more was held than delay_max
  std::uint64_t restarts = 0;    // a new source, or numbers that leapt
  std::uint64_t starved = 0;     // pops with nothing to play while speech was running
  std::uint64_t shortened = 0;   // frames that were to be played shorter, and longer
  std::uint64_t lengthened = 0;
  std::int64_t delay_us = 0;     // of what is played now against the fastest packet
  std::int64_t target_us = 0;
};

/// What is to be played next.
struct Popped {
  enum class Kind : std::uint8_t {
    frame,        // decode `payload`
    lost,         // conceal `duration`
    recoverable,  // the same; `payload` is of the packet after it, which may carry it (in-band FEC)
    nothing,      // silence or comfort noise for `duration`
  };
  enum class Pace : std::uint8_t { keep, shorten, lengthen };

  Kind kind = Kind::nothing;
  Pace pace = Pace::keep;          // what time stretching should do to this frame to bring the delay where it should be
  std::uint8_t payload_type = 0;
  std::uint32_t timestamp = 0;
  std::uint32_t duration = 0;      // in timestamp units; 0 with a frame: it takes no time, pop again
  ConstPayload payload;            // until the next push
};

/// Jitter buffer of a leg that is driven by ticks: packets come when they come, what to play is asked for when it is needed.
///
/// The delay follows the measured lateness of packets (DelayEstimate). It is set anew at once where speech begins after a
/// gap in timestamps (DTX); inside speech frames are marked to be played a little shorter or longer by time stretching, which
/// is also how a drifting clock is followed: nothing is added or dropped by the buffer itself, unless more than delay_max
/// is held. While nothing has come, what is played next waits: a late packet is played late rather than thrown away.
class JitterBuffer {
 public:
  explicit JitterBuffer(const JitterConfig& config);

  void push(const Packet& packet, std::int64_t arrival_us) noexcept;
  /// A packet of the same stream that is no audio (telephone-event): its number will not be missed.
  void skip(const Packet& packet) noexcept;

  /// To be called while less than a tick of audio is at hand; `held` is what is at hand, in timestamp units.
  Popped pop(std::int64_t now_us, std::uint32_t held = 0) noexcept;

  /// Another codec with another clock, or a new call: all that is held is forgotten, the statistics are kept.
  void reset(std::uint32_t clock_rate_hz) noexcept;
  void set_delay(std::int64_t min_us, std::int64_t max_us) noexcept;

  const JitterStatistics& statistics() const noexcept { return statistics_; }
  std::size_t size() const noexcept { return count_; }

 private:
  struct Slot {
    std::int64_t sequence = -1;   // what it holds or held last
    std::int64_t timestamp = 0;
    std::uint32_t duration = 0;
    std::uint16_t payload_bytes = 0;
    std::uint8_t payload_type = 0;
    bool present = false;
    bool audio = false;
    bool passed = false;  // counted as lost when it was passed over
  };

  static constexpr std::int64_t k_pace_every = 5;  // frames between two that are stretched
  static constexpr std::int64_t k_conceal_us = 80'000;  // of starvation before silence

  Slot& slot(std::int64_t sequence) noexcept { return slots_[static_cast<std::size_t>(sequence) & mask_]; }
  Slot* take(const Packet& packet) noexcept;
  void begin(std::int64_t sequence, std::uint32_t timestamp) noexcept;
  void make_room(std::int64_t sequence) noexcept;
  void forget() noexcept;
  void pass(std::int64_t until) noexcept;
  void drop_excess() noexcept;
  void cover_starved(std::int64_t timestamp) noexcept;
  bool is_due(std::int64_t timestamp, std::int64_t when_us) const noexcept;
  Slot& first_held() noexcept;
  void remove(Slot& held) noexcept;
  Popped play(Slot& head, std::int64_t when_us, std::int64_t wanted) noexcept;
  Popped conceal(const Slot& head) noexcept;
  Popped starve(std::int64_t wanted) noexcept;
  Popped::Pace pace(std::int64_t delay_us) noexcept;
  ConstPayload payload_of(const Slot& held) const noexcept;

  std::int64_t us_of(std::int64_t units) const noexcept { return units * 1'000'000 / clock_rate_hz_; }
  std::int64_t units_of(std::int64_t us) const noexcept { return us * clock_rate_hz_ / 1'000'000; }
  std::int64_t delay_at(std::int64_t timestamp, std::int64_t when_us) const noexcept {
    return when_us - us_of(timestamp) - estimate_.base_us();
  }
  std::int64_t target_us() const noexcept { return std::clamp(estimate_.needed_us(), delay_min_us_, delay_max_us_); }

  std::int64_t clock_rate_hz_;
  std::int64_t tick_us_;
  std::int64_t delay_min_us_;
  std::int64_t delay_max_us_;
  std::size_t mask_;
  std::size_t payload_bytes_max_;
  std::vector<Slot> slots_;
  std::vector<std::uint8_t> payloads_;
  DelayEstimate estimate_;
  SequenceTracker tracker_;
  JitterStatistics statistics_;

  bool started_ = false;        // packets came
  bool playing_ = false;        // one of them was played
  bool resting_ = true;         // the last that was played is no speech: silence is no starvation
  std::size_t count_ = 0;       // slots present
  std::int64_t next_ = 0;       // the number to be played
  std::int64_t newest_ = 0;     // the highest that came
  std::int64_t position_ = 0;   // the timestamp of the next sample
  std::int64_t held_ = 0;       // sum of the durations that are held
  std::int64_t latest_timestamp_ = 0;
  std::int64_t frame_ = 0;      // duration of the last frame
  std::int64_t starved_ = 0;    // played in place of what had not come
  std::int64_t since_pace_ = 0;
};

}  // namespace sipfarm::audio
