#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace sipfarm::sip {

/// Numbers under keys that are themselves hashes: open addressing with linear probing in one array, nothing allocated per entry.
/// The value 0 stands for "no entry" and is never stored.
class KeyMap {
 public:
  /// 0 where the key is not there.
  std::uint64_t find(std::uint64_t key) const noexcept {
    if (size_ == 0) return 0;
    for (std::size_t i = home_of(key);; i = next(i)) {
      if (slots_[i].value == 0) return 0;
      if (slots_[i].key == key) return slots_[i].value;
    }
  }

  void put(std::uint64_t key, std::uint64_t value) {
    if (2 * (size_ + 1) > slots_.size()) grow();
    std::size_t i = home_of(key);
    while (slots_[i].value != 0 && slots_[i].key != key) i = next(i);
    if (slots_[i].value == 0) ++size_;
    slots_[i] = {key, value};
  }

  /// False where the key is not there.
  bool erase(std::uint64_t key) noexcept {
    if (size_ == 0) return false;
    std::size_t hole = home_of(key);
    while (slots_[hole].key != key || slots_[hole].value == 0) {
      if (slots_[hole].value == 0) return false;
      hole = next(hole);
    }
    // What was pushed past the hole moves back into it, so that no search ends there too early.
    for (std::size_t i = next(hole); slots_[i].value != 0; i = next(i)) {
      const std::size_t from_home = (i - home_of(slots_[i].key)) & mask();
      const std::size_t from_hole = (i - hole) & mask();
      if (from_home < from_hole) continue;
      slots_[hole] = slots_[i];
      hole = i;
    }
    slots_[hole] = {};
    --size_;
    return true;
  }

  std::size_t size() const noexcept { return size_; }

 private:
  struct Slot {
    std::uint64_t key = 0;
    std::uint64_t value = 0;
  };
  static constexpr std::size_t slots_min = 1'024;

  std::size_t mask() const noexcept { return slots_.size() - 1; }
  std::size_t home_of(std::uint64_t key) const noexcept { return static_cast<std::size_t>(key) & mask(); }
  std::size_t next(std::size_t i) const noexcept { return (i + 1) & mask(); }
  void grow() {
    std::vector<Slot> before = std::exchange(slots_, std::vector<Slot>(slots_.empty() ? slots_min : 2 * slots_.size()));
    size_ = 0;
    for (const Slot& slot : before) {
      if (slot.value != 0) put(slot.key, slot.value);
    }
  }

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
};

}  // namespace sipfarm::sip
