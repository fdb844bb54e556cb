#include <doctest/doctest.h>

#include <set>

#include "sip/nonce.hpp"

// Digest nonces and the memory of their use (RFC 7616 §5.4, §5.12).

using namespace sipfarm;
using namespace sipfarm::sip;

namespace {

constexpr std::int64_t now_ms = 1'700'000'000'000;
const std::vector<std::string> keys = {std::string(32, 'k')};
const std::vector<std::string> both_keys = {std::string(32, 'o'), std::string(32, 'k')};
const net::Address phone = *net::Address::parse("192.0.2.10", 5060);
const net::Address neighbour = *net::Address::parse("192.0.2.10", 5062);

std::string minted(NonceMint& mint, const net::Address& source = phone) {
  std::string nonce;
  mint.mint(nonce, source, now_ms);
  return nonce;
}

NonceStamp stamp_of(std::int64_t wall_ms, std::uint8_t counter = 0) {
  NonceStamp stamp{};
  for (std::size_t i = 0; i < 6; ++i) stamp[i] = static_cast<std::uint8_t>(wall_ms >> (40 - 8 * i));
  stamp[11] = counter;
  return stamp;
}

}  // namespace

TEST_CASE("a nonce is recognised by any member, by its source alone") {
  NonceMint mint{keys, 1, NonceHolder::port};
  const NonceMint other{both_keys, 2, NonceHolder::port};
  const std::string nonce = minted(mint);
  CHECK(nonce.size() == nonce_chars);
  const auto stamp = other.recognise(nonce, phone);
  REQUIRE(stamp);
  CHECK(issued_wall_ms(*stamp) == now_ms);
  CHECK_FALSE(other.recognise(nonce, neighbour));
  CHECK_FALSE(NonceMint(std::vector<std::string>{std::string(32, 'x')}, 1, NonceHolder::port).recognise(nonce, phone));
}

TEST_CASE("a nonce held by a host is good from its other ports") {
  NonceMint mint{keys, 1, NonceHolder::host};
  const std::string nonce = minted(mint);
  CHECK(mint.recognise(nonce, neighbour));
  CHECK_FALSE(mint.recognise(nonce, *net::Address::parse("192.0.2.11", 5060)));
  CHECK_FALSE(mint.recognise(nonce, *net::Address::parse("2001:db8::1", 5060)));
}

TEST_CASE("no two nonces are equal, and none is good with a character changed or missing") {
  NonceMint mint{keys, 1, NonceHolder::port};
  std::set<std::string> nonces;
  for (int i = 0; i < 100; ++i) nonces.insert(minted(mint));
  CHECK(nonces.size() == 100);
  const std::string nonce = minted(mint);
  for (std::size_t i = 0; i < nonce.size(); ++i) {
    for (const char c : {'A', '/', '=', '\0', '\xff'}) {
      std::string changed = nonce;
      changed[i] = c;
      if (changed != nonce) CHECK_FALSE(mint.recognise(changed, phone));
    }
    CHECK_FALSE(mint.recognise(nonce.substr(0, i), phone));
  }
}

TEST_CASE("a count is good for one transaction") {
  NonceCounts counts{100, 4};
  const NonceStamp stamp = stamp_of(now_ms);
  CHECK(counts.judge(stamp, 1, 7, now_ms) == NonceUse::first);
  CHECK(counts.judge(stamp, 1, 7, now_ms + NonceCounts::same_transaction_ms) == NonceUse::same_transaction);
  CHECK(counts.judge(stamp, 1, 7, now_ms + NonceCounts::same_transaction_ms + 1) == NonceUse::replay);
  CHECK(counts.judge(stamp, 1, 8, now_ms) == NonceUse::replay);
  for (std::uint32_t count = 2; count < 7; ++count) CHECK(counts.judge(stamp, count, count, now_ms) == NonceUse::first);
  CHECK(counts.judge(stamp, 2, 2, now_ms) == NonceUse::replay);  // below the window
}

TEST_CASE("the memory is bounded, and what it lost is not good again") {
  NonceCounts counts{2, 4};
  for (std::uint8_t i = 0; i < 4; ++i) CHECK(counts.judge(stamp_of(now_ms + i, i), 1, 1, now_ms) == NonceUse::first);
  CHECK(counts.size() == 2);
  CHECK(counts.judge(stamp_of(now_ms), 1, 1, now_ms) == NonceUse::forgotten);
  counts.expire(now_ms + 3);
  CHECK(counts.size() == 1);
  counts.expire(now_ms + 4);
  CHECK(counts.size() == 0);
}
