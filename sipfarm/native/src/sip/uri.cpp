#include "sip/uri.hpp"

#include <arpa/inet.h>

#include <array>
#include <cstring>

#include "sip/text.hpp"

namespace sipfarm::sip {
namespace {

constexpr auto npos = std::string_view::npos;
constexpr std::size_t compared_parts = 32;  // URIs with more parameters or headers than this are equal only by their text

/// A character of URI text with its escape decoded; an escaped reserved character is not the same as the bare one (RFC 3261 §19.1.4).
constexpr unsigned next_unit(std::string_view text, std::size_t& position) noexcept {
  const std::size_t before = position;
  const char c = text::next_unescaped(text, position);
  const bool reserved = std::string_view{";/?:@&=+$,"}.find(c) != npos;
  return static_cast<unsigned char>(c) | (position - before > 1 && reserved ? 0x100U : 0U);
}
constexpr unsigned lower_unit(unsigned unit) noexcept {
  return unit < 0x80 ? static_cast<unsigned char>(text::to_lower(static_cast<char>(unit))) : unit;
}

bool same_text(std::string_view a, std::string_view b, bool fold_case) noexcept {
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() && j < b.size()) {
    const unsigned left = next_unit(a, i);
    const unsigned right = next_unit(b, j);
    if (left != right && (!fold_case || lower_unit(left) != lower_unit(right))) return false;
  }
  return i == a.size() && j == b.size();
}

class Hasher {  // FNV-1a
 public:
  void add(unsigned unit) noexcept { value_ = (value_ ^ unit) * 0x100000001b3ULL; }
  void add(std::string_view text, bool fold_case) noexcept {
    for (std::size_t i = 0; i < text.size();) {
      const unsigned unit = next_unit(text, i);
      add(fold_case ? lower_unit(unit) : unit);
    }
    add(0x200U);
  }
  std::size_t value() const noexcept { return static_cast<std::size_t>(value_ ^ (value_ >> 29)); }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325ULL;
};

struct Part {
  std::string_view name;
  std::string_view value;
  bool has_value = false;
};

/// Takes "name=value" off the front of a list; empty parts are skipped.
bool take_part(std::string_view& rest, char separator, Part& part) noexcept {
  while (!rest.empty() && rest.front() == separator) rest.remove_prefix(1);
  if (rest.empty()) return false;
  const std::size_t end = rest.find(separator);
  const std::string_view whole = rest.substr(0, end);
  rest.remove_prefix(whole.size());
  const std::size_t equals = whole.find('=');
  part.name = whole.substr(0, equals);
  part.has_value = equals != npos;
  part.value = part.has_value ? whole.substr(equals + 1) : std::string_view{};
  return true;
}

std::optional<std::string_view> find_part(std::string_view list, char separator, std::string_view name) noexcept {
  Part part;
  while (take_part(list, separator, part))
    if (same_text(part.name, name, true)) return part.value;
  return std::nullopt;
}

std::size_t count_parts(std::string_view list, char separator) noexcept {
  std::size_t count = 0;
  Part part;
  while (take_part(list, separator, part)) ++count;
  return count;
}

constexpr std::array<std::string_view, 5> weighty_params{"user", "ttl", "method", "maddr", "transport"};

bool is_weighty(std::string_view name) noexcept {
  for (const std::string_view weighty : weighty_params)
    if (same_text(name, weighty, true)) return true;
  return false;
}

/// Every parameter of `a` agrees with `b`: equal where both have it, and some may not be missing.
bool params_agree(std::string_view a, std::string_view b) noexcept {
  Part part;
  while (take_part(a, ';', part)) {
    const auto other = find_part(b, ';', part.name);
    if (other ? !same_text(part.value, *other, true) : is_weighty(part.name)) return false;
  }
  return true;
}

bool headers_agree(std::string_view a, std::string_view b) noexcept {
  Part part;
  while (take_part(a, '&', part)) {
    const auto other = find_part(b, '&', part.name);
    if (!other || !same_text(part.value, *other, false)) return false;
  }
  return true;
}

/// The 16 bytes of an IPv6 reference.
bool ipv6_bytes(std::string_view host, std::array<unsigned char, 16>& bytes) noexcept {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (host.size() < 4 || host.front() != '[' || host.size() - 2 >= text.size()) return false;
  std::memcpy(text.data(), host.data() + 1, host.size() - 2);
  return inet_pton(AF_INET6, text.data(), bytes.data()) == 1;
}

bool same_host(std::string_view a, std::string_view b) noexcept {
  std::array<unsigned char, 16> left{};
  std::array<unsigned char, 16> right{};
  if (ipv6_bytes(a, left) && ipv6_bytes(b, right)) return left == right;
  return text::iequals(a, b);
}

void hash_host(Hasher& hasher, std::string_view host) noexcept {
  std::array<unsigned char, 16> bytes{};
  if (!ipv6_bytes(host, bytes)) return hasher.add(host, true);
  for (const unsigned char byte : bytes) hasher.add(byte);
}

constexpr bool is_separator(char c) noexcept { return c == '-' || c == '.' || c == '(' || c == ')'; }  // visual-separator of RFC 3966 §3

bool same_number(std::string_view a, std::string_view b) noexcept {
  std::size_t i = 0;
  std::size_t j = 0;
  for (;; ++i, ++j) {
    while (i < a.size() && is_separator(a[i])) ++i;
    while (j < b.size() && is_separator(b[j])) ++j;
    if (i == a.size() || j == b.size()) return i == a.size() && j == b.size();
    if (text::to_lower(a[i]) != text::to_lower(b[j])) return false;
  }
}

/// RFC 3966 §4: every parameter stands in both; a number compares without its separators.
bool tel_params_agree(std::string_view a, std::string_view b) noexcept {
  Part part;
  while (take_part(a, ';', part)) {
    const auto other = find_part(b, ';', part.name);
    if (!other) return false;
    const bool number = text::iequals(part.name, "ext") || (!part.value.empty() && part.value.front() == '+');
    if (!(number ? same_number(part.value, *other) : same_text(part.value, *other, true))) return false;
  }
  return true;
}

bool is_tel_number(std::string_view number) noexcept {
  if (!number.empty() && number.front() == '+') number.remove_prefix(1);
  bool digits = false;
  for (const char c : number) {
    if (is_separator(c)) continue;
    if (!text::is(c, text::hexadecimal) && c != '*' && c != '#') return false;
    digits = true;
  }
  return digits;
}

bool is_host_name(std::string_view host) noexcept {
  for (const char c : host)
    if (!text::is(c, text::alpha | text::digit) && c != '-' && c != '.' && c != '_') return false;
  return !host.empty();
}

/// Hexadecimal groups and perhaps an IPv4 tail. Three colons are let pass (RFC 5118 §4.10).
bool is_ipv6_reference(std::string_view host) noexcept {
  if (host.size() < 4 || host.size() > 48 || host.front() != '[' || host.back() != ']') return false;
  int colons = 0;
  for (const char c : host.substr(1, host.size() - 2)) {
    if (!text::is(c, text::hexadecimal) && c != ':' && c != '.') return false;
    colons += c == ':' ? 1 : 0;
  }
  return colons >= 2;
}

bool parse_sip(Uri& uri, std::string_view rest) noexcept {
  if (const std::size_t at = rest.find('@'); at != npos) {
    const std::string_view userinfo = rest.substr(0, at);
    const std::size_t colon = userinfo.find(':');
    uri.user = userinfo.substr(0, colon);
    uri.has_user = true;
    if (uri.user.empty()) return false;
    uri.has_password = colon != npos;
    if (uri.has_password) uri.password = userinfo.substr(colon + 1);
    rest.remove_prefix(at + 1);
  }
  if (const std::size_t question = rest.find('?'); question != npos) {
    uri.headers = rest.substr(question + 1);
    rest = rest.substr(0, question);
    if (uri.headers.empty()) return false;
  }
  if (const std::size_t semicolon = rest.find(';'); semicolon != npos) {
    uri.params = rest.substr(semicolon + 1);
    rest = rest.substr(0, semicolon);
  }
  const auto host_port = parse_host_port(rest);
  if (!host_port) return false;
  uri.host = host_port->host;
  uri.port = host_port->port;
  return true;
}

bool parse_tel(Uri& uri, std::string_view rest) noexcept {
  const std::size_t semicolon = rest.find(';');
  uri.user = rest.substr(0, semicolon);
  uri.has_user = true;
  if (semicolon != npos) uri.params = rest.substr(semicolon + 1);
  return is_tel_number(uri.user);
}

bool same_sip(const Uri& a, const Uri& b) noexcept {
  if (a.has_user != b.has_user || a.has_password != b.has_password || a.port != b.port) return false;
  if (!same_text(a.user, b.user, false) || !same_text(a.password, b.password, false) || !same_host(a.host, b.host)) return false;
  if (count_parts(a.params, ';') > compared_parts || count_parts(b.params, ';') > compared_parts) return false;
  const std::size_t headers = count_parts(a.headers, '&');
  if (headers != count_parts(b.headers, '&') || headers > compared_parts) return false;
  return params_agree(a.params, b.params) && params_agree(b.params, a.params) && headers_agree(a.headers, b.headers) &&
         headers_agree(b.headers, a.headers);
}

bool same_tel(const Uri& a, const Uri& b) noexcept {
  const std::size_t params = count_parts(a.params, ';');
  if (!same_number(a.user, b.user) || params != count_parts(b.params, ';') || params > compared_parts) return false;
  return tel_params_agree(a.params, b.params) && tel_params_agree(b.params, a.params);
}

void append_escaped(std::string& out, char c) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  const auto byte = static_cast<unsigned char>(c);
  out += '%';
  out += digits[byte >> 4];
  out += digits[byte & 15];
}

void append_user(std::string& out, std::string_view user) {
  for (std::size_t i = 0; i < user.size();) {
    const char c = text::next_unescaped(user, i);
    if (text::is(c, text::unreserved | text::user_extra)) {
      out += c;
    } else {
      append_escaped(out, c);
    }
  }
}

void append_host(std::string& out, std::string_view host) {
  std::array<unsigned char, 16> bytes{};
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (ipv6_bytes(host, bytes) && inet_ntop(AF_INET6, bytes.data(), text.data(), text.size()) != nullptr) {
    out += '[';
    out += text.data();
    out += ']';
    return;
  }
  for (const char c : host) out += text::to_lower(c);
}

}  // namespace

std::optional<HostPort> parse_host_port(std::string_view text) noexcept {
  HostPort out{text, 0};
  const std::size_t bracket = !text.empty() && text.front() == '[' ? text.find(']') : 0;
  if (bracket == npos) return std::nullopt;
  if (const std::size_t colon = text.find(':', bracket); colon != npos) {
    const std::string_view digits = text.substr(colon + 1);
    const auto port = digits.size() <= 5 ? text::parse_u32(digits) : std::nullopt;
    if (!port || *port == 0 || *port > UINT16_MAX) return std::nullopt;
    out.port = static_cast<std::uint16_t>(*port);
    out.host = text.substr(0, colon);
  }
  if (!(bracket > 0 ? is_ipv6_reference(out.host) : is_host_name(out.host))) return std::nullopt;
  return out;
}

std::optional<Uri> Uri::parse(std::string_view text) noexcept {
  Uri uri;
  uri.text = text;
  std::size_t colon = 0;
  while (colon < text.size() && (text::is(text[colon], text::alpha | text::digit) || text[colon] == '+' || text[colon] == '-' || text[colon] == '.'))
    ++colon;
  if (colon == 0 || colon + 1 >= text.size() || text[colon] != ':' || !text::is(text[0], text::alpha)) return std::nullopt;
  if (!text::all(text, text::uri)) return std::nullopt;
  uri.scheme_text = text.substr(0, colon);
  const std::string_view rest = text.substr(colon + 1);
  if (text::iequals(uri.scheme_text, "sip")) {
    uri.scheme = Scheme::sip;
  } else if (text::iequals(uri.scheme_text, "sips")) {
    uri.scheme = Scheme::sips;
  } else if (text::iequals(uri.scheme_text, "tel")) {
    uri.scheme = Scheme::tel;
  }
  if (uri.is_sip() ? !parse_sip(uri, rest) : uri.scheme == Scheme::tel && !parse_tel(uri, rest)) return std::nullopt;
  if (uri.scheme == Scheme::other) uri.opaque = rest;
  return uri;
}

std::optional<std::string_view> Uri::param(std::string_view name) const noexcept { return find_part(params, ';', name); }

bool operator==(const Uri& a, const Uri& b) noexcept {
  if (a.text == b.text) return true;
  if (a.scheme != b.scheme) return false;
  if (a.is_sip()) return same_sip(a, b);
  if (a.scheme == Uri::Scheme::tel) return same_tel(a, b);
  return text::iequals(a.scheme_text, b.scheme_text) && a.opaque == b.opaque;
}

std::size_t Uri::hash() const noexcept {
  Hasher hasher;
  hasher.add(static_cast<unsigned>(scheme));
  if (is_sip()) {
    hasher.add(user, false);
    hasher.add(password, false);
    hash_host(hasher, host);
    hasher.add(port);
    for (const std::string_view name : weighty_params)
      if (const auto value = param(name)) hasher.add(*value, true);
  } else if (scheme == Scheme::tel) {
    for (const char c : user)
      if (!is_separator(c)) hasher.add(static_cast<unsigned char>(text::to_lower(c)));
  } else {
    for (const char c : scheme_text) hasher.add(static_cast<unsigned char>(text::to_lower(c)));
    for (const char c : opaque) hasher.add(static_cast<unsigned char>(c));
  }
  return hasher.value();
}

void Uri::append_aor(std::string& out) const {
  if (is_sip()) {
    out += "sip:";
    if (has_user) {
      append_user(out, user);
      out += '@';
    }
    append_host(out, host);
  } else if (scheme == Scheme::tel) {
    out += "tel:";
    for (const char c : user)
      if (!is_separator(c)) out += text::to_lower(c);
  } else {
    out += text;
  }
}

std::string Uri::aor() const {
  std::string out;
  append_aor(out);
  return out;
}

}  // namespace sipfarm::sip
