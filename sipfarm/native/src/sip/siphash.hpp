#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sipfarm::sip {

using SipKey = std::array<std::uint8_t, 16>;

/// SipHash-2-4 with a 64-bit result (Aumasson and Bernstein, 2012), fed piece by piece: how the input is cut makes no difference.
class SipHasher {
 public:
  explicit SipHasher(const SipKey& key) noexcept;

  SipHasher& add(std::string_view bytes) noexcept;
  /// The eight bytes of `value`, least significant first.
  SipHasher& add(std::uint64_t value) noexcept;
  /// The hash of all that was added so far; more may be added afterwards.
  std::uint64_t finish() const noexcept;

 private:
  void absorb(std::uint64_t word) noexcept;

  std::array<std::uint64_t, 4> v_;
  std::uint64_t tail_ = 0;       // bytes that do not fill a word yet
  std::size_t length_bytes_ = 0;
};

std::uint64_t siphash(const SipKey& key, std::string_view bytes) noexcept;

}  // namespace sipfarm::sip
