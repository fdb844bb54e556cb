#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace sipfarm::sip {

/// A host, IPv6 with its brackets, and a port (0: absent).
struct HostPort {
  std::string_view host;
  std::uint16_t port = 0;
};
/// Reads hostport of RFC 3261 §25.1; white space around the colon is refused.
std::optional<HostPort> parse_host_port(std::string_view text) noexcept;

/// A URI as views into text that its owner keeps alive (RFC 3261 §19.1, RFC 3966; any other scheme is opaque).
struct Uri {
  enum class Scheme : std::uint8_t { other, sip, sips, tel };

  std::string_view text;
  std::string_view scheme_text;
  std::string_view user;      // of a tel URI: the number; parameters of a telephone-subscriber in a sip URI belong to it
  std::string_view password;
  std::string_view host;      // IPv6 with brackets
  std::string_view params;    // without the first ';'
  std::string_view headers;   // without the '?'
  std::string_view opaque;    // all behind the colon, of a scheme that is not known here
  std::uint16_t port = 0;     // 0: absent
  Scheme scheme = Scheme::other;
  bool has_user = false;
  bool has_password = false;

  static std::optional<Uri> parse(std::string_view text) noexcept;

  bool is_sip() const noexcept { return scheme == Scheme::sip || scheme == Scheme::sips; }
  /// The value of a parameter ("" where it has none), nothing where it is absent. Escapes are left as they came.
  std::optional<std::string_view> param(std::string_view name) const noexcept;
  bool has_param(std::string_view name) const noexcept { return param(name).has_value(); }
  bool is_loose_router() const noexcept { return has_param("lr"); }

  /// The same resource by RFC 3261 §19.1.4 and, for tel, RFC 3966 §4; other schemes by their text.
  friend bool operator==(const Uri& a, const Uri& b) noexcept;
  /// Equal URIs have equal hashes.
  std::size_t hash() const noexcept;

  /// Appends the canonical address-of-record (RFC 3261 §10.3 step 5): "sip:user@host" with the host in lower case, the user unescaped where a
  /// character needs no escape, and without password, port, parameters and headers; "tel:" and the number without separators; else the text.
  void append_aor(std::string& out) const;
  std::string aor() const;
};

struct UriHash {
  std::size_t operator()(const Uri& uri) const noexcept { return uri.hash(); }
};

}  // namespace sipfarm::sip
