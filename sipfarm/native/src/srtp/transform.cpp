#include "srtp/transform.hpp"

#include <nettle/aes.h>
#include <nettle/ctr.h>
#include <nettle/gcm.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>

#include <array>

namespace sipfarm::srtp {
namespace {

struct Aes128 {
  aes128_ctx ctx;
  explicit Aes128(const std::uint8_t* key) noexcept { aes128_set_encrypt_key(&ctx, key); }
  static void block(const void* ctx, std::size_t bytes, std::uint8_t* to, const std::uint8_t* from) noexcept {
    aes128_encrypt(static_cast<const aes128_ctx*>(ctx), bytes, to, from);
  }
};

struct Aes256 {
  aes256_ctx ctx;
  explicit Aes256(const std::uint8_t* key) noexcept { aes256_set_encrypt_key(&ctx, key); }
  static void block(const void* ctx, std::size_t bytes, std::uint8_t* to, const std::uint8_t* from) noexcept {
    aes256_encrypt(static_cast<const aes256_ctx*>(ctx), bytes, to, from);
  }
};

void xor_word(std::uint8_t* at, std::uint64_t word, std::size_t bytes) noexcept {
  for (std::size_t i = 0; i < bytes; ++i) at[i] ^= static_cast<std::uint8_t>(word >> (8U * (bytes - 1 - i)));
}

/// AES in counter mode with HMAC-SHA1 (RFC 3711 §4.1.1, §4.2.1; RFC 6188).
template <typename Aes>
class CounterMode final : public Transform {
 public:
  explicit CounterMode(const SessionKeys& keys) noexcept : aes_{keys.cipher.data()}, salt_{keys.salt} {
    hmac_sha1_set_key(&hmac_, 20, keys.auth.data());
  }
  ~CounterMode() override {
    ::explicit_bzero(&aes_, sizeof aes_);
    ::explicit_bzero(&hmac_, sizeof hmac_);
  }
  CounterMode(const CounterMode&) = delete;
  CounterMode& operator=(const CounterMode&) = delete;

  void seal(const Position& at, const Parts& parts, std::span<std::uint8_t> tag) noexcept override {
    crypt(at, parts.payload);
    authenticate(parts, tag);
  }

  bool open(const Position& at, const Parts& parts, std::span<const std::uint8_t> tag) noexcept override {
    std::array<std::uint8_t, k_tag_bytes_max> expected;  // filled as far as the tag is long
    authenticate(parts, std::span{expected}.first(tag.size()));
    if (!nettle_memeql_sec(expected.data(), tag.data(), tag.size())) return false;
    crypt(at, parts.payload);
    return true;
  }

 private:
  void crypt(const Position& at, std::span<std::uint8_t> payload) noexcept {
    std::array<std::uint8_t, 16> counter{};
    std::ranges::copy(salt_.first(14), counter.begin());
    xor_word(counter.data() + 4, at.ssrc, 4);
    xor_word(counter.data() + 8, at.index, 6);
    nettle_ctr_crypt(&aes_.ctx, &Aes::block, 16, counter.data(), payload.size(), payload.data(), payload.data());
  }

  void authenticate(const Parts& parts, std::span<std::uint8_t> tag) noexcept {
    hmac_sha1_update(&hmac_, parts.header.size(), parts.header.data());
    hmac_sha1_update(&hmac_, parts.payload.size(), parts.payload.data());
    hmac_sha1_update(&hmac_, parts.suffix.size(), parts.suffix.data());
    hmac_sha1_digest(&hmac_, tag.size(), tag.data());
  }

  Aes aes_;
  hmac_sha1_ctx hmac_;
  SecretBytes<14> salt_;
};

/// AES in Galois/counter mode (RFC 7714).
template <typename Aes>
class GaloisCounterMode final : public Transform {
 public:
  explicit GaloisCounterMode(const SessionKeys& keys) noexcept : aes_{keys.cipher.data()}, salt_{keys.salt} {
    gcm_set_key(&key_, &aes_.ctx, &Aes::block);
  }
  ~GaloisCounterMode() override {
    ::explicit_bzero(&aes_, sizeof aes_);
    ::explicit_bzero(&key_, sizeof key_);
    ::explicit_bzero(&gcm_, sizeof gcm_);
  }
  GaloisCounterMode(const GaloisCounterMode&) = delete;
  GaloisCounterMode& operator=(const GaloisCounterMode&) = delete;

  void seal(const Position& at, const Parts& parts, std::span<std::uint8_t> tag) noexcept override {
    begin(at, parts);
    gcm_encrypt(&gcm_, &key_, &aes_.ctx, &Aes::block, parts.payload.size(), parts.payload.data(), parts.payload.data());
    gcm_digest(&gcm_, &key_, &aes_.ctx, &Aes::block, tag.size(), tag.data());
  }

  bool open(const Position& at, const Parts& parts, std::span<const std::uint8_t> tag) noexcept override {
    std::array<std::uint8_t, k_tag_bytes_max> expected;  // filled as far as the tag is long
    begin(at, parts);
    gcm_decrypt(&gcm_, &key_, &aes_.ctx, &Aes::block, parts.payload.size(), parts.payload.data(), parts.payload.data());
    gcm_digest(&gcm_, &key_, &aes_.ctx, &Aes::block, tag.size(), expected.data());
    if (nettle_memeql_sec(expected.data(), tag.data(), tag.size())) return true;
    begin(at, parts);  // the same key stream once more: the payload is what it was
    gcm_encrypt(&gcm_, &key_, &aes_.ctx, &Aes::block, parts.payload.size(), parts.payload.data(), parts.payload.data());
    return false;
  }

 private:
  /// AAD comes in whole blocks but for its last piece, so header and suffix of RTCP go in as one (RFC 7714 §9.2).
  void begin(const Position& at, const Parts& parts) noexcept {
    std::array<std::uint8_t, GCM_IV_SIZE> iv{};
    std::ranges::copy(salt_.first(12), iv.begin());
    xor_word(iv.data() + 2, at.ssrc, 4);
    xor_word(iv.data() + 6, at.index, 6);
    gcm_set_iv(&gcm_, &key_, iv.size(), iv.data());
    if (parts.suffix.empty()) return gcm_update(&gcm_, &key_, parts.header.size(), parts.header.data());
    std::array<std::uint8_t, 12> joined;
    std::ranges::copy(parts.suffix.first(4), std::ranges::copy(parts.header.first(8), joined.begin()).out);
    gcm_update(&gcm_, &key_, joined.size(), joined.data());
  }

  Aes aes_;
  gcm_key key_;
  gcm_ctx gcm_;
  SecretBytes<14> salt_;
};

/// Label and rate of RFC 3711 §4.3.1; the index is 0, since no key derivation rate is agreed to (RFC 4568 §6.3.1). A salt
/// of 96 bits is followed by zeros (RFC 7714 §11).
void derive_one(const Keying& keying, std::uint8_t label, std::span<std::uint8_t> out) noexcept {
  std::array<std::uint8_t, 16> counter{};
  std::ranges::copy(keying.salt(), counter.begin());
  counter[7] ^= label;
  std::ranges::fill(out, std::uint8_t{0});
  const auto run = [&](auto& aes) {
    nettle_ctr_crypt(&aes.ctx, &aes.block, 16, counter.data(), out.size(), out.data(), out.data());
    ::explicit_bzero(&aes, sizeof aes);
  };
  if (keying.key().size() == 16) {
    Aes128 aes{keying.key().data()};
    run(aes);
  } else {
    Aes256 aes{keying.key().data()};
    run(aes);
  }
}

}  // namespace

SessionKeys derive(const Keying& keying, Protocol protocol) noexcept {
  const SuiteFacts& suite = facts(keying.suite);
  const std::uint8_t first_label = protocol == Protocol::rtp ? 0 : 3;
  SessionKeys keys;
  derive_one(keying, first_label, keys.cipher.first(suite.key_bytes));
  if (!suite.aead) derive_one(keying, static_cast<std::uint8_t>(first_label + 1), keys.auth.first(20));
  derive_one(keying, static_cast<std::uint8_t>(first_label + 2), keys.salt.first(suite.salt_bytes));
  return keys;
}

std::unique_ptr<Transform> make_transform(Suite suite, const SessionKeys& keys) {
  const bool wide = facts(suite).key_bytes == 32;
  if (facts(suite).aead) {
    if (wide) return std::make_unique<GaloisCounterMode<Aes256>>(keys);
    return std::make_unique<GaloisCounterMode<Aes128>>(keys);
  }
  if (wide) return std::make_unique<CounterMode<Aes256>>(keys);
  return std::make_unique<CounterMode<Aes128>>(keys);
}

}  // namespace sipfarm::srtp
