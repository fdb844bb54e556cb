#include "sip/protect.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>

namespace sipfarm::sip {

namespace {

constexpr std::int64_t second_us = 1'000'000;

std::uint64_t prefix_of(const net::Address& address) noexcept {
  std::uint64_t prefix = 0;
  std::memcpy(&prefix, address.ip.data(), address.v6 ? 8 : 4);
  return prefix;
}

net::Address address_of(std::uint64_t prefix, bool v6) noexcept {
  net::Address address;
  address.v6 = v6;
  std::memcpy(address.ip.data(), &prefix, v6 ? 8 : 4);
  return address;
}

}  // namespace

bool Network::contains(const net::Address& other) const noexcept {
  if (other.v6 != address.v6) return false;
  const std::size_t whole = prefix_bits / 8;
  if (std::memcmp(address.ip.data(), other.ip.data(), whole) != 0) return false;
  const unsigned rest = prefix_bits % 8;
  return rest == 0 || ((address.ip[whole] ^ other.ip[whole]) >> (8 - rest)) == 0;
}

bool Bucket::fill(std::int64_t now_us, std::int64_t drop_us, std::int64_t size_us) noexcept {
  const std::int64_t filled_us = std::max(dry_us, now_us) + drop_us;
  if (filled_us - now_us > size_us) return false;
  dry_us = filled_us;
  return true;
}

Protect::Protect(ProtectConfig config, const SipKey& key) : config_{std::move(config)}, key_{key} {
  if (!config_.enabled) return;
  sources_.resize(std::bit_ceil(std::max(config_.sources_max, ways)));
  flows_.resize(std::bit_ceil(std::max(config_.flows_max, ways)));
}

bool Protect::is_exempt(const net::Address& address) const noexcept {
  return std::any_of(config_.exempt.begin(), config_.exempt.end(), [&](const Network& network) { return network.contains(address); });
}

std::span<Protect::Source> Protect::places_of(std::uint64_t prefix, bool v6) noexcept {
  const std::uint64_t hash = SipHasher{key_}.add(prefix).add(std::uint64_t{v6}).finish();
  return {&sources_[hash & (sources_.size() - 1) & ~(ways - 1)], ways};
}

Protect::Source* Protect::find(const net::Address& address) noexcept {
  const std::uint64_t prefix = prefix_of(address);
  for (Source& source : places_of(prefix, address.v6)) {
    if (source.used && source.prefix == prefix && source.v6 == address.v6) return &source;
  }
  return nullptr;
}

/// The entry of an address; a new one takes the place of whichever is banned least and was used longest ago.
Protect::Source& Protect::enter(const net::Address& address, std::int64_t now_ms) noexcept {
  if (Source* known = find(address)) {
    known->used_ms = now_ms;
    return *known;
  }
  const std::uint64_t prefix = prefix_of(address);
  const auto places = places_of(prefix, address.v6);
  const auto worth = [&](const Source& source) { return std::pair{std::max(source.banned_until_ms, now_ms), source.used ? source.used_ms : INT64_MIN}; };
  Source& place = *std::min_element(places.begin(), places.end(), [&](const Source& a, const Source& b) { return worth(a) < worth(b); });
  if (place.used && (place.banned_until_ms > now_ms || place.faults.dry_us > now_ms * 1'000)) ++counters_.forgotten;
  place = {};
  place.prefix = prefix;
  place.v6 = address.v6;
  place.used = true;
  place.used_ms = now_ms;
  return place;
}

std::uint64_t Protect::fingerprint_of(const net::Hop& source) const noexcept {
  const auto* ip = reinterpret_cast<const char*>(source.remote.ip.data());
  return SipHasher{key_}.add(std::string_view{ip, source.remote.ip.size()}).add(std::uint64_t{source.remote.port}).finish() | 1;
}

std::span<Protect::Flow> Protect::places_of(std::uint64_t fingerprint) noexcept {
  return {&flows_[(fingerprint >> 1) & (flows_.size() - 1) & ~(ways - 1)], ways};
}

bool Protect::is_proven(const net::Hop& source, std::int64_t now_ms) noexcept {
  const std::uint64_t fingerprint = fingerprint_of(source);
  for (const Flow& flow : places_of(fingerprint)) {
    if (flow.fingerprint == fingerprint) return flow.proven_until_ms > now_ms;
  }
  return false;
}

Admission Protect::admit(const net::Hop& source, std::int64_t now_ms) noexcept {
  if (!config_.enabled || is_exempt(source.remote) || is_proven(source, now_ms)) return Admission::admitted;
  Source& known = enter(source.remote, now_ms);
  if (known.banned_until_ms > now_ms) return Admission::banned;
  const auto fits = [&](Bucket& bucket, std::int64_t per_s) {
    return per_s == 0 || bucket.fill(now_ms * 1'000, second_us / per_s, config_.burst_s * second_us);
  };
  if (!fits(known.work, config_.unproven_per_s)) return Admission::over_rate;
  return fits(total_, config_.unproven_total_per_s) ? Admission::admitted : Admission::over_rate;
}

bool Protect::is_banned(const net::Hop& source, std::int64_t now_ms) noexcept {
  if (!config_.enabled || is_exempt(source.remote)) return false;
  const Source* known = find(source.remote);
  return known != nullptr && known->banned_until_ms > now_ms && !is_proven(source, now_ms);
}

void Protect::prove(const net::Hop& source, std::int64_t now_ms) noexcept {
  if (!config_.enabled || is_exempt(source.remote)) return;
  const std::int64_t until_ms = now_ms + config_.proof_ms;
  const std::uint64_t fingerprint = fingerprint_of(source);
  const auto places = places_of(fingerprint);
  auto place = std::find_if(places.begin(), places.end(), [&](const Flow& flow) { return flow.fingerprint == fingerprint; });
  const bool first = place == places.end() || place->proven_until_ms <= now_ms;
  if (place == places.end()) {
    place = std::min_element(places.begin(), places.end(), [](const Flow& a, const Flow& b) { return a.proven_until_ms < b.proven_until_ms; });
  }
  *place = {fingerprint, until_ms};
  Source& known = enter(source.remote, now_ms);
  known.proven_until_ms = until_ms;
  if (!first) return;
  // The challenge and its answer were no idle work.
  if (config_.unproven_per_s != 0) known.work.take_back(2 * second_us / config_.unproven_per_s);
  if (config_.unproven_total_per_s != 0) total_.take_back(2 * second_us / config_.unproven_total_per_s);
}

void Protect::disprove(const net::Hop& source) noexcept {
  if (!config_.enabled) return;
  const std::uint64_t fingerprint = fingerprint_of(source);
  for (Flow& flow : places_of(fingerprint)) {
    if (flow.fingerprint == fingerprint) flow = {};
  }
}

bool Protect::fault(const net::Hop& source, Fault fault, std::int64_t now_ms) noexcept {
  if (!config_.enabled || is_exempt(source.remote)) return false;
  // Whoever answers a nonce of ours, or holds a connection, is there; a datagram may come from anybody.
  const bool is_there = fault == Fault::credentials || net::is_reliable(source.transport);
  if (fault == Fault::credentials) {
    disprove(source);
  } else if (is_proven(source, now_ms)) {
    return false;
  }
  ++counters_.faults[static_cast<std::size_t>(fault)];
  Source& known = enter(source.remote, now_ms);
  const std::int64_t drop_us = config_.fault_forgiven_ms * 1'000;
  if (config_.faults_max == 0 || known.faults.fill(now_ms * 1'000, drop_us, (config_.faults_max - 1) * drop_us)) return false;
  if (known.banned_until_ms > now_ms || (!is_there && known.proven_until_ms > now_ms)) return false;
  known.banned_until_ms = now_ms + config_.ban_ms;
  known.faults = {};
  known.last = fault;
  ++counters_.bans;
  return true;
}

std::vector<Ban> Protect::bans(std::int64_t now_ms) const {
  std::vector<Ban> out;
  for (const Source& source : sources_) {
    if (source.banned_until_ms > now_ms) out.push_back({address_of(source.prefix, source.v6), source.banned_until_ms, source.last});
  }
  return out;
}

bool Protect::unban(const net::Address& address, std::int64_t now_ms) noexcept {
  Source* known = config_.enabled ? find(address) : nullptr;
  if (known == nullptr || known->banned_until_ms <= now_ms) return false;
  known->banned_until_ms = 0;
  known->faults = {};
  return true;
}

}  // namespace sipfarm::sip
