#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "srtp/session.hpp"

namespace sipfarm::testing {

using SrtpBytes = std::vector<std::uint8_t>;

inline SrtpBytes from_hex(std::string_view text) {
  SrtpBytes bytes;
  unsigned high = 16;
  for (const char c : text) {
    if (c == ' ') continue;
    const auto digit = static_cast<unsigned>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    if (high == 16) {
      high = digit;
      continue;
    }
    bytes.push_back(static_cast<std::uint8_t>(high << 4U | digit));
    high = 16;
  }
  return bytes;
}

/// Key and salt of a suite, told apart by `seed`.
inline srtp::Keying keying_of(srtp::Suite suite, std::uint8_t seed = 1, const SrtpBytes& mki = {}) {
  SrtpBytes material(srtp::facts(suite).key_bytes + srtp::facts(suite).salt_bytes);
  for (std::size_t i = 0; i < material.size(); ++i) material[i] = static_cast<std::uint8_t>(seed * 37U + i * 11U);
  return srtp::Keying::make(suite, material, mki).value();
}

inline SrtpBytes rtp_of(std::uint16_t sequence, std::uint32_t ssrc = 0xcafe, std::size_t payload_bytes = 160) {
  SrtpBytes bytes{0x80, 0x00, static_cast<std::uint8_t>(sequence >> 8U), static_cast<std::uint8_t>(sequence), 0, 0, 0, 7};
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(ssrc >> shift));
  for (std::size_t i = 0; i < payload_bytes; ++i) bytes.push_back(static_cast<std::uint8_t>(i + sequence));
  return bytes;
}

inline SrtpBytes rtcp_of(std::uint32_t ssrc = 0xcafe, std::size_t body_bytes = 20) {
  SrtpBytes bytes{0x80, 200, 0, static_cast<std::uint8_t>(1 + body_bytes / 4)};
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(ssrc >> shift));
  for (std::size_t i = 0; i < body_bytes; ++i) bytes.push_back(static_cast<std::uint8_t>(i));
  return bytes;
}

/// The packet as it leaves; empty, and `result` says why, if it may not.
inline SrtpBytes sealed(srtp::Session& session, srtp::Protocol protocol, const SrtpBytes& plain,
                        srtp::Result* result = nullptr) {
  SrtpBytes buffer = plain;
  buffer.resize(plain.size() + 256);
  const srtp::Outcome outcome = session.protect(protocol, buffer, plain.size());
  if (result != nullptr) *result = outcome.result;
  buffer.resize(outcome.result == srtp::Result::ok ? outcome.bytes : 0);
  return buffer;
}

inline srtp::Result opened(srtp::Session& session, srtp::Protocol protocol, SrtpBytes& packet) {
  const srtp::Outcome outcome = session.unprotect(protocol, packet);
  if (outcome.result == srtp::Result::ok) packet.resize(outcome.bytes);
  return outcome.result;
}

}  // namespace sipfarm::testing
