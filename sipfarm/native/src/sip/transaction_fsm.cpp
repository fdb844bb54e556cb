#include "sip/transaction_fsm.hpp"

#include <algorithm>
#include <array>
#include <span>

namespace sipfarm::sip {
namespace {

using enum State;
using enum Input;
using enum Action;

struct Row {
  State state;
  Input input;
  State next;
  Action actions = Action::none;
};

// INVITE client: RFC 3261 §17.1.1.2 figure 5, with Accepted of RFC 6026 §7.2: a 2xx ends nothing, all 2xx go to the TU until M.
constexpr Row invite_client_rows[] = {
    {calling, timer_a, calling, retransmit_request | start_a},
    {calling, timer_b, terminated, report_timeout | terminate},
    {calling, transport_error, terminated, report_transport_error | terminate},
    {calling, tu_abandon, terminated, terminate},
    {calling, provisional, proceeding, pass_to_tu | stop_a | stop_b},
    {calling, success, accepted, pass_to_tu | stop_a | stop_b | start_m},
    {calling, failure, completed, send_ack | pass_to_tu | stop_a | stop_b | start_d},

    {proceeding, provisional, proceeding, pass_to_tu},
    {proceeding, success, accepted, pass_to_tu | start_m},
    {proceeding, failure, completed, send_ack | pass_to_tu | start_d},
    {proceeding, tu_abandon, terminated, terminate},

    {completed, failure, completed, send_ack},
    {completed, transport_error, terminated, report_transport_error | terminate},
    {completed, timer_d, terminated, terminate},

    {accepted, success, accepted, pass_to_tu},
    {accepted, timer_m, terminated, terminate},
};

// Non-INVITE client: RFC 3261 §17.1.2.2 figure 6.
constexpr Row non_invite_client_rows[] = {
    {trying, timer_e, trying, retransmit_request | start_e},
    {trying, timer_f, terminated, report_timeout | terminate},
    {trying, transport_error, terminated, report_transport_error | terminate},
    {trying, tu_abandon, terminated, terminate},
    {trying, provisional, proceeding, pass_to_tu},
    {trying, success, completed, pass_to_tu | stop_e | stop_f | start_k},
    {trying, failure, completed, pass_to_tu | stop_e | stop_f | start_k},

    {proceeding, timer_e, proceeding, retransmit_request | start_e},
    {proceeding, timer_f, terminated, report_timeout | terminate},
    {proceeding, transport_error, terminated, report_transport_error | terminate},
    {proceeding, tu_abandon, terminated, terminate},
    {proceeding, provisional, proceeding, pass_to_tu},
    {proceeding, success, completed, pass_to_tu | stop_e | stop_f | start_k},
    {proceeding, failure, completed, pass_to_tu | stop_e | stop_f | start_k},

    {completed, timer_k, terminated, terminate},
};

// INVITE server: RFC 3261 §17.2.1 figure 7 as replaced by RFC 6026 §7.1: Accepted swallows the INVITE's retransmissions and hands
// ACKs to the TU until L; a transport error is told to the TU and ends nothing, since the next retransmission may get through.
constexpr Row invite_server_rows[] = {
    {proceeding, request, proceeding, retransmit_response},
    {proceeding, timer_100, proceeding, send_100},
    {proceeding, tu_provisional, proceeding, send_response | stop_100},
    {proceeding, tu_success, accepted, send_response | stop_100 | start_l},
    {proceeding, tu_failure, completed, send_response | stop_100 | start_g | start_h},
    {proceeding, tu_408, completed, send_response | stop_100 | start_g | start_h},
    {proceeding, transport_error, proceeding, report_transport_error},

    {completed, request, completed, retransmit_response},
    {completed, timer_g, completed, retransmit_response | start_g},
    {completed, timer_h, terminated, report_timeout | terminate},
    {completed, ack, confirmed, stop_g | stop_h | start_i},
    {completed, transport_error, completed, report_transport_error},

    {accepted, tu_success, accepted, send_response},
    {accepted, ack, accepted, pass_to_tu},
    {accepted, transport_error, accepted, report_transport_error},
    {accepted, timer_l, terminated, terminate},

    {confirmed, timer_i, terminated, terminate},
};

// Non-INVITE server: RFC 3261 §17.2.2 figure 8. RFC 4320 §4.1: a 100 once the client's Timer E has reached T2, no other 1xx (see
// input_from_tu). §4.2: a 408 is never sent; the request is then done with in silence, and its repeats go on being swallowed.
constexpr Row non_invite_server_rows[] = {
    {trying, timer_100, proceeding, send_100},
    {trying, tu_provisional, proceeding, send_response | stop_100},
    {trying, tu_success, completed, send_response | stop_100 | start_j},
    {trying, tu_failure, completed, send_response | stop_100 | start_j},
    {trying, tu_408, completed, stop_100 | start_j},

    {proceeding, request, proceeding, retransmit_response},
    {proceeding, tu_provisional, proceeding, send_response},
    {proceeding, tu_success, completed, send_response | start_j},
    {proceeding, tu_failure, completed, send_response | start_j},
    {proceeding, tu_408, completed, start_j},
    {proceeding, transport_error, terminated, report_transport_error | terminate},

    {completed, request, completed, retransmit_response},
    {completed, transport_error, terminated, report_transport_error | terminate},
    {completed, timer_j, terminated, terminate},
};

using Table = std::array<std::array<Step, input_count>, state_count>;

constexpr Table table_of(std::span<const Row> rows) {
  Table table{};
  for (std::size_t state = 0; state < state_count; ++state) {
    for (Step& step : table[state]) step = {static_cast<State>(state), Action::none};
  }
  for (const Row& row : rows) {
    table[static_cast<std::size_t>(row.state)][static_cast<std::size_t>(row.input)] = {row.next, row.actions};
  }
  return table;
}

// In the order of Machine.
constexpr std::array<Table, machine_count> tables = {table_of(invite_client_rows), table_of(non_invite_client_rows),
                                                     table_of(invite_server_rows), table_of(non_invite_server_rows)};

constexpr std::array<Step, machine_count> openings = {{
    {calling, send_request | start_a | start_b},
    {trying, send_request | start_e | start_f},
    {proceeding, pass_to_tu | start_100},
    {trying, pass_to_tu | start_100},
}};

/// How long a client's Timer E, doubling from T1, takes until it is set to T2.
std::int64_t until_timer_e_is_t2_ms(const TransactionTimers& timers) noexcept {
  std::int64_t sum_ms = 0;
  for (std::int64_t e_ms = timers.t1_ms; e_ms > 0 && e_ms < timers.t2_ms; e_ms *= 2) sum_ms += e_ms;
  return sum_ms;
}

}  // namespace

Step open_transaction(Machine machine) noexcept { return openings[static_cast<std::size_t>(machine)]; }

Step step(Machine machine, State state, Input input) noexcept {
  return tables[static_cast<std::size_t>(machine)][static_cast<std::size_t>(state)][static_cast<std::size_t>(input)];
}

Input input_from_wire(int status) noexcept { return status < 200 ? provisional : status < 300 ? success : failure; }

std::optional<Input> input_from_tu(Machine machine, int status) noexcept {
  if (status < 200) {
    if (machine == Machine::non_invite_server && status != 100) return std::nullopt;
    return tu_provisional;
  }
  if (status < 300) return tu_success;
  return status == 408 ? tu_408 : tu_failure;
}

std::optional<std::int64_t> timer_ms(Machine machine, Timer timer, const TransactionTimers& timers, bool reliable) noexcept {
  const std::int64_t transaction_ms = 64 * timers.t1_ms;
  switch (timer) {
    case Timer::trying_100:
      return machine == Machine::invite_server ? 200 : until_timer_e_is_t2_ms(timers);  // RFC 3261 §17.2.1, RFC 4320 §4.1
    case Timer::a:
    case Timer::e:
    case Timer::g:
      if (reliable) return std::nullopt;
      return timer == Timer::a ? timers.t1_ms : std::min(timers.t1_ms, timers.t2_ms);
    case Timer::d:
      return reliable ? 0 : std::max<std::int64_t>(transaction_ms, 32'000);  // the server's T1 may be larger than ours (§17.1.1.2)
    case Timer::i:
    case Timer::k:
      return reliable ? 0 : timers.t4_ms;
    case Timer::j:
      return reliable ? 0 : transaction_ms;
    case Timer::b:
    case Timer::f:
    case Timer::h:
    case Timer::l:  // RFC 6026 §7.1, §7.2: L and M run over every transport
    case Timer::m:
      return transaction_ms;
  }
  return std::nullopt;
}

std::int64_t retransmit_ms(Timer timer, State state, std::int64_t last_ms, const TransactionTimers& timers) noexcept {
  if (timer == Timer::a) return 2 * last_ms;                                      // §17.1.1.2: no cap, B ends it
  if (timer == Timer::e && state == State::proceeding) return timers.t2_ms;       // §17.1.2.2
  return std::min(2 * last_ms, timers.t2_ms);
}

}  // namespace sipfarm::sip
