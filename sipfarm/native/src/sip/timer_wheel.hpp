#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace sipfarm::sip {

/// Names one scheduled timer; once it has fired or was cancelled the name is stale and harmless.
enum class TimerId : std::uint64_t { none = 0 };

struct ExpiredTimer {
  std::uint64_t payload = 0;
  std::int64_t deadline_ms = 0;
};

/// A hierarchical timing wheel of 1 ms ticks: 64 slots a level, as many levels as a deadline has digits in base 64, so that
/// no deadline needs a special case (Varghese and Lauck, 1987). A timer stands on the level of the highest digit in which its
/// deadline differs from the wheel's time; all on a lower level are due before all on a higher one.
class TimerWheel {
 public:
  /// Holds `timers_max` timers at most; memory grows with the most that were scheduled at once and is kept.
  explicit TimerWheel(std::int64_t now_ms = 0, std::uint32_t timers_max = 1U << 22, std::uint32_t timers_reserved = 1024);

  /// A deadline in the past counts as the wheel's time. TimerId::none when the wheel is full.
  TimerId schedule(std::int64_t deadline_ms, std::uint64_t payload);
  /// False when the timer has fired, was cancelled, or never was.
  bool cancel(TimerId id) noexcept;
  /// Nothing when the wheel is empty; else never later than the next deadline (earlier only after a cancel).
  std::optional<std::int64_t> next_deadline_ms() const noexcept;

  /// Calls `fire(const ExpiredTimer&)` for each timer due at `now_ms`, in order of deadline, then of scheduling. `fire` may
  /// schedule and cancel, due timers too; what it schedules waits for the next call, however early its deadline.
  template <class Fire>
  void expire(std::int64_t now_ms, Fire&& fire) {
    advance(now_ms);
    while (const auto expired = take_due()) fire(*expired);
  }
  /// The same into a vector, which is appended to.
  void expire(std::int64_t now_ms, std::vector<ExpiredTimer>& out);

  std::int64_t now_ms() const noexcept { return now_ms_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }

 private:
  static constexpr unsigned digit_bits = 6;
  static constexpr unsigned slots = 1U << digit_bits;
  static constexpr unsigned levels = (63 + digit_bits - 1) / digit_bits;
  static constexpr std::uint32_t nil = UINT32_MAX;
  static constexpr std::uint16_t due_list = levels * slots;  // after the slots: what is due and not taken yet
  static constexpr std::uint16_t no_list = due_list + 1;

  struct Node {
    std::int64_t deadline_ms = 0;
    std::uint64_t payload = 0;
    std::uint32_t previous = nil;
    std::uint32_t next = nil;  // also the free list
    std::uint32_t generation = 1;
    std::uint16_t list = no_list;
  };
  struct List {
    std::uint32_t head = nil;
    std::uint32_t tail = nil;
    std::int64_t earliest_ms = INT64_MAX;  // of all put in since the list was last empty
  };

  void advance(std::int64_t now_ms) noexcept;
  std::optional<ExpiredTimer> take_due() noexcept;
  void place(std::uint32_t index) noexcept;
  void link(std::uint32_t index, std::uint16_t list) noexcept;
  void unlink(std::uint32_t index) noexcept;
  void release(std::uint32_t index) noexcept;

  std::vector<Node> nodes_;
  std::array<List, due_list + 1> lists_{};
  std::array<std::uint64_t, levels> occupied_{};  // a bit for each slot in use
  std::uint32_t occupied_levels_ = 0;             // a bit for each level in use
  std::uint32_t free_ = nil;
  std::uint32_t timers_max_;
  std::size_t size_ = 0;
  std::int64_t now_ms_;
};

}  // namespace sipfarm::sip
