// The vectors of RFC 3711 appendix B, RFC 6188 §7 and RFC 7714 §16, §17.
#include <doctest/doctest.h>

#include "srtp/transform.hpp"
#include "srtp_packets.hpp"

using namespace sipfarm::srtp;
using sipfarm::testing::from_hex;
using sipfarm::testing::SrtpBytes;

namespace {

SrtpBytes bytes_of(std::span<const std::uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

SessionKeys keys_of(const SrtpBytes& cipher, const SrtpBytes& salt) {
  SessionKeys keys;
  std::ranges::copy(cipher, keys.cipher.data());
  std::ranges::copy(salt, keys.salt.data());
  return keys;
}

/// Key stream is what zeros are encrypted to.
SrtpBytes key_stream(Suite suite, const char* key, const char* salt, std::uint64_t first_block, std::size_t bytes) {
  const auto transform = make_transform(suite, keys_of(from_hex(key), from_hex(salt)));
  SrtpBytes payload(first_block * 16 + bytes);
  SrtpBytes tag(4);
  transform->seal({}, {{}, payload, {}}, tag);
  return {payload.end() - static_cast<std::ptrdiff_t>(bytes), payload.end()};
}

constexpr const char* k_rtp = "8040f17b 8041f8d3 5501a0b2";
constexpr const char* k_rtp_text =
    "47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573";
constexpr const char* k_rtcp = "81c8000d 4d617273";
constexpr const char* k_rtcp_text =
    "4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef";
constexpr const char* k_salt = "51756964 2070726f 2071756f";
constexpr const char* k_key_128 = "00010203 04050607 08090a0b 0c0d0e0f";
constexpr const char* k_key_256 = "00010203 04050607 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f";

/// What RFC 7714 calls the packet: header, ciphertext, tag.
SrtpBytes gcm(Suite suite, const char* key, const Position& at, const char* header_hex, const char* text_hex,
              const char* suffix_hex) {
  const auto transform = make_transform(suite, keys_of(from_hex(key), from_hex(k_salt)));
  const SrtpBytes header = from_hex(header_hex);
  SrtpBytes payload = from_hex(text_hex);
  const SrtpBytes suffix = from_hex(suffix_hex);
  SrtpBytes tag(16);
  transform->seal(at, {header, payload, suffix}, tag);
  SrtpBytes packet = payload;
  packet.insert(packet.end(), tag.begin(), tag.end());
  REQUIRE(transform->open(at, {header, payload, suffix}, tag));
  CHECK(payload == from_hex(text_hex));
  return packet;
}

}  // namespace

TEST_CASE("srtp: AES-CM key stream (RFC 3711 §B.2)") {
  const char* key = "2B7E151628AED2A6ABF7158809CF4F3C";
  const char* salt = "F0F1F2F3F4F5F6F7F8F9FAFBFCFD";
  CHECK(key_stream(Suite::aes_cm_128_hmac_sha1_80, key, salt, 0, 48) ==
        from_hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0"));
  CHECK(key_stream(Suite::aes_cm_128_hmac_sha1_80, key, salt, 0xfeff, 48) ==
        from_hex("EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44"));
}

TEST_CASE("srtp: session keys of AES-CM 128 (RFC 3711 §B.3)") {
  const auto keying = Keying::make(Suite::aes_cm_128_hmac_sha1_80,
                                   from_hex("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6"));
  REQUIRE(keying);
  const SessionKeys keys = derive(*keying, Protocol::rtp);
  CHECK(bytes_of(keys.cipher.first(16)) == from_hex("C61E7A93744F39EE10734AFE3FF7A087"));
  CHECK(bytes_of(keys.salt.first(14)) == from_hex("30CBBC08863D8C85D49DB34A9AE1"));
  CHECK(bytes_of(keys.auth.first(20)) == from_hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
}

TEST_CASE("srtp: session keys of AES-CM 256 (RFC 6188 §7.4)") {
  const auto keying = Keying::make(Suite::aes_256_cm_hmac_sha1_80,
                                   from_hex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6"
                                            "3b04803de51ee7c96423ab5b78d2"));
  REQUIRE(keying);
  const SessionKeys keys = derive(*keying, Protocol::rtp);
  CHECK(bytes_of(keys.cipher.first(32)) == from_hex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4"));
  CHECK(bytes_of(keys.salt.first(14)) == from_hex("fa31791685ca444a9e07c6c64e93"));
  CHECK(bytes_of(keys.auth.first(20)) == from_hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
}

TEST_CASE("srtp: RTP by AEAD_AES_128_GCM (RFC 7714 §16.1)") {
  CHECK(gcm(Suite::aead_aes_128_gcm, k_key_128, {0x5501a0b2, 0xf17b}, k_rtp, k_rtp_text, "") ==
        from_hex("f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 "
                 "6a9152cf 765ee439 0cce"));
}

TEST_CASE("srtp: RTP by AEAD_AES_256_GCM (RFC 7714 §16.2)") {
  CHECK(gcm(Suite::aead_aes_256_gcm, k_key_256, {0x5501a0b2, 0xf17b}, k_rtp, k_rtp_text, "") ==
        from_hex("32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff "
                 "d6b0f9bb 7878d7a7 6c13"));
}

TEST_CASE("srtp: RTCP by AEAD_AES_128_GCM (RFC 7714 §17.1)") {
  CHECK(gcm(Suite::aead_aes_128_gcm, k_key_128, {0x4d617273, 0x5d4}, k_rtcp, k_rtcp_text, "800005d4") ==
        from_hex("63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b "
                 "c84aa458 96cf4d2f c5abf872 45d9eade"));
}

TEST_CASE("srtp: RTCP by AEAD_AES_256_GCM (RFC 7714 §17.2)") {
  CHECK(gcm(Suite::aead_aes_256_gcm, k_key_256, {0x4d617273, 0x5d4}, k_rtcp, k_rtcp_text, "800005d4") ==
        from_hex("d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be 8415f658 c61de047 6f1b6fad "
                 "1d1eb30c 4446839f 57ff6f6c b26ac3be"));
}
