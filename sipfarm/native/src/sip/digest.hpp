#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sipfarm::sip {

/// The digest of an Authorization or Proxy-Authorization (RFC 7616 §3.4).
struct Credentials {
  std::string username;  // without escapes, as the realm
  std::string realm;
  std::string nonce;
  std::string uri;
  std::string response;
  std::string algorithm;  // "" where absent, as the following
  std::string cnonce;
  std::string qop;
  std::string nc;

  friend bool operator==(const Credentials&, const Credentials&) = default;
};

/// Reads a value; nothing for another scheme, or one that is malformed or names a parameter twice (RFC 7616 §3.4).
std::optional<Credentials> parse_credentials(std::string_view value);
/// Whether a value's scheme is Digest; other schemes are none of ours (RFC 3261 §22).
bool is_digest(std::string_view value) noexcept;

enum class DigestAlgorithm : std::uint8_t { md5, sha256 };

/// MD5 where none is named (RFC 7616 §3.4.1); nothing for one we do not know.
std::optional<DigestAlgorithm> digest_algorithm_of(std::string_view name) noexcept;

/// What `response` must be for an HA1 (RFC 7616 §3.4.1), in lower-case hex.
std::string digest_response(DigestAlgorithm algorithm, std::string_view ha1, std::string_view method, const Credentials& credentials);

std::array<std::uint8_t, 16> md5(std::string_view bytes) noexcept;     // RFC 1321
std::array<std::uint8_t, 32> sha256(std::string_view bytes) noexcept;  // FIPS 180-4

}  // namespace sipfarm::sip
