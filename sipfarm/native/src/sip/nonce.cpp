#include "sip/nonce.hpp"

#include <algorithm>
#include <cstring>

#include "sip/digest.hpp"

namespace sipfarm::sip {

namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t no_digit = 64;

constexpr std::array<std::uint8_t, 256> make_digits() {
  std::array<std::uint8_t, 256> out{};
  out.fill(no_digit);
  for (std::size_t i = 0; i < alphabet.size(); ++i) out[static_cast<unsigned char>(alphabet[i])] = static_cast<std::uint8_t>(i);
  return out;
}
constexpr std::array<std::uint8_t, 256> digits = make_digits();

using Token = std::array<std::uint8_t, nonce_bytes>;
static_assert(nonce_bytes % 3 == 0, "base64 without padding");

void append_base64(std::string& out, const Token& token) {
  for (std::size_t i = 0; i < token.size(); i += 3) {
    const unsigned word = unsigned{token[i]} << 16 | unsigned{token[i + 1]} << 8 | token[i + 2];
    for (const int shift : {18, 12, 6, 0}) out += alphabet[word >> shift & 63];
  }
}

bool read_base64(std::string_view text, Token& token) noexcept {
  if (text.size() != nonce_chars) return false;
  for (std::size_t i = 0, at = 0; i < text.size(); i += 4, at += 3) {
    unsigned word = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const std::uint8_t digit = digits[static_cast<unsigned char>(text[i + k])];
      if (digit == no_digit) return false;
      word = word << 6 | digit;
    }
    token[at] = static_cast<std::uint8_t>(word >> 16);
    token[at + 1] = static_cast<std::uint8_t>(word >> 8);
    token[at + 2] = static_cast<std::uint8_t>(word);
  }
  return true;
}

/// `count` bytes of a number, the most significant first.
void put(std::uint8_t* at, std::uint64_t number, int count) noexcept {
  for (int shift = (count - 1) * 8; shift >= 0; shift -= 8) *at++ = static_cast<std::uint8_t>(number >> shift);
}

std::uint64_t hash_of(const NonceStamp& stamp) noexcept {
  std::uint64_t head = 0;
  std::uint32_t tail = 0;
  std::memcpy(&head, stamp.data(), sizeof head);
  std::memcpy(&tail, stamp.data() + sizeof head, sizeof tail);
  const std::uint64_t mixed = (head ^ std::uint64_t{tail} * 0x9e3779b97f4a7c15ULL) * 0xff51afd7ed558ccdULL;
  return mixed ^ (mixed >> 33);
}

}  // namespace

std::int64_t issued_wall_ms(const NonceStamp& stamp) noexcept {
  std::int64_t wall_ms = 0;
  for (std::size_t i = 0; i < 6; ++i) wall_ms = wall_ms << 8 | stamp[i];
  return wall_ms;
}

NonceMint::NonceMint(std::span<const std::string> keys, std::uint16_t member, NonceHolder holder) : member_{member}, holder_{holder} {
  for (const std::string& key : keys) {
    const auto hash = sha256(key);
    Key& made = keys_.emplace_back();
    std::copy_n(hash.begin(), made.first.size(), made.first.begin());
    std::copy_n(hash.begin() + made.first.size(), made.second.size(), made.second.begin());
  }
}

void NonceMint::mint(std::string& out, const net::Address& source, std::int64_t wall_ms) {
  NonceStamp stamp{};
  put(stamp.data(), static_cast<std::uint64_t>(wall_ms), 6);
  put(stamp.data() + 6, member_, 2);
  put(stamp.data() + 8, ++counter_, 4);
  Token token{};
  std::copy(stamp.begin(), stamp.end(), token.begin());
  const Mac proof = mac(keys_.front(), stamp, source);
  std::copy(proof.begin(), proof.end(), token.begin() + stamp.size());
  append_base64(out, token);
}

std::optional<NonceStamp> NonceMint::recognise(std::string_view nonce, const net::Address& source) const noexcept {
  Token token{};
  if (!read_base64(nonce, token)) return std::nullopt;
  NonceStamp stamp{};
  std::copy_n(token.begin(), stamp.size(), stamp.begin());
  for (const Key& key : keys_) {
    const Mac expected = mac(key, stamp, source);
    unsigned difference = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) difference |= unsigned{expected[i]} ^ token[stamp.size() + i];
    if (difference == 0) return stamp;
  }
  return std::nullopt;
}

NonceMint::Mac NonceMint::mac(const Key& key, const NonceStamp& stamp, const net::Address& source) const noexcept {
  std::array<std::uint8_t, std::tuple_size_v<NonceStamp> + 19> text{};
  std::copy(stamp.begin(), stamp.end(), text.begin());
  std::uint8_t* holder = text.data() + stamp.size();
  std::copy(source.ip.begin(), source.ip.end(), holder);
  holder[16] = source.v6 ? 1 : 0;
  put(holder + 17, holder_ == NonceHolder::port ? source.port : 0, 2);
  const std::string_view bytes{reinterpret_cast<const char*>(text.data()), text.size()};
  Mac out{};
  put(out.data(), siphash(key.first, bytes), 8);
  put(out.data() + 8, siphash(key.second, bytes) >> 32, 4);
  return out;
}

NonceUse NonceCounts::judge(const NonceStamp& stamp, std::uint32_t count, std::uint64_t transaction, std::int64_t wall_ms) {
  const std::uint64_t key = hash_of(stamp);
  if (const std::uint64_t number = numbers_.find(key); number != 0) {
    Nonce& known = nonces_[static_cast<std::size_t>(number - first_number_)];
    return known.stamp == stamp ? judge_again(known, count, transaction, wall_ms) : NonceUse::forgotten;
  }
  if (issued_wall_ms(stamp) <= forgotten_wall_ms_) return NonceUse::forgotten;
  numbers_.put(key, first_number_ + nonces_.size());
  nonces_.push_back({stamp, {count, transaction, wall_ms}, {}, -1});
  if (nonces_.size() > nonces_max_) {
    forgotten_wall_ms_ = std::max(forgotten_wall_ms_, issued_wall_ms(nonces_.front().stamp));
    drop_first();
  }
  return NonceUse::first;
}

NonceUse NonceCounts::judge_again(Nonce& nonce, std::uint32_t count, std::uint64_t transaction, std::int64_t wall_ms) {
  const auto judged = [&](const Use& use) {
    const bool same = use.transaction == transaction && wall_ms - use.first_wall_ms <= same_transaction_ms;
    return same ? NonceUse::same_transaction : NonceUse::replay;
  };
  if (nonce.first.count == count) return judged(nonce.first);
  for (const Use& use : nonce.later) {
    if (use.count == count) return judged(use);
  }
  if (count <= nonce.floor) return NonceUse::replay;
  nonce.later.push_back({count, transaction, wall_ms});
  if (nonce.later.size() >= counts_max_) {
    nonce.floor = std::max<std::int64_t>(nonce.floor, nonce.first.count);
    nonce.first = nonce.later.front();
    nonce.later.erase(nonce.later.begin());
  }
  return NonceUse::first;
}

void NonceCounts::expire(std::int64_t issued_before_wall_ms) {
  while (!nonces_.empty() && issued_wall_ms(nonces_.front().stamp) < issued_before_wall_ms) drop_first();
}

void NonceCounts::drop_first() {
  numbers_.erase(hash_of(nonces_.front().stamp));
  nonces_.pop_front();
  ++first_number_;
}

}  // namespace sipfarm::sip
