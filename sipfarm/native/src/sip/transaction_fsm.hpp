#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

// The four transaction machines of RFC 3261 §17 as tables, with RFC 6026 (Accepted, timers L and M) and RFC 4320 (non-INVITE
// answers).
//
// Rules of this file and its .cpp: state × input → next state and actions, nothing else. No message, no clock, no matching. What
// is not in a table is no change. Timer C is the proxy core's (RFC 3261 §16.6), not a transaction's.

namespace sipfarm::sip {

enum class Machine : std::uint8_t {
  invite_client,      // RFC 3261 figure 5, RFC 6026 §7.2
  non_invite_client,  // RFC 3261 figure 6
  invite_server,      // RFC 3261 figure 7, RFC 6026 §7.1
  non_invite_server   // RFC 3261 figure 8, RFC 4320 §4
};
inline constexpr std::size_t machine_count = 4;

enum class State : std::uint8_t { calling, trying, proceeding, completed, accepted, confirmed, terminated };
inline constexpr std::size_t state_count = 7;

enum class Input : std::uint8_t {
  // client: responses from the wire
  provisional, success, failure,  // 1xx, 2xx, 300-699
  // server: requests from the wire that match
  request, ack,                   // the request again; ACK (INVITE only)
  // server: responses from the TU
  tu_provisional, tu_success, tu_failure,
  tu_408,                         // 408 from the TU: a failure to INVITE, never sent to anything else (RFC 4320 §4.2)
  // client: the TU waits no longer (RFC 3261 §9.1: 64*T1 after a CANCEL; Timer C)
  tu_abandon,
  transport_error,                // what the transaction sent could not be delivered
  timer_100, timer_a, timer_b, timer_d, timer_e, timer_f, timer_g, timer_h, timer_i, timer_j, timer_k, timer_l, timer_m
};
inline constexpr std::size_t input_count = 24;

/// What to do, as a set of bits. `terminate` ends all timers of the transaction; other transitions name the timers they stop.
enum class Action : std::uint32_t {
  none = 0,
  send_request = 1U << 0,
  retransmit_request = 1U << 1,
  send_ack = 1U << 2,             // for a 300-699, within the transaction (RFC 3261 §17.1.1.3)
  send_response = 1U << 3,        // the TU's
  retransmit_response = 1U << 4,  // the last one sent; nothing if none was
  send_100 = 1U << 5,             // made by the transaction
  pass_to_tu = 1U << 6,           // the request or response at hand
  report_timeout = 1U << 7,
  report_transport_error = 1U << 8,
  stop_100 = 1U << 9,
  stop_a = 1U << 10,
  stop_b = 1U << 11,
  stop_e = 1U << 12,
  stop_f = 1U << 13,
  stop_g = 1U << 14,
  stop_h = 1U << 15,
  start_100 = 1U << 16,
  start_a = 1U << 17,
  start_b = 1U << 18,
  start_d = 1U << 19,
  start_e = 1U << 20,
  start_f = 1U << 21,
  start_g = 1U << 22,
  start_h = 1U << 23,
  start_i = 1U << 24,
  start_j = 1U << 25,
  start_k = 1U << 26,
  start_l = 1U << 27,
  start_m = 1U << 28,
  terminate = 1U << 29
};
constexpr Action operator|(Action a, Action b) noexcept {
  return static_cast<Action>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
constexpr Action operator&(Action a, Action b) noexcept {
  return static_cast<Action>(static_cast<std::uint32_t>(a) & static_cast<std::uint32_t>(b));
}
/// Whether `set` holds any of `actions`.
constexpr bool has(Action set, Action actions) noexcept { return (set & actions) != Action::none; }

struct Step {
  State next = State::terminated;
  Action actions = Action::none;
  friend constexpr bool operator==(const Step&, const Step&) = default;
};

/// How a transaction begins: its first state, and what the request that makes it causes.
Step open_transaction(Machine machine) noexcept;

/// The table: constant time, every state and input allowed; what the RFC does not name is no change.
Step step(Machine machine, State state, Input input) noexcept;

/// The input that a response from the wire is for a client transaction; status 100..699.
Input input_from_wire(int status) noexcept;
/// The input that a TU's response is for a server transaction. Nothing for what may not be sent: a 1xx other than 100 to
/// non-INVITE (RFC 4320 §4.1).
std::optional<Input> input_from_tu(Machine machine, int status) noexcept;

/// RFC 3261 §17.1.1.1 and table 4.
struct TransactionTimers {
  std::int64_t t1_ms = 500;
  std::int64_t t2_ms = 4'000;
  std::int64_t t4_ms = 5'000;
};

/// In the order of Input's timers and Action's start bits.
enum class Timer : std::uint8_t { trying_100, a, b, d, e, f, g, h, i, j, k, l, m };
inline constexpr std::size_t timer_count = 13;

constexpr Input input_of(Timer timer) noexcept {
  return static_cast<Input>(static_cast<std::uint8_t>(Input::timer_100) + static_cast<std::uint8_t>(timer));
}
constexpr Action start_of(Timer timer) noexcept {
  return static_cast<Action>(static_cast<std::uint32_t>(Action::start_100) << static_cast<std::uint8_t>(timer));
}
/// The bit that stops `timer`; none for a timer that only `terminate` stops.
constexpr Action stop_of(Timer timer) noexcept {
  switch (timer) {
    case Timer::trying_100: return Action::stop_100;
    case Timer::a: return Action::stop_a;
    case Timer::b: return Action::stop_b;
    case Timer::e: return Action::stop_e;
    case Timer::f: return Action::stop_f;
    case Timer::g: return Action::stop_g;
    case Timer::h: return Action::stop_h;
    default: return Action::none;
  }
}

/// How long a timer runs when it is first started; nothing where it is not started at all (A, E, G over a reliable transport); 0
/// where it fires at once (D, I, J, K over a reliable transport).
std::optional<std::int64_t> timer_ms(Machine machine, Timer timer, const TransactionTimers& timers, bool reliable) noexcept;

/// How long A, E or G runs the next time, after having run `last_ms`; `state` is the one it fires in.
std::int64_t retransmit_ms(Timer timer, State state, std::int64_t last_ms, const TransactionTimers& timers) noexcept;

}  // namespace sipfarm::sip
