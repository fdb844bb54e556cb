#include "sip/timer_wheel.hpp"

#include <algorithm>
#include <bit>

namespace sipfarm::sip {
namespace {

constexpr std::uint32_t index_of(TimerId id) noexcept { return static_cast<std::uint32_t>(id); }
constexpr std::uint32_t generation_of(TimerId id) noexcept {
  return static_cast<std::uint32_t>(static_cast<std::uint64_t>(id) >> 32);
}

/// A slot's first tick: the wheel's time with the digit at `shift` replaced and the lower ones zero.
std::int64_t first_tick(std::int64_t now_ms, unsigned shift, unsigned slot_bits, unsigned slot) noexcept {
  const unsigned above = shift + slot_bits;
  const std::uint64_t higher = above >= 64 ? 0 : static_cast<std::uint64_t>(now_ms) >> above << above;
  return static_cast<std::int64_t>(higher | std::uint64_t{slot} << shift);
}

}  // namespace

TimerWheel::TimerWheel(std::int64_t now_ms, std::uint32_t timers_max, std::uint32_t timers_reserved)
    : timers_max_{std::min(timers_max, nil)}, now_ms_{std::max<std::int64_t>(now_ms, 0)} {
  nodes_.reserve(std::min(timers_reserved, timers_max_));
}

TimerId TimerWheel::schedule(std::int64_t deadline_ms, std::uint64_t payload) {
  if (size_ >= timers_max_) return TimerId::none;
  if (free_ == nil) {
    nodes_.emplace_back();
    free_ = static_cast<std::uint32_t>(nodes_.size() - 1);
  }
  const std::uint32_t index = free_;
  Node& node = nodes_[index];
  free_ = node.next;
  node.deadline_ms = std::max(deadline_ms, now_ms_);
  node.payload = payload;
  place(index);
  ++size_;
  return static_cast<TimerId>(std::uint64_t{node.generation} << 32 | index);
}

bool TimerWheel::cancel(TimerId id) noexcept {
  const std::uint32_t index = index_of(id);
  if (index >= nodes_.size()) return false;
  const Node& node = nodes_[index];
  if (node.list == no_list || node.generation != generation_of(id)) return false;
  unlink(index);
  release(index);
  return true;
}

std::optional<std::int64_t> TimerWheel::next_deadline_ms() const noexcept {
  if (lists_[due_list].head != nil) return now_ms_;
  if (occupied_levels_ == 0) return std::nullopt;
  const auto level = static_cast<unsigned>(std::countr_zero(occupied_levels_));
  const auto slot = static_cast<unsigned>(std::countr_zero(occupied_[level]));
  return lists_[level * slots + slot].earliest_ms;
}

void TimerWheel::expire(std::int64_t now_ms, std::vector<ExpiredTimer>& out) {
  expire(now_ms, [&out](const ExpiredTimer& expired) { out.push_back(expired); });
}

/// Turns the wheel to `now_ms`. While the earliest slot in use has begun by then, its timers go to the due list (level 0) or to the
/// levels below. It must be emptied even if none of its timers is due yet: else a later timer could come to stand below it.
void TimerWheel::advance(std::int64_t now_ms) noexcept {
  const std::int64_t target_ms = std::max(now_ms, now_ms_);
  while (occupied_levels_ != 0) {
    const auto level = static_cast<unsigned>(std::countr_zero(occupied_levels_));
    const auto slot = static_cast<unsigned>(std::countr_zero(occupied_[level]));
    const auto list = static_cast<std::uint16_t>(level * slots + slot);
    const std::int64_t first_tick_ms = first_tick(now_ms_, level * digit_bits, digit_bits, slot);
    if (first_tick_ms > target_ms) break;
    now_ms_ = std::max(now_ms_, first_tick_ms);
    while (lists_[list].head != nil) {
      const std::uint32_t index = lists_[list].head;
      unlink(index);
      if (level == 0) {
        link(index, due_list);
      } else {
        place(index);
      }
    }
  }
  now_ms_ = target_ms;
}

std::optional<ExpiredTimer> TimerWheel::take_due() noexcept {
  const std::uint32_t index = lists_[due_list].head;
  if (index == nil) return std::nullopt;
  const ExpiredTimer expired{nodes_[index].payload, nodes_[index].deadline_ms};
  unlink(index);
  release(index);
  return expired;
}

void TimerWheel::place(std::uint32_t index) noexcept {
  const auto deadline = static_cast<std::uint64_t>(nodes_[index].deadline_ms);
  const std::uint64_t difference = deadline ^ static_cast<std::uint64_t>(now_ms_);
  const unsigned level = (static_cast<unsigned>(std::bit_width(difference | 1)) - 1) / digit_bits;
  const auto slot = static_cast<unsigned>(deadline >> (level * digit_bits)) & (slots - 1);
  occupied_[level] |= std::uint64_t{1} << slot;
  occupied_levels_ |= 1U << level;
  link(index, static_cast<std::uint16_t>(level * slots + slot));
}

void TimerWheel::link(std::uint32_t index, std::uint16_t list) noexcept {
  Node& node = nodes_[index];
  List& into = lists_[list];
  node.list = list;
  node.next = nil;
  node.previous = into.tail;
  (into.tail == nil ? into.head : nodes_[into.tail].next) = index;
  into.tail = index;
  into.earliest_ms = std::min(into.earliest_ms, node.deadline_ms);
}

void TimerWheel::unlink(std::uint32_t index) noexcept {
  const Node& node = nodes_[index];
  List& from = lists_[node.list];
  (node.previous == nil ? from.head : nodes_[node.previous].next) = node.next;
  (node.next == nil ? from.tail : nodes_[node.next].previous) = node.previous;
  if (from.head != nil) return;
  from.earliest_ms = INT64_MAX;
  if (node.list == due_list) return;
  const unsigned level = node.list / slots;
  occupied_[level] &= ~(std::uint64_t{1} << (node.list % slots));
  if (occupied_[level] == 0) occupied_levels_ &= ~(1U << level);
}

void TimerWheel::release(std::uint32_t index) noexcept {
  Node& node = nodes_[index];
  node.list = no_list;
  node.next = free_;
  if (++node.generation == 0) node.generation = 1;  // TimerId::none stays nobody's
  free_ = index;
  --size_;
}

}  // namespace sipfarm::sip
