#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "net/hop.hpp"
#include "rtp/port_pool.hpp"
#include "sip/fate.hpp"
#include "sip/message_pool.hpp"
#include "sip/owner_mark.hpp"
#include "sip/protect.hpp"
#include "sip/timer_wheel.hpp"
#include "sip/transaction_fsm.hpp"

namespace sipfarm::sip {

/// A listening point: where it is bound and what Via, Record-Route and Contact say of it.
struct Listen {
  net::Transport transport = net::Transport::udp;
  net::Address bound;
  std::string host;          // advertised
  std::uint16_t port = 5060;  // advertised
};

struct EngineConfig {
  std::vector<Listen> listens;
  std::uint16_t member = 1;
  std::uint32_t epoch = 1;
  MarkKey mark_key;
  std::optional<MarkKey> mark_key_previous;
  SipKey transaction_key{};
  net::Address media;  // advertised address of the relay; its port is not looked at
  std::string server = "sipfarm";
  TransactionTimers timers;
  std::int64_t timer_c_ms = 185'000;          // RFC 3261 §16.6 step 11: above three minutes
  std::int64_t unanswered_ms = 240'000;       // that Python may be silent about an INVITE: above Timer C and 64*T1
  std::int64_t call_max_ms = 24 * 3'600'000;  // a call whose end never comes is forgotten
  bool claims = true;             // off where the balancer keeps a flow on one member
  bool reply_via_receiver = false;  // an answer leaves where the request came in
  std::int64_t claim_wait_ms = 500;  // for the home's answer; then the packet is dropped and its sender retransmits
  std::uint8_t claim_tries = 8;       // of what came over a stream, whose sender does not retransmit
  std::int64_t joining_ms = 1'000;    // who is met so long after this member's birth was there before it
  std::int64_t cancel_wait_ms = 500;  // of a CANCEL for its INVITE's claim
  std::int64_t directory_ms = 240'000;  // above Timer C and 64*T1
  std::size_t directory_max = 2'000'000;
  std::size_t waiting_max = 50'000;
  std::size_t transactions_max = 400'000;  // of new work; for what goes on with it there is an eighth more, here and in messages_bytes_max
  std::size_t calls_max = 200'000;
  std::size_t messages_bytes_max = std::size_t{1} << 30;  // received and still needed; the copies kept for retransmission have as much again
  std::size_t large_request_bytes = 1'300;                // above it UDP is left for TCP (RFC 3261 §18.1.1)
  std::uint32_t max_breadth = 60;                         // RFC 5393 §5.3.3
  ProtectConfig protect;
};

struct Counters {
  std::uint64_t received = 0;
  std::uint64_t requests = 0;
  std::uint64_t responses = 0;
  std::uint64_t retransmissions = 0;  // absorbed
  std::uint64_t forwarded = 0;        // requests sent on, branches counted
  std::uint64_t passed_on = 0;        // to the owner, over the bus
  std::uint64_t from_bus = 0;
  std::uint64_t claims = 0;           // asked at a home, this member's own included
  std::uint64_t placed = 0;           // new work given to another member
  std::uint64_t undelivered = 0;      // ICMP errors
  std::array<std::uint64_t, drop_count> drops{};

  void drop(Drop why) noexcept { ++drops[static_cast<std::size_t>(why)]; }
};

/// What the parts of one engine share; each part has the rest of its state to itself.
struct Core {
  explicit Core(EngineConfig&& given, rtp::PortPool& media_ports, std::int64_t now_ms)
      : config{std::move(given)}, keys{config.mark_key, config.mark_key_previous}, ports{media_ports}, wheel{now_ms, UINT32_MAX} {}

  OwnerMark own_mark(std::uint64_t handle) const noexcept { return {config.member, config.epoch, handle}; }
  /// Counts it; what became of the packet.
  Fate drop(Drop why) noexcept {
    counters.drop(why);
    return {Fate::What::dropped, why};
  }
  Fate absorb() noexcept {
    ++counters.retransmissions;
    return {Fate::What::absorbed};
  }
  bool is_own(const OwnerMark& mark) const noexcept { return mark.member == config.member && mark.epoch == config.epoch; }

  EngineConfig config;
  MarkKeys keys;
  rtp::PortPool& ports;
  TimerWheel wheel;
  MessagePool messages;
  Counters counters;
};

}  // namespace sipfarm::sip
