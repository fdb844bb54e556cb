#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/address.hpp"
#include "sip/key_map.hpp"
#include "sip/siphash.hpp"

/// Digest nonces that any member can judge, and the memory of their use (RFC 7616 §5.4, §5.12).
///
/// A nonce is its time of issue, a number no other nonce has, and a MAC by a key of the farm over both and the source it was given to. So no
/// member keeps what it issued. A member does keep which nonce counts were used *on it*: the same count in a second transaction is a replay.
///
/// What that leaves open: a member does not know the counts used on another one. Who can read a request and can send from the very source it
/// came from may replay it once on each other member while the nonce lives. A replayed REGISTER changes nothing (the store refuses its CSeq),
/// the answer goes to the true source, and the lifetime is short.
namespace sipfarm::sip {

/// What makes a nonce unlike any other: wall clock in ms 6 bytes, member number 2, counter 4.
using NonceStamp = std::array<std::uint8_t, 12>;

constexpr std::size_t nonce_mac_bytes = 12;
constexpr std::size_t nonce_bytes = std::tuple_size_v<NonceStamp> + nonce_mac_bytes;
constexpr std::size_t nonce_chars = nonce_bytes * 4 / 3;
constexpr std::size_t nonce_key_bytes_min = 16;

/// When a nonce was issued, by the clock of the member that did.
std::int64_t issued_wall_ms(const NonceStamp& stamp) noexcept;

/// Which part of its source a nonce holds for. `port`: address and port; a phone whose NAT gave it a new port, or that reconnected, is asked
/// once more (`stale`). `host`: the address alone; for a balancer that rewrites addresses, where one phone comes from several ports. Replay from
/// another port of that address is then not seen here, only by its nonce count.
enum class NonceHolder : std::uint8_t { port, host };

/// Makes and recognises nonces.
class NonceMint {
 public:
  /// Keys: the current one first, then those still accepted; each has `nonce_key_bytes_min` or more.
  NonceMint(std::span<const std::string> keys, std::uint16_t member, NonceHolder holder);

  /// Appends a nonce for this source, unlike any other.
  void mint(std::string& out, const net::Address& source, std::int64_t wall_ms);
  /// The stamp of a nonce that a member of this farm gave to this source.
  std::optional<NonceStamp> recognise(std::string_view nonce, const net::Address& source) const noexcept;

 private:
  struct Key {
    SipKey first{};
    SipKey second{};
  };
  using Mac = std::array<std::uint8_t, nonce_mac_bytes>;
  Mac mac(const Key& key, const NonceStamp& stamp, const net::Address& source) const noexcept;

  std::vector<Key> keys_;
  std::uint32_t counter_ = 0;
  std::uint16_t member_;
  NonceHolder holder_;
};

/// What using a nonce count means.
enum class NonceUse : std::uint8_t {
  first,
  same_transaction,  // a retransmission, or a second look at the same request
  replay,
  forgotten          // too old a nonce to say: the memory of its time was given up
};

/// Judges nonce counts per transaction (RFC 7616 §3.4.5); they may skip and overtake. A full memory forgets the nonces it met first, and asks
/// their phones again.
class NonceCounts {
 public:
  /// How long a transaction may be seen again: 64*T1 (RFC 3261 §17.2).
  static constexpr std::int64_t same_transaction_ms = 32'000;

  /// `counts_max` of one nonce: how far parallel requests may overtake each other.
  NonceCounts(std::size_t nonces_max, std::size_t counts_max) : nonces_max_{std::max<std::size_t>(nonces_max, 1)}, counts_max_{counts_max} {}

  std::size_t size() const noexcept { return nonces_.size(); }
  /// Notes the use of a nonce count and judges it. Without qop the count is 0: good once.
  NonceUse judge(const NonceStamp& stamp, std::uint32_t count, std::uint64_t transaction, std::int64_t wall_ms);
  /// Forgets nonces that no longer live; their lifetime refuses them from here on.
  void expire(std::int64_t issued_before_wall_ms);

 private:
  struct Use {
    std::uint32_t count = 0;
    std::uint64_t transaction = 0;
    std::int64_t first_wall_ms = 0;
  };
  struct Nonce {
    NonceStamp stamp{};
    Use first;                // most are used once
    std::vector<Use> later;   // in the order they came
    std::int64_t floor = -1;  // the highest count that is no longer in either
  };
  NonceUse judge_again(Nonce& nonce, std::uint32_t count, std::uint64_t transaction, std::int64_t wall_ms);
  void drop_first();

  std::deque<Nonce> nonces_;         // which was met first, is first
  KeyMap numbers_;                   // of the nonces, by a hash of the stamp: counted from 1, as they were met
  std::uint64_t first_number_ = 1;   // of `nonces_`
  std::size_t nonces_max_;
  std::size_t counts_max_;
  std::int64_t forgotten_wall_ms_ = -1;
};

}  // namespace sipfarm::sip
