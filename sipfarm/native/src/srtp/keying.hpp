#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "srtp/suite.hpp"

namespace sipfarm::srtp {

/// A secret of fixed room: every copy is wiped when it ends.
template <std::size_t N>
class SecretBytes {
 public:
  SecretBytes() noexcept = default;
  SecretBytes(const SecretBytes&) noexcept = default;
  SecretBytes& operator=(const SecretBytes&) noexcept = default;
  ~SecretBytes() { ::explicit_bzero(bytes_.data(), N); }

  std::uint8_t* data() noexcept { return bytes_.data(); }
  const std::uint8_t* data() const noexcept { return bytes_.data(); }
  std::span<std::uint8_t> first(std::size_t count) noexcept { return std::span{bytes_}.first(count); }
  std::span<const std::uint8_t> first(std::size_t count) const noexcept { return std::span{bytes_}.first(count); }

 private:
  std::array<std::uint8_t, N> bytes_{};
};

inline constexpr std::size_t k_mki_bytes_max = 128;                     // RFC 4568 §6.1
inline constexpr std::uint64_t k_rtp_packets_max = std::uint64_t{1} << 48U;   // RFC 3711 §9.2
inline constexpr std::uint64_t k_rtcp_packets_max = std::uint64_t{1} << 31U;

/// What protects the packets of one direction: a master key and salt, and what was agreed with it.
struct Keying {
  Suite suite = Suite::aes_cm_128_hmac_sha1_80;
  SecretBytes<k_master_bytes_max> master;  // key, then salt
  std::array<std::uint8_t, k_mki_bytes_max> mki{};
  std::uint8_t mki_bytes = 0;  // 0: packets carry no MKI
  std::uint64_t rtp_packets_max = k_rtp_packets_max;
  std::uint64_t rtcp_packets_max = k_rtcp_packets_max;

  std::span<const std::uint8_t> key() const noexcept { return master.first(facts(suite).key_bytes); }
  std::span<const std::uint8_t> salt() const noexcept {
    return master.first(facts(suite).key_bytes + facts(suite).salt_bytes).subspan(facts(suite).key_bytes);
  }

  /// Nothing if the lengths are not those of the suite, or there is no room for the MKI.
  static std::optional<Keying> make(Suite suite, std::span<const std::uint8_t> key_and_salt,
                                    std::span<const std::uint8_t> mki = {}) noexcept {
    if (key_and_salt.size() != facts(suite).key_bytes + facts(suite).salt_bytes) return std::nullopt;
    if (mki.size() > k_mki_bytes_max) return std::nullopt;
    Keying keying;
    keying.suite = suite;
    std::ranges::copy(key_and_salt, keying.master.data());
    std::ranges::copy(mki, keying.mki.begin());
    keying.mki_bytes = static_cast<std::uint8_t>(mki.size());
    return keying;
  }
};

}  // namespace sipfarm::srtp
