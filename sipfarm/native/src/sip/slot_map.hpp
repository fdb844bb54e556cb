#pragma once

#include <cstdint>
#include <deque>
#include <vector>

namespace sipfarm::sip {

/// Objects under 40-bit handles (24 bits of slot, 16 of generation), so that a stale handle finds nothing.
/// Slots are reused, and T::clear() keeps their buffers. Handle 0 is never given.
template <typename T>
class SlotMap {
 public:
  explicit SlotMap(std::size_t limit) : limit_{limit < slots_max ? limit : slots_max} {}

  /// The new object and its handle, or nullptr at the limit.
  T* insert(std::uint64_t& handle) {
    std::uint32_t index = 0;
    if (!free_.empty()) {
      index = free_.back();
      free_.pop_back();
    } else {
      if (slots_.size() >= limit_) return nullptr;
      index = static_cast<std::uint32_t>(slots_.size());
      slots_.emplace_back();
    }
    Slot& slot = slots_[index];
    slot.used = true;
    ++size_;
    handle = handle_of(index, slot.generation);
    return &slot.value;
  }

  T* find(std::uint64_t handle) noexcept {
    const auto index = static_cast<std::uint32_t>(handle & 0xff'ffff);
    if (index >= slots_.size()) return nullptr;
    Slot& slot = slots_[index];
    return slot.used && handle_of(index, slot.generation) == handle ? &slot.value : nullptr;
  }

  void erase(std::uint64_t handle) {
    T* value = find(handle);
    if (value == nullptr) return;
    const auto index = static_cast<std::uint32_t>(handle & 0xff'ffff);
    Slot& slot = slots_[index];
    slot.used = false;
    slot.generation = static_cast<std::uint16_t>(slot.generation == 0xffff ? 1 : slot.generation + 1);
    slot.value.clear();
    free_.push_back(index);
    --size_;
  }

  template <typename Visit>
  void each(Visit visit) {
    for (std::uint32_t index = 0; index < slots_.size(); ++index) {
      if (slots_[index].used) visit(handle_of(index, slots_[index].generation), slots_[index].value);
    }
  }

  /// Up to `limit` in the order of their places, from behind the one that `after` names (0: from the first). It need not be there any more.
  template <typename Visit>
  void page(std::uint64_t after, std::size_t limit, Visit visit) {
    std::size_t index = after == 0 ? 0 : (after & 0xff'ffff) + 1;
    for (; limit > 0 && index < slots_.size(); ++index) {
      if (!slots_[index].used) continue;
      visit(handle_of(static_cast<std::uint32_t>(index), slots_[index].generation), slots_[index].value);
      --limit;
    }
  }

  std::size_t size() const noexcept { return size_; }
  std::size_t limit() const noexcept { return limit_; }

 private:
  static constexpr std::size_t slots_max = 1U << 24;
  struct Slot {
    T value{};
    std::uint16_t generation = 1;
    bool used = false;
  };
  static std::uint64_t handle_of(std::uint32_t index, std::uint16_t generation) noexcept {
    return (std::uint64_t{generation} << 24) | index;
  }

  std::size_t limit_;
  std::size_t size_ = 0;
  std::deque<Slot> slots_;
  std::vector<std::uint32_t> free_;
};

}  // namespace sipfarm::sip
