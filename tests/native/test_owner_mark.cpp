#include "sip/owner_mark.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <random>
#include <string>

using namespace sipfarm::sip;

namespace {

constexpr std::string_view alphabet = "abcdefghijklmnopqrstuvwxyz234567";
constexpr MarkKind kinds[] = {MarkKind::branch, MarkKind::tag, MarkKind::record_route, MarkKind::contact, MarkKind::path};

MarkKey key_of(std::uint8_t id, std::uint8_t seed) {
  MarkKey key{id, {}};
  for (std::size_t i = 0; i < key.key.size(); ++i) key.key[i] = static_cast<std::uint8_t>(seed * 31U + i * 7U);
  return key;
}

std::string text_of(const MarkKeys& keys, MarkKind kind, const OwnerMark& mark, std::string_view context) {
  std::string text;
  keys.append(text, kind, mark, context);
  return text;
}

OwnerMark any_mark(std::mt19937_64& random) {
  return {static_cast<std::uint16_t>(random() & OwnerMark::member_max), static_cast<std::uint32_t>(random() & OwnerMark::epoch_max),
          random() & OwnerMark::handle_max};
}

/// The text with one of its 120 bits turned over.
std::string with_bit_flipped(std::string text, std::size_t bit) {
  const auto digit = alphabet.find(text[bit / 5]);
  text[bit / 5] = alphabet[digit ^ (std::size_t{1} << bit % 5)];
  return text;
}

}  // namespace

TEST_CASE("a mark opens to what it was minted with") {
  std::mt19937_64 random{1};
  const MarkKeys keys{key_of(2, 5)};
  for (int i = 0; i < 2'000; ++i) {
    const OwnerMark mark = any_mark(random);
    const MarkKind kind = kinds[random() % std::size(kinds)];
    const std::string context(random() % 70, 'x');
    const auto text = keys.mint(kind, mark, context);
    const auto opened = keys.open(kind, {text.data(), text.size()}, context);
    REQUIRE(opened.has_value());
    REQUIRE(*opened == mark);
  }
}

TEST_CASE("the ends of each field survive") {
  const MarkKeys keys{key_of(3, 1)};
  for (const OwnerMark mark : {OwnerMark{0, 0, 0}, OwnerMark{OwnerMark::member_max, 0, 0}, OwnerMark{0, OwnerMark::epoch_max, 0},
                               OwnerMark{0, 0, OwnerMark::handle_max},
                               OwnerMark{OwnerMark::member_max, OwnerMark::epoch_max, OwnerMark::handle_max}}) {
    CHECK(mark.in_range());
    CHECK(keys.open(MarkKind::tag, text_of(keys, MarkKind::tag, mark, ""), "") == mark);
  }
  CHECK_FALSE(OwnerMark{1U << 14, 0, 0}.in_range());
  CHECK_FALSE(OwnerMark{0, 1U << 21, 0}.in_range());
  CHECK_FALSE(OwnerMark{0, 0, std::uint64_t{1} << 40}.in_range());
}

TEST_CASE("a mark is 24 characters of lower-case base32 and is read in any case") {
  std::mt19937_64 random{2};
  const MarkKeys keys{key_of(0, 9)};
  for (int i = 0; i < 200; ++i) {
    const OwnerMark mark = any_mark(random);
    std::string text = text_of(keys, MarkKind::branch, mark, "call");
    REQUIRE(text.size() == mark_chars);
    REQUIRE(text.find_first_not_of(alphabet) == std::string::npos);
    for (char& letter : text) {
      if (random() % 2 == 0) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    }
    REQUIRE(keys.open(MarkKind::branch, text, "call") == mark);
  }
}

TEST_CASE("the layout is fixed: members of two releases share a farm") {
  const MarkKeys keys{key_of(1, 3)};
  const std::string text = text_of(keys, MarkKind::record_route, {0x1234, 0x0a5a5a, 0x123456789a}, "a84b4c76e66710@pc33");
  // version 1, key id 1, member 0x1234, epoch 0xa5a5a, handle: 80 bits; then the MAC (by another implementation of both).
  CHECK(text.substr(0, 16) == "fjdiuws2ci2fm6e2");
  CHECK(text.substr(16) == "4exyfwlm");
}

TEST_CASE("a mark with any bit turned over is refused") {
  std::mt19937_64 random{3};
  const MarkKeys keys{key_of(1, 4), key_of(2, 4)};  // the same key under two ids: the id itself is under the MAC
  for (int i = 0; i < 50; ++i) {
    const std::string text = text_of(keys, MarkKind::tag, any_mark(random), "context");
    for (std::size_t bit = 0; bit < 120; ++bit) {
      CAPTURE(bit);
      REQUIRE_FALSE(keys.open(MarkKind::tag, with_bit_flipped(text, bit), "context").has_value());
    }
  }
}

TEST_CASE("a mark carried into another dialog is foreign") {
  const MarkKeys keys{key_of(1, 4)};
  const std::string text = text_of(keys, MarkKind::record_route, {1, 2, 3}, "call-1");
  CHECK(keys.open(MarkKind::record_route, text, "call-1").has_value());
  for (const auto context : {"call-2", "call-", "call-11", "", "Call-1", "call-1\n"}) {
    CHECK_FALSE(keys.open(MarkKind::record_route, text, context).has_value());
  }
  CHECK_FALSE(keys.open(MarkKind::record_route, text, std::string_view{"call-1\0", 7}).has_value());
}

TEST_CASE("a mark in another place is foreign") {
  const MarkKeys keys{key_of(1, 4)};
  for (const MarkKind minted : kinds) {
    const std::string text = text_of(keys, minted, {7, 8, 9}, "x");
    for (const MarkKind opened : kinds) CHECK(keys.open(opened, text, "x").has_value() == (minted == opened));
  }
}

TEST_CASE("the previous key is accepted while the secret is changed, and no longer") {
  const MarkKeys before{key_of(1, 4)};
  const MarkKeys during{key_of(2, 6), key_of(1, 4)};
  const MarkKeys after{key_of(2, 6)};
  const OwnerMark mark{7, 8, 9};
  const std::string old_text = text_of(before, MarkKind::path, mark, "alice");
  const std::string new_text = text_of(during, MarkKind::path, mark, "alice");
  CHECK(during.open(MarkKind::path, old_text, "alice") == mark);
  CHECK(during.open(MarkKind::path, new_text, "alice") == mark);
  CHECK(after.open(MarkKind::path, new_text, "alice") == mark);
  CHECK_FALSE(after.open(MarkKind::path, old_text, "alice").has_value());
  CHECK_FALSE(before.open(MarkKind::path, new_text, "alice").has_value());
}

TEST_CASE("another farm's mark is refused though its key has the same id") {
  const std::string text = text_of(MarkKeys{key_of(1, 4)}, MarkKind::contact, {7, 8, 9}, "");
  CHECK_FALSE(MarkKeys{key_of(1, 5)}.open(MarkKind::contact, text, "").has_value());
}

TEST_CASE("what is not 24 characters of base32 is refused") {
  const MarkKeys keys{key_of(1, 4)};
  // Full of '7', the highest digit, so that a byte that is no digit cannot pass for it.
  const OwnerMark mark{OwnerMark::member_max, OwnerMark::epoch_max, OwnerMark::handle_max};
  const std::string text = text_of(keys, MarkKind::tag, mark, "");
  REQUIRE(text.find("7777777777") != std::string::npos);
  for (std::size_t length = 0; length < text.size(); ++length) {
    CHECK_FALSE(keys.open(MarkKind::tag, text.substr(0, length), "").has_value());
  }
  CHECK_FALSE(keys.open(MarkKind::tag, text + "a", "").has_value());
  for (std::size_t at = 0; at < text.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string other = text;
      other[at] = static_cast<char>(byte);
      const bool same = std::tolower(static_cast<unsigned char>(other[at])) == text[at];
      REQUIRE(keys.open(MarkKind::tag, other, "").has_value() == same);
    }
  }
}

TEST_CASE("guessing MACs opens nothing") {
  std::mt19937_64 random{4};
  const MarkKeys keys{key_of(1, 4)};
  std::string text = text_of(keys, MarkKind::tag, {7, 8, 9}, "");
  for (int i = 0; i < 100'000; ++i) {
    for (std::size_t at = 16; at < text.size(); ++at) text[at] = alphabet[random() % alphabet.size()];
    REQUIRE_FALSE(keys.open(MarkKind::tag, text, "").has_value());
  }
}
