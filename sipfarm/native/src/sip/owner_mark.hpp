#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sip/siphash.hpp"

namespace sipfarm::sip {

/// Where a mark stands; a mark minted for one place is foreign in another.
enum class MarkKind : std::uint8_t { branch, tag, record_route, contact, path };

/// Who owns an id: member number (14 bits), the member's incarnation (21 bits) and the owner's own handle (40 bits).
struct OwnerMark {
  static constexpr std::uint16_t member_max = (1U << 14) - 1;
  static constexpr std::uint32_t epoch_max = (1U << 21) - 1;
  static constexpr std::uint64_t handle_max = (std::uint64_t{1} << 40) - 1;

  std::uint16_t member = 0;
  std::uint32_t epoch = 0;
  std::uint64_t handle = 0;

  constexpr bool in_range() const noexcept { return member <= member_max && epoch <= epoch_max && handle <= handle_max; }
  friend bool operator==(const OwnerMark&, const OwnerMark&) = default;
};

/// A key derived from a farm secret, and the number (0..3) by which marks name it.
struct MarkKey {
  std::uint8_t id = 0;
  SipKey key{};
};

inline constexpr std::size_t mark_chars = 24;

/// Mints marks with the current key and opens marks made with the current or the previous one.
///
/// A mark is 120 bits in 24 characters of base32 (RFC 4648 §6), written in lower case and read in any:
/// version 3, key id 2, member 14, epoch 21, handle 40, MAC 40. The MAC covers the kind, the 80 bits before it and
/// a context: the Call-ID for a Record-Route, the AOR for a Path, the flow for a flow mark.
class MarkKeys {
 public:
  /// An id only says which key to try: two secrets may have keys of the same id.
  explicit MarkKeys(const MarkKey& current, const std::optional<MarkKey>& previous = std::nullopt) noexcept;

  /// `mark` must be in range; bits beyond a field's width are cut off.
  std::array<char, mark_chars> mint(MarkKind kind, const OwnerMark& mark, std::string_view context) const noexcept;
  void append(std::string& out, MarkKind kind, const OwnerMark& mark, std::string_view context) const;

  /// What a mark says, proven by nobody.
  static std::optional<OwnerMark> read(std::string_view text) noexcept;
  /// Nothing when `text` is not 24 characters of base32, its version or key is unknown, or its MAC is wrong for this
  /// kind and context.
  std::optional<OwnerMark> open(MarkKind kind, std::string_view text, std::string_view context) const noexcept;

 private:
  MarkKey current_;
  std::optional<MarkKey> previous_;
};

}  // namespace sipfarm::sip
