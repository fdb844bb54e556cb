#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "net/hop.hpp"
#include "sip/siphash.hpp"

// Who may begin new work here: a bound for the work of senders who have proven nothing, and bans for those who do harm. What stands (calls,
// transactions, responses) never asks. docs/adr/0010-protection-by-source.md says why it is as it is.

namespace sipfarm::sip {

struct Network {
  net::Address address;
  std::uint8_t prefix_bits = 32;

  bool contains(const net::Address& other) const noexcept;
};

struct ProtectConfig {
  bool enabled = false;
  std::int64_t unproven_per_s = 200;          // new requests of one address that has proven nothing; 0: no bound
  std::int64_t unproven_total_per_s = 5'000;  // of all such addresses together; 0: no bound
  std::int64_t burst_s = 10;                  // so much of either rate may come at once
  std::int64_t faults_max = 30;               // then an address is banned; 0: never
  std::int64_t fault_forgiven_ms = 10'000;    // one fault is forgiven each time
  std::int64_t ban_ms = 300'000;
  std::int64_t proof_ms = 3'600'000;  // a proof is good for so long
  std::size_t sources_max = 16'384;
  std::size_t flows_max = 65'536;
  std::vector<Network> exempt;
};

/// What is held against an address.
enum class Fault : std::uint8_t {
  malformed,    // no SIP
  credentials,  // a digest over a nonce that was given to this very source, with a wrong password
  foreign,      // asks for what is not the farm's, or not for strangers
};
inline constexpr std::array<const char*, 3> fault_names = {"malformed", "credentials", "foreign"};

enum class Admission : std::uint8_t { admitted, over_rate, banned };

struct Ban {
  net::Address address;  // of an IPv6 network of 64 bits the first
  std::int64_t until_ms = 0;
  Fault fault = Fault::malformed;
};

/// A leaky bucket, kept as the time at which it will have run dry.
struct Bucket {
  std::int64_t dry_us = 0;

  /// Puts `drop_us` worth of leaking in; false, and nothing is put in, where more than `size_us` would be.
  bool fill(std::int64_t now_us, std::int64_t drop_us, std::int64_t size_us) noexcept;
  void take_back(std::int64_t drop_us) noexcept { dry_us -= drop_us; }
};

class Protect {
 public:
  struct Counters {
    std::array<std::uint64_t, fault_names.size()> faults{};
    std::uint64_t bans = 0;
    std::uint64_t forgotten = 0;  // addresses that still had something against them, given up for others
  };

  Protect(ProtectConfig config, const SipKey& key);

  /// Whether a request that begins something new is worked on. A flow (address and port) that has proven itself always is.
  Admission admit(const net::Hop& source, std::int64_t now_ms) noexcept;
  /// Whether its address is banned, and the flow has proven nothing.
  bool is_banned(const net::Hop& source, std::int64_t now_ms) noexcept;
  /// The sender has shown good credentials.
  void prove(const net::Hop& source, std::int64_t now_ms) noexcept;
  /// It has shown bad ones.
  void disprove(const net::Hop& source) noexcept;
  /// True: the address is banned from now on.
  bool fault(const net::Hop& source, Fault fault, std::int64_t now_ms) noexcept;

  std::vector<Ban> bans(std::int64_t now_ms) const;
  /// Forgets what is held against an address. False where it is not banned.
  bool unban(const net::Address& address, std::int64_t now_ms) noexcept;
  const Counters& counters() const noexcept { return counters_; }
  std::int64_t ban_ms() const noexcept { return config_.ban_ms; }

 private:
  static constexpr std::size_t ways = 4;  // places where an entry may stand

  struct Source {
    std::uint64_t prefix = 0;  // an IPv4 address, or the first 64 bits of an IPv6 one
    std::int64_t used_ms = 0;
    std::int64_t banned_until_ms = 0;
    std::int64_t proven_until_ms = 0;
    Bucket work;
    Bucket faults;
    Fault last = Fault::malformed;
    bool v6 = false;
    bool used = false;
  };
  struct Flow {
    std::uint64_t fingerprint = 0;
    std::int64_t proven_until_ms = 0;
  };

  bool is_exempt(const net::Address& address) const noexcept;
  std::span<Source> places_of(std::uint64_t prefix, bool v6) noexcept;
  Source* find(const net::Address& address) noexcept;
  Source& enter(const net::Address& address, std::int64_t now_ms) noexcept;
  bool is_proven(const net::Hop& source, std::int64_t now_ms) noexcept;
  std::uint64_t fingerprint_of(const net::Hop& source) const noexcept;
  std::span<Flow> places_of(std::uint64_t fingerprint) noexcept;

  ProtectConfig config_;
  SipKey key_;
  std::vector<Source> sources_;
  std::vector<Flow> flows_;
  Bucket total_;
  Counters counters_;
};

}  // namespace sipfarm::sip
