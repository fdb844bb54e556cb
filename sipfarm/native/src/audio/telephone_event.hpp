#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "audio/packet.hpp"
#include "audio/timeline.hpp"

namespace sipfarm::audio {

/// The events of RFC 4733 §3.2 that are digits: 0..9, *, #, A..D.
inline constexpr std::uint8_t k_digit_events = 16;
inline constexpr std::uint8_t k_flash_event = 16;

/// '\0' for what is no digit.
constexpr char digit_of(std::uint8_t event) noexcept { return event < k_digit_events ? "0123456789*#ABCD"[event] : '\0'; }
constexpr std::optional<std::uint8_t> event_of(char digit) noexcept {
  const char upper = digit >= 'a' && digit <= 'd' ? static_cast<char>(digit - 'a' + 'A') : digit;
  for (std::uint8_t event = 0; event < k_digit_events; ++event) {
    if (digit_of(event) == upper) return event;
  }
  return std::nullopt;
}

/// What one packet of a telephone-event stream says (RFC 4733 §2.3).
struct EventReport {
  static constexpr std::size_t k_bytes = 4;

  std::uint8_t event = 0;
  bool end = false;
  std::uint8_t volume = 10;    // -dBm0, 0..63
  std::uint16_t duration = 0;  // in timestamp units, of this segment

  static std::optional<EventReport> parse(ConstPayload payload) noexcept;
  std::array<std::uint8_t, k_bytes> bytes() const noexcept;
};

struct TelephoneEvent {
  enum class Kind : std::uint8_t { began, ended };
  Kind kind = Kind::began;
  std::uint8_t event = 0;
  std::uint8_t volume = 0;
  std::uint32_t duration = 0;  // in timestamp units, over all segments
};

/// At most an event that ends for another, and that one's beginning and end.
class TelephoneEvents {
 public:
  void add(const TelephoneEvent& event) noexcept { events_[count_++] = event; }
  const TelephoneEvent* begin() const noexcept { return events_.data(); }
  const TelephoneEvent* end() const noexcept { return events_.data() + count_; }
  std::size_t size() const noexcept { return count_; }

 private:
  std::array<TelephoneEvent, 3> events_;
  std::size_t count_ = 0;
};

/// Telephone events of one source (RFC 4733 §2.5.2): each begins once and ends once, however many of its packets are lost,
/// come twice or in another order.
class EventReceiver {
 public:
  static constexpr std::int64_t k_quiet_us = 150'000;  // without a packet an event is over: three of the longest usual interval
  static constexpr std::int64_t k_memory_us = 2'000'000;  // of one that is over; a source may begin its timestamps anew

  TelephoneEvents receive(const EventReport& report, std::uint32_t timestamp, std::int64_t now_us) noexcept;
  /// Ends an event whose end packets were lost.
  TelephoneEvents expire(std::int64_t now_us) noexcept;
  std::optional<std::int64_t> deadline_us() const noexcept;
  /// Another source.
  void reset() noexcept { *this = EventReceiver{}; }

 private:
  TelephoneEvent end_event() noexcept;

  bool known_ = false;         // there was an event
  bool running_ = false;
  std::uint8_t event_ = 0;
  std::uint8_t volume_ = 0;
  std::uint32_t timestamp_ = 0;        // of the segment
  std::uint32_t duration_ = 0;         // of the segment
  std::uint32_t before_ = 0;           // of the segments before
  std::int64_t last_us_ = 0;
};

/// Sends telephone events one after the other (RFC 4733 §2.5.1): a packet at once and at every tick, three at the end.
class EventSender {
 public:
  static constexpr std::size_t k_queue_max = 64;
  static constexpr int k_ends = 3;

  struct Sent {
    std::array<std::uint8_t, EventReport::k_bytes> payload;
    Stamp stamp;
  };

  explicit EventSender(std::uint32_t clock_rate_hz) noexcept : clock_rate_hz_{clock_rate_hz} {}

  /// False if k_queue_max wait already. `gap_ms` is what follows it.
  bool put(std::uint8_t event, std::uint32_t duration_ms, std::uint32_t gap_ms, std::uint8_t volume = 10) noexcept;
  /// What is to be sent in a tick of so many timestamp units; time of `timeline` moves on by it. Nothing: no event is
  /// running, and audio may be sent; unless `busy`, which in a gap asks for silence.
  std::optional<Sent> tick(Timeline& timeline, std::uint32_t units) noexcept;
  bool busy() const noexcept { return count_ > 0 || running_ || gap_ > 0; }
  /// The running event ends now, those that wait are forgotten.
  void stop() noexcept;

 private:
  struct Waiting {
    std::uint8_t event;
    std::uint8_t volume;
    std::uint32_t duration;
    std::uint32_t gap;
  };

  std::uint32_t units_of(std::uint32_t ms) const noexcept {
    return static_cast<std::uint32_t>(std::uint64_t{ms} * clock_rate_hz_ / 1'000);
  }
  void begin(std::uint32_t timestamp) noexcept;
  EventReport report(std::uint32_t units) noexcept;

  std::uint32_t clock_rate_hz_;
  std::array<Waiting, k_queue_max> queue_{};
  std::size_t head_ = 0;
  std::size_t count_ = 0;

  bool running_ = false;
  bool marker_ = false;
  int ends_ = 0;                   // sent of them
  Waiting now_{};
  std::uint32_t segment_ = 0;      // timestamp of the segment
  std::uint64_t elapsed_ = 0;      // of the event
  std::uint64_t segments_ = 0;     // of it in segments before
  std::uint32_t gap_ = 0;
};

}  // namespace sipfarm::audio
