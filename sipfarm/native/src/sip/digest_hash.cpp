#include <bit>
#include <utility>

#include "sip/digest.hpp"

// The hashes of digest authentication. They are here since a call of a library costs more than these short texts.

namespace sipfarm::sip {

namespace {

constexpr std::size_t block_bytes = 64;

/// Feeds `bytes` with their padding (0x80, zeros, length in bits) block by block; both hashes pad alike but for the length's byte order.
template <typename Block>
void each_block(std::string_view bytes, bool big_endian_length, Block block) noexcept {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  std::size_t at = 0;
  for (; bytes.size() - at >= block_bytes; at += block_bytes) block(data + at);
  std::array<std::uint8_t, 2 * block_bytes> tail{};
  const std::size_t rest = bytes.size() - at;
  for (std::size_t i = 0; i < rest; ++i) tail[i] = data[at + i];
  tail[rest] = 0x80;
  const std::size_t total = rest + 9 <= block_bytes ? block_bytes : 2 * block_bytes;
  const std::uint64_t bits = std::uint64_t{bytes.size()} * 8;
  for (std::size_t i = 0; i < 8; ++i) {
    const std::size_t shift = big_endian_length ? 56 - 8 * i : 8 * i;
    tail[total - 8 + i] = static_cast<std::uint8_t>(bits >> shift);
  }
  for (std::size_t i = 0; i < total; i += block_bytes) block(tail.data() + i);
}

constexpr std::uint32_t word_le(const std::uint8_t* at) noexcept {
  return std::uint32_t{at[0]} | std::uint32_t{at[1]} << 8 | std::uint32_t{at[2]} << 16 | std::uint32_t{at[3]} << 24;
}

constexpr std::uint32_t word_be(const std::uint8_t* at) noexcept {
  return std::uint32_t{at[0]} << 24 | std::uint32_t{at[1]} << 16 | std::uint32_t{at[2]} << 8 | std::uint32_t{at[3]};
}

/// floor(2^32 * |sin(i + 1)|) (RFC 1321 §3.4).
constexpr std::array<std::uint32_t, 64> md5_constants = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1,
    0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453,
    0xd8a1e681, 0xe7d3fbc8, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a, 0xfffa3942,
    0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05,
    0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665, 0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d,
    0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
constexpr std::array<int, 16> md5_turns = {7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21};

/// Step I of 64; the registers change their places instead of their values.
template <unsigned I>
inline void md5_step(std::array<std::uint32_t, 4>& registers, const std::array<std::uint32_t, 16>& words) noexcept {
  std::uint32_t& a = registers[(64 - I) % 4];
  const std::uint32_t b = registers[(65 - I) % 4];
  const std::uint32_t c = registers[(66 - I) % 4];
  const std::uint32_t d = registers[(67 - I) % 4];
  std::uint32_t mixed = 0;
  unsigned word = 0;
  switch (I / 16) {
    case 0: mixed = d ^ (b & (c ^ d)); word = I; break;
    case 1: mixed = c ^ (d & (b ^ c)); word = (5 * I + 1) % 16; break;
    case 2: mixed = b ^ c ^ d; word = (3 * I + 5) % 16; break;
    default: mixed = c ^ (b | ~d); word = (7 * I) % 16; break;
  }
  a = b + std::rotl(a + mixed + md5_constants[I] + words[word], md5_turns[I / 16 * 4 + I % 4]);
}

template <std::size_t... I>
inline void md5_steps(std::array<std::uint32_t, 4>& registers, const std::array<std::uint32_t, 16>& words, std::index_sequence<I...>) noexcept {
  (md5_step<I>(registers, words), ...);
}

void md5_block(std::array<std::uint32_t, 4>& state, const std::uint8_t* block) noexcept {
  std::array<std::uint32_t, 16> words{};
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = word_le(block + 4 * i);
  std::array<std::uint32_t, 4> registers = state;
  md5_steps(registers, words, std::make_index_sequence<64>{});
  for (std::size_t i = 0; i < state.size(); ++i) state[i] += registers[i];
}

/// The fractions of the cube roots of the first primes (FIPS 180-4 §4.2.2).
constexpr std::array<std::uint32_t, 64> sha256_constants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
    0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
    0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
    0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
    0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
    0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

void sha256_block(std::array<std::uint32_t, 8>& state, const std::uint8_t* block) noexcept {
  std::array<std::uint32_t, 64> schedule{};
  for (std::size_t i = 0; i < 16; ++i) schedule[i] = word_be(block + 4 * i);
  for (std::size_t i = 16; i < 64; ++i) {
    const std::uint32_t x = schedule[i - 15];
    const std::uint32_t y = schedule[i - 2];
    schedule[i] = schedule[i - 16] + (std::rotr(x, 7) ^ std::rotr(x, 18) ^ (x >> 3)) + schedule[i - 7] +
                  (std::rotr(y, 17) ^ std::rotr(y, 19) ^ (y >> 10));
  }
  auto [a, b, c, d, e, f, g, h] = state;
  for (std::size_t i = 0; i < 64; ++i) {
    const std::uint32_t first = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) + sha256_constants[i] + schedule[i];
    const std::uint32_t second = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + first;
    d = c;
    c = b;
    b = a;
    a = first + second;
  }
  state = {state[0] + a, state[1] + b, state[2] + c, state[3] + d, state[4] + e, state[5] + f, state[6] + g, state[7] + h};
}

}  // namespace

std::array<std::uint8_t, 16> md5(std::string_view bytes) noexcept {
  std::array<std::uint32_t, 4> state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  each_block(bytes, false, [&](const std::uint8_t* block) { md5_block(state, block); });
  std::array<std::uint8_t, 16> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(state[i / 4] >> (8 * (i % 4)));
  return out;
}

std::array<std::uint8_t, 32> sha256(std::string_view bytes) noexcept {
  std::array<std::uint32_t, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  each_block(bytes, true, [&](const std::uint8_t* block) { sha256_block(state, block); });
  std::array<std::uint8_t, 32> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(state[i / 4] >> (24 - 8 * (i % 4)));
  return out;
}

}  // namespace sipfarm::sip
