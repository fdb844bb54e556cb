#include "sip/siphash.hpp"

#include <bit>
#include <cstring>

namespace sipfarm::sip {
namespace {

constexpr std::size_t word_bytes = 8;

std::uint64_t little_endian(const void* bytes) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, word_bytes);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return word;
}

void round(std::array<std::uint64_t, 4>& v) noexcept {
  v[0] += v[1];
  v[2] += v[3];
  v[1] = std::rotl(v[1], 13) ^ v[0];
  v[3] = std::rotl(v[3], 16) ^ v[2];
  v[0] = std::rotl(v[0], 32);
  v[2] += v[1];
  v[0] += v[3];
  v[1] = std::rotl(v[1], 17) ^ v[2];
  v[3] = std::rotl(v[3], 21) ^ v[0];
  v[2] = std::rotl(v[2], 32);
}

}  // namespace

SipHasher::SipHasher(const SipKey& key) noexcept {
  const std::uint64_t k0 = little_endian(key.data());
  const std::uint64_t k1 = little_endian(key.data() + word_bytes);
  // The four constants spell "somepseudorandomlygeneratedbytes".
  v_ = {k0 ^ 0x736f6d6570736575ULL, k1 ^ 0x646f72616e646f6dULL, k0 ^ 0x6c7967656e657261ULL, k1 ^ 0x7465646279746573ULL};
}

void SipHasher::absorb(std::uint64_t word) noexcept {
  v_[3] ^= word;
  round(v_);
  round(v_);
  v_[0] ^= word;
}

SipHasher& SipHasher::add(std::uint64_t value) noexcept {
  const auto shift = 8 * (length_bytes_ % word_bytes);
  length_bytes_ += word_bytes;
  absorb(tail_ | value << shift);
  tail_ = shift == 0 ? 0 : value >> (64 - shift);
  return *this;
}

SipHasher& SipHasher::add(std::string_view bytes) noexcept {
  for (; bytes.size() >= word_bytes; bytes.remove_prefix(word_bytes)) add(little_endian(bytes.data()));
  for (const char byte : bytes) {
    const auto shift = 8 * (length_bytes_ % word_bytes);
    tail_ |= std::uint64_t{static_cast<unsigned char>(byte)} << shift;
    if (++length_bytes_ % word_bytes != 0) continue;
    absorb(tail_);
    tail_ = 0;
  }
  return *this;
}

std::uint64_t SipHasher::finish() const noexcept {
  SipHasher last = *this;
  last.absorb(tail_ | std::uint64_t{length_bytes_ & 0xff} << 56);
  last.v_[2] ^= 0xff;
  for (int i = 0; i < 4; ++i) round(last.v_);
  return last.v_[0] ^ last.v_[1] ^ last.v_[2] ^ last.v_[3];
}

std::uint64_t siphash(const SipKey& key, std::string_view bytes) noexcept { return SipHasher{key}.add(bytes).finish(); }

}  // namespace sipfarm::sip
