#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace sipfarm::srtp {

/// The 48-bit index of a packet by its sequence number: the one nearest to the highest so far (RFC 3711 §3.3.1, appendix A).
/// Nothing comes before index 0, so up to half a turn into the first rollover the number is the index.
constexpr std::uint64_t estimate_index(std::uint64_t highest, std::uint16_t sequence) noexcept {
  constexpr std::uint64_t half = 0x8000;
  constexpr std::uint64_t turn = 0x1'0000;
  if (highest <= half) return sequence;
  const std::uint64_t last = highest % turn;
  const std::uint64_t index = highest - last + sequence;
  if (last < half) return sequence > last + half ? index - turn : index;
  return sequence + half < last ? index + turn : index;
}

/// Which of the latest indices have been seen (RFC 3711 §3.3.2), as a ring of bits in the way of RFC 6479.
template <std::size_t Words>
class ReplayWindow {
 public:
  static constexpr std::uint64_t k_size_max = 64 * (Words - 1);

  bool begun() const noexcept { return begun_; }
  std::uint64_t highest() const noexcept { return highest_; }

  /// May a packet of that index be taken, where the last `size` (at most k_size_max) are told apart?
  bool is_new(std::uint64_t index, std::uint64_t size) const noexcept {
    if (!begun_ || index > highest_) return true;
    if (highest_ - index >= size) return false;
    return (words_[word(index)] & bit(index)) == 0;
  }

  void note(std::uint64_t index) noexcept {
    if (!begun_ || index > highest_) {
      const std::uint64_t from = begun_ ? highest_ / 64 : index / 64;
      const std::uint64_t steps = std::min<std::uint64_t>(index / 64 - from, Words);
      for (std::uint64_t i = 1; i <= steps; ++i) words_[(from + i) % Words] = 0;
      highest_ = index;
      begun_ = true;
    }
    words_[word(index)] |= bit(index);
  }

 private:
  static constexpr std::size_t word(std::uint64_t index) noexcept { return index / 64 % Words; }
  static constexpr std::uint64_t bit(std::uint64_t index) noexcept { return std::uint64_t{1} << (index % 64); }

  std::uint64_t highest_ = 0;
  bool begun_ = false;
  std::array<std::uint64_t, Words> words_{};
};

}  // namespace sipfarm::srtp
