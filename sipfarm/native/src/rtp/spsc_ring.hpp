#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <vector>

namespace sipfarm::rtp {

/// A bounded queue between exactly one pushing and one popping thread. Allocates when built, never after.
template <typename T>
class SpscRing {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  /// Holds at least `capacity` values.
  explicit SpscRing(std::size_t capacity) : slots_(std::bit_ceil(capacity)), mask_{slots_.size() - 1} {}

  bool push(const T& value) noexcept {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_seen_ == slots_.size()) {
      head_seen_ = head_.load(std::memory_order_acquire);
      if (tail - head_seen_ == slots_.size()) return false;
    }
    slots_[tail & mask_] = value;
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

  std::optional<T> pop() noexcept {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_seen_) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      if (head == tail_seen_) return std::nullopt;
    }
    const T value = slots_[head & mask_];
    head_.store(head + 1, std::memory_order_release);
    return value;
  }

 private:
  std::vector<T> slots_;
  std::size_t mask_;
  alignas(64) std::atomic<std::size_t> tail_{0};
  std::size_t head_seen_ = 0;  // the pusher's
  alignas(64) std::atomic<std::size_t> head_{0};
  std::size_t tail_seen_ = 0;  // the popper's
};

}  // namespace sipfarm::rtp
