#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sipfarm::srtp {

/// The crypto-suites of SDES that we do (RFC 4568 §6.2, RFC 6188, RFC 7714 §14.2), in the order of that registry.
enum class Suite : std::uint8_t {
  aes_cm_128_hmac_sha1_80,
  aes_cm_128_hmac_sha1_32,
  aes_256_cm_hmac_sha1_80,
  aes_256_cm_hmac_sha1_32,
  aead_aes_128_gcm,
  aead_aes_256_gcm,
};

struct SuiteFacts {
  std::string_view name;
  std::size_t key_bytes;
  std::size_t salt_bytes;
  std::size_t rtp_tag_bytes;
  std::size_t rtcp_tag_bytes;  // 80 bits even where RTP has 32 (RFC 4568 §6.2.2)
  bool aead;
};

inline constexpr std::array<SuiteFacts, 6> k_suites{{
    {"AES_CM_128_HMAC_SHA1_80", 16, 14, 10, 10, false},
    {"AES_CM_128_HMAC_SHA1_32", 16, 14, 4, 10, false},
    {"AES_256_CM_HMAC_SHA1_80", 32, 14, 10, 10, false},
    {"AES_256_CM_HMAC_SHA1_32", 32, 14, 4, 10, false},
    {"AEAD_AES_128_GCM", 16, 12, 16, 16, true},
    {"AEAD_AES_256_GCM", 32, 12, 16, 16, true},
}};

inline constexpr std::size_t k_tag_bytes_max = 16;
inline constexpr std::size_t k_master_bytes_max = 46;  // AES-256 with a salt of 112 bits

constexpr const SuiteFacts& facts(Suite suite) noexcept { return k_suites[static_cast<std::size_t>(suite)]; }

constexpr std::optional<Suite> suite_named(std::string_view name) noexcept {
  for (std::size_t i = 0; i < k_suites.size(); ++i) {
    if (k_suites[i].name == name) return static_cast<Suite>(i);
  }
  return std::nullopt;
}

}  // namespace sipfarm::srtp
