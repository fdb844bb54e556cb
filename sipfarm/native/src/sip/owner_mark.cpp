#include "sip/owner_mark.hpp"

namespace sipfarm::sip {
namespace {

constexpr std::uint8_t version = 1;
constexpr std::uint64_t low_40_bits = OwnerMark::handle_max;
constexpr std::string_view alphabet = "abcdefghijklmnopqrstuvwxyz234567";  // RFC 4648 §6, in lower case

/// The 120 bits as three numbers of 40, which are eight characters each.
struct Bits {
  std::uint64_t owner = 0;   // version 3, key id 2, member 14, epoch 21
  std::uint64_t handle = 0;
  std::uint64_t mac = 0;
};

constexpr std::size_t chars_of_40_bits = 8;
static_assert(3 * chars_of_40_bits == mark_chars);

constexpr std::array<std::uint8_t, 256> digits = [] {
  std::array<std::uint8_t, 256> table{};
  table.fill(0xff);
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    const char letter = alphabet[i];
    table[static_cast<unsigned char>(letter)] = static_cast<std::uint8_t>(i);
    if (letter >= 'a') table[static_cast<unsigned char>(letter - 'a' + 'A')] = static_cast<std::uint8_t>(i);
  }
  return table;
}();

void write_40_bits(char* out, std::uint64_t bits) noexcept {
  for (std::size_t i = chars_of_40_bits; i-- > 0; bits >>= 5) out[i] = alphabet[bits & 31];
}

/// All eight characters are looked at, so that the time says nothing about them; `bad` gathers what is no digit.
std::uint64_t read_40_bits(std::string_view text, std::uint8_t& bad) noexcept {
  std::uint64_t bits = 0;
  for (const char letter : text) {
    const std::uint8_t digit = digits[static_cast<unsigned char>(letter)];
    bad = static_cast<std::uint8_t>(bad | (digit & 0xe0));
    bits = bits << 5 | (digit & 31U);
  }
  return bits;
}

std::optional<Bits> bits_of(std::string_view text) noexcept {
  if (text.size() != mark_chars) return std::nullopt;
  std::uint8_t bad = 0;
  Bits bits;
  bits.owner = read_40_bits(text.substr(0, chars_of_40_bits), bad);
  bits.handle = read_40_bits(text.substr(chars_of_40_bits, chars_of_40_bits), bad);
  bits.mac = read_40_bits(text.substr(2 * chars_of_40_bits), bad);
  if (bad != 0 || bits.owner >> 37 != version) return std::nullopt;
  return bits;
}

OwnerMark owner_of(const Bits& bits) noexcept {
  return {static_cast<std::uint16_t>(bits.owner >> 21 & OwnerMark::member_max), static_cast<std::uint32_t>(bits.owner & OwnerMark::epoch_max),
          bits.handle};
}

std::uint64_t mac_of(const MarkKey& key, MarkKind kind, const Bits& bits, std::string_view context) noexcept {
  // The kind takes the top bits that the 40 of the owner leave free.
  const std::uint64_t kind_and_owner = std::uint64_t{static_cast<std::uint8_t>(kind)} << 56 | bits.owner;
  return SipHasher{key.key}.add(kind_and_owner).add(bits.handle).add(context).finish() & low_40_bits;
}

}  // namespace

MarkKeys::MarkKeys(const MarkKey& current, const std::optional<MarkKey>& previous) noexcept
    : current_{static_cast<std::uint8_t>(current.id & 3), current.key} {
  if (previous) previous_ = MarkKey{static_cast<std::uint8_t>(previous->id & 3), previous->key};
}

std::array<char, mark_chars> MarkKeys::mint(MarkKind kind, const OwnerMark& mark, std::string_view context) const noexcept {
  Bits bits;
  bits.owner = std::uint64_t{version} << 37 | std::uint64_t{current_.id} << 35 |
               std::uint64_t{static_cast<std::uint16_t>(mark.member & OwnerMark::member_max)} << 21 |
               (mark.epoch & OwnerMark::epoch_max);
  bits.handle = mark.handle & OwnerMark::handle_max;
  bits.mac = mac_of(current_, kind, bits, context);
  std::array<char, mark_chars> text;
  write_40_bits(text.data(), bits.owner);
  write_40_bits(text.data() + chars_of_40_bits, bits.handle);
  write_40_bits(text.data() + 2 * chars_of_40_bits, bits.mac);
  return text;
}

void MarkKeys::append(std::string& out, MarkKind kind, const OwnerMark& mark, std::string_view context) const {
  const auto text = mint(kind, mark, context);
  out.append(text.data(), text.size());
}

std::optional<OwnerMark> MarkKeys::read(std::string_view text) noexcept {
  const auto bits = bits_of(text);
  return bits ? std::optional{owner_of(*bits)} : std::nullopt;
}

std::optional<OwnerMark> MarkKeys::open(MarkKind kind, std::string_view text, std::string_view context) const noexcept {
  const auto bits = bits_of(text);
  if (!bits) return std::nullopt;
  const std::uint64_t key_id = bits->owner >> 35 & 3;
  const auto made_with = [&](const MarkKey& key) {
    return key.id == key_id && (mac_of(key, kind, *bits, context) ^ bits->mac) == 0;  // one word: no early end
  };
  if (!made_with(current_) && !(previous_ && made_with(*previous_))) return std::nullopt;
  return owner_of(*bits);
}

}  // namespace sipfarm::sip
