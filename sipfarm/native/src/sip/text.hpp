#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// Characters and small lexical helpers of the SIP grammar (RFC 3261 §25.1).
namespace sipfarm::sip::text {

enum CharClass : std::uint16_t {
  token = 1,         // RFC 3261 token
  digit = 2,
  alpha = 4,
  white = 8,         // SP, HTAB, CR, LF: linear white space once a line has been delimited
  unreserved = 16,   // alphanum and mark
  user_extra = 32,   // user-unreserved
  hexadecimal = 64,
  uri = 128,         // may stand somewhere in a URI: no white space, control, quote or angle bracket
  value = 256,       // may stand in a parameter value without quotes: as uri, and no comma or semicolon
  list_mark = 512    // what a list of values is split by: comma, quote, '<', '('
};

namespace detail {
constexpr std::array<std::uint16_t, 256> make_classes() {
  std::array<std::uint16_t, 256> out{};
  const auto mark = [&out](std::string_view chars, unsigned bits) {
    for (const char c : chars) {
      std::uint16_t& classes = out[static_cast<unsigned char>(c)];
      classes = static_cast<std::uint16_t>(classes | bits);
    }
  };
  mark("0123456789", token | digit | unreserved | hexadecimal);
  mark("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", token | alpha | unreserved);
  mark("abcdefABCDEF", hexadecimal);
  mark("-.!%*_+`'~", token);
  mark("-_.!~*'()", unreserved);
  mark("&=+$,;?/", user_extra);
  mark(" \t\r\n", white);
  mark(",\"<(", list_mark);
  for (unsigned byte = 0x21; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    if (byte == 0x7f || c == '"' || c == '<' || c == '>') continue;
    mark({&c, 1}, c == ',' || c == ';' ? unsigned{uri} : unsigned{uri} | unsigned{value});
  }
  return out;
}
inline constexpr std::array<std::uint16_t, 256> classes = make_classes();

constexpr std::array<char, 256> make_lower() {
  std::array<char, 256> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<char>(i);
  for (std::size_t i = 'A'; i <= 'Z'; ++i) out[i] = static_cast<char>(i + ('a' - 'A'));
  return out;
}
inline constexpr std::array<char, 256> lower = make_lower();
}  // namespace detail

constexpr bool is(char c, unsigned classes) noexcept { return (detail::classes[static_cast<unsigned char>(c)] & classes) != 0; }
constexpr char to_lower(char c) noexcept { return detail::lower[static_cast<unsigned char>(c)]; }

/// Equality that ignores ASCII case.
constexpr bool iequals(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (to_lower(a[i]) != to_lower(b[i])) return false;
  return true;
}

/// Without white space at either end, folds included.
constexpr std::string_view trim(std::string_view text) noexcept {
  while (!text.empty() && is(text.front(), white)) text.remove_prefix(1);
  while (!text.empty() && is(text.back(), white)) text.remove_suffix(1);
  return text;
}

constexpr bool all(std::string_view text, unsigned classes) noexcept {
  for (const char c : text)
    if (!is(c, classes)) return false;
  return true;
}
/// How many characters at the front are of the classes.
constexpr std::size_t span(std::string_view text, unsigned classes) noexcept {
  std::size_t size = 0;
  while (size < text.size() && is(text[size], classes)) ++size;
  return size;
}
constexpr bool is_token(std::string_view text) noexcept { return !text.empty() && all(text, token); }

/// A whole decimal number that fits; nothing where it is empty, has another character or is too large.
constexpr std::optional<std::uint32_t> parse_u32(std::string_view digits) noexcept {
  if (digits.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : digits) {
    if (!is(c, digit)) return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
    if (value > UINT32_MAX) return std::nullopt;
  }
  return static_cast<std::uint32_t>(value);
}

/// The value of a hexadecimal digit, -1 for another character.
constexpr int hex_value(char c) noexcept {
  if (is(c, digit)) return c - '0';
  return is(c, hexadecimal) ? to_lower(c) - 'a' + 10 : -1;
}

/// Reads one character of URI text at `position` and moves past it: "%41" is read as 'A' (RFC 3261 §19.1.2).
/// A percent sign without two hexadecimal digits stands for itself.
constexpr char next_unescaped(std::string_view text, std::size_t& position) noexcept {
  const char c = text[position++];
  if (c != '%' || text.size() - position < 2) return c;
  const int high = hex_value(text[position]);
  const int low = hex_value(text[position + 1]);
  if (high < 0 || low < 0) return c;
  position += 2;
  return static_cast<char>(high * 16 + low);
}

/// Appends URI text with its escapes decoded.
inline void append_unescaped(std::string& out, std::string_view text) {
  for (std::size_t i = 0; i < text.size();) out += next_unescaped(text, i);
}

/// Appends the content of a quoted string with its quoted-pairs decoded.
inline void append_unquoted(std::string& out, std::string_view content) {
  for (std::size_t i = 0; i < content.size(); ++i) {
    if (content[i] == '\\' && i + 1 < content.size()) ++i;
    out += content[i];
  }
}

/// Appends a field value with each fold turned into one space (RFC 3261 §7.3.1).
inline void append_unfolded(std::string& out, std::string_view value) {
  for (std::size_t i = 0; i < value.size();) {
    const bool fold = value[i] == '\n' || (value[i] == '\r' && i + 1 < value.size() && value[i + 1] == '\n');
    if (!fold) {
      out += value[i++];
      continue;
    }
    while (!out.empty() && (out.back() == ' ' || out.back() == '\t')) out.pop_back();
    while (i < value.size() && is(value[i], white)) ++i;
    out += ' ';
  }
}

/// A field value without its folds; `scratch` holds it where it has some.
inline std::string_view unfolded(std::string_view value, std::string& scratch) {
  if (value.find('\n') == std::string_view::npos) return value;
  scratch.clear();
  append_unfolded(scratch, value);
  return scratch;
}

/// Appends text with its ASCII letters in lower case.
inline void append_lower(std::string& out, std::string_view text) {
  const std::size_t begin = out.size();
  out.resize(begin + text.size());
  for (std::size_t i = 0; i < text.size(); ++i) out[begin + i] = to_lower(text[i]);
}

}  // namespace sipfarm::sip::text
