#include "sip/transaction_fsm.hpp"

#include <doctest/doctest.h>

#include <array>
#include <set>
#include <vector>

using namespace sipfarm::sip;
using enum sipfarm::sip::State;
using enum sipfarm::sip::Input;
using enum sipfarm::sip::Action;

namespace {

constexpr Machine machines[] = {Machine::invite_client, Machine::non_invite_client, Machine::invite_server,
                                Machine::non_invite_server};
constexpr TransactionTimers timers{};

bool is_client(Machine machine) { return machine == Machine::invite_client || machine == Machine::non_invite_client; }
State state_at(std::size_t index) { return static_cast<State>(index); }
Input input_at(std::size_t index) { return static_cast<Input>(index); }
Timer timer_at(std::size_t index) { return static_cast<Timer>(index); }

std::set<State> reachable(Machine machine, State from) {
  std::set<State> seen{from};
  std::vector<State> work{from};
  while (!work.empty()) {
    const State state = work.back();
    work.pop_back();
    for (std::size_t i = 0; i < input_count; ++i) {
      const State next = step(machine, state, input_at(i)).next;
      if (seen.insert(next).second) work.push_back(next);
    }
  }
  return seen;
}

/// One transaction walked through its inputs; each step is checked against what the figure says.
struct Ladder {
  Machine machine;
  State state = open_transaction(machine).next;

  void expect(Input input, State next, Action actions) {
    const Step taken = step(machine, state, input);
    CAPTURE(static_cast<int>(state));
    CAPTURE(static_cast<int>(input));
    CHECK(static_cast<int>(taken.next) == static_cast<int>(next));
    CHECK(static_cast<std::uint32_t>(taken.actions) == static_cast<std::uint32_t>(actions));
    state = taken.next;
  }
  void expect_nothing(Input input) { expect(input, state, none); }
};

}  // namespace

TEST_CASE("over the whole product of states and inputs") {
  for (const Machine machine : machines) {
    const auto states = reachable(machine, open_transaction(machine).next);
    for (std::size_t s = 0; s < state_count; ++s) {
      const State state = state_at(s);
      for (std::size_t i = 0; i < input_count; ++i) {
        const Input input = input_at(i);
        const Step taken = step(machine, state, input);
        CAPTURE(static_cast<int>(machine));
        CAPTURE(s);
        CAPTURE(i);

        // Terminated is absorbing and silent; it is entered with `terminate` and only so.
        if (state == terminated) CHECK(taken == Step{terminated, none});
        CHECK(has(taken.actions, terminate) == (taken.next == terminated && state != terminated));

        // A state the machine does not have does nothing.
        if (!states.contains(state)) CHECK(taken == Step{state, none});

        // No timer is both started and stopped; nothing is started on the way out.
        for (std::size_t t = 0; t < timer_count; ++t) {
          const Timer timer = timer_at(t);
          CHECK_FALSE((has(taken.actions, start_of(timer)) && has(taken.actions, stop_of(timer))));
          if (taken.next == terminated) CHECK_FALSE(has(taken.actions, start_of(timer)));
        }

        // Each kind keeps to its own side.
        if (is_client(machine)) {
          CHECK_FALSE(has(taken.actions, send_response | retransmit_response | send_100));
        } else {
          CHECK_FALSE(has(taken.actions, send_request | retransmit_request | send_ack));
        }
        // The request is sent once, by opening.
        CHECK_FALSE(has(taken.actions, send_request));

        // A retransmission never reaches the TU: neither a request's, nor that of a final response to be acknowledged here.
        if (input == request) CHECK_FALSE(has(taken.actions, pass_to_tu));
        if (state == completed) CHECK_FALSE(has(taken.actions, pass_to_tu));
        // What the TU sends goes to the wire or nowhere.
        if (input >= tu_provisional && input <= tu_abandon) CHECK_FALSE(has(taken.actions, pass_to_tu));
        // States only go forward.
        CHECK(static_cast<int>(taken.next) >= static_cast<int>(state));
      }
    }
  }
}

TEST_CASE("every state has a way to end, and by timers alone once a final response is there") {
  for (const Machine machine : machines) {
    for (const State state : reachable(machine, open_transaction(machine).next)) {
      CAPTURE(static_cast<int>(machine));
      CAPTURE(static_cast<int>(state));
      CHECK(reachable(machine, state).contains(terminated));
      if (state != completed && state != accepted && state != confirmed) continue;
      bool ends_by_timer = false;
      for (std::size_t t = 0; t < timer_count; ++t) {
        ends_by_timer = ends_by_timer || step(machine, state, input_of(timer_at(t))).next == terminated;
      }
      CHECK(ends_by_timer);
    }
  }
}

TEST_CASE("a timer that ends a state is started on every way into it") {
  for (const Machine machine : machines) {
    const State first = open_transaction(machine).next;
    for (const State from : reachable(machine, first)) {
      for (std::size_t i = 0; i < input_count; ++i) {
        const Step taken = step(machine, from, input_at(i));
        if (taken.next == from || taken.next == terminated) continue;
        if (taken.next != completed && taken.next != accepted && taken.next != confirmed) continue;
        bool started = false;
        for (std::size_t t = 0; t < timer_count; ++t) {
          const Timer timer = timer_at(t);
          const bool ends = step(machine, taken.next, input_of(timer)).next == terminated;
          started = started || (ends && has(taken.actions, start_of(timer)));
        }
        CAPTURE(static_cast<int>(machine));
        CAPTURE(i);
        CHECK(started);
      }
    }
  }
}

TEST_CASE("a timer is started only where something may come of it") {
  for (const Machine machine : machines) {
    const auto comes_of_it = [&](State state, Action actions) {
      for (std::size_t t = 0; t < timer_count; ++t) {
        if (!has(actions, start_of(timer_at(t)))) continue;
        CAPTURE(t);
        CHECK(step(machine, state, input_of(timer_at(t))) != Step{state, none});
      }
    };
    comes_of_it(open_transaction(machine).next, open_transaction(machine).actions);
    for (const State from : reachable(machine, open_transaction(machine).next)) {
      for (std::size_t i = 0; i < input_count; ++i) {
        const Step taken = step(machine, from, input_at(i));
        comes_of_it(taken.next, taken.actions);
      }
    }
  }
}

TEST_CASE("figure 5: an INVITE that fails, with a lost ACK") {
  Ladder ladder{Machine::invite_client};
  CHECK(open_transaction(Machine::invite_client) == Step{calling, send_request | start_a | start_b});
  ladder.expect(timer_a, calling, retransmit_request | start_a);
  ladder.expect(provisional, proceeding, pass_to_tu | stop_a | stop_b);
  ladder.expect_nothing(timer_a);
  ladder.expect_nothing(timer_b);
  ladder.expect(provisional, proceeding, pass_to_tu);
  ladder.expect(failure, completed, send_ack | pass_to_tu | start_d);
  ladder.expect(failure, completed, send_ack);
  ladder.expect_nothing(provisional);
  ladder.expect_nothing(success);
  ladder.expect(timer_d, terminated, terminate);
}

TEST_CASE("figure 5: an INVITE that nobody answers") {
  Ladder ladder{Machine::invite_client};
  for (int i = 0; i < 6; ++i) ladder.expect(timer_a, calling, retransmit_request | start_a);
  ladder.expect(timer_b, terminated, report_timeout | terminate);
}

TEST_CASE("figure 5: a final response without a provisional one, and transport errors") {
  Ladder failed{Machine::invite_client};
  failed.expect(failure, completed, send_ack | pass_to_tu | stop_a | stop_b | start_d);
  failed.expect(transport_error, terminated, report_transport_error | terminate);
  Ladder unsent{Machine::invite_client};
  unsent.expect(transport_error, terminated, report_transport_error | terminate);
}

TEST_CASE("RFC 6026: all 2xx of a forked INVITE reach the TU until timer M") {
  Ladder ladder{Machine::invite_client};
  ladder.expect(provisional, proceeding, pass_to_tu | stop_a | stop_b);
  ladder.expect(success, accepted, pass_to_tu | start_m);
  ladder.expect(success, accepted, pass_to_tu);
  ladder.expect_nothing(failure);
  ladder.expect_nothing(provisional);
  ladder.expect(timer_m, terminated, terminate);
  Ladder at_once{Machine::invite_client};
  at_once.expect(success, accepted, pass_to_tu | stop_a | stop_b | start_m);
}

TEST_CASE("RFC 3261 section 9.1: a cancelled INVITE that is never answered is abandoned") {
  Ladder ladder{Machine::invite_client};
  ladder.expect(provisional, proceeding, pass_to_tu | stop_a | stop_b);
  ladder.expect(tu_abandon, terminated, terminate);
  Ladder completed_one{Machine::invite_client, completed};
  completed_one.expect_nothing(tu_abandon);  // D still answers late retransmissions
}

TEST_CASE("figure 6: a non-INVITE request goes on being sent until its final response") {
  CHECK(open_transaction(Machine::non_invite_client) == Step{trying, send_request | start_e | start_f});
  Ladder ladder{Machine::non_invite_client};
  ladder.expect(timer_e, trying, retransmit_request | start_e);
  ladder.expect(provisional, proceeding, pass_to_tu);
  ladder.expect(timer_e, proceeding, retransmit_request | start_e);
  ladder.expect(success, completed, pass_to_tu | stop_e | stop_f | start_k);
  ladder.expect_nothing(success);
  ladder.expect_nothing(timer_e);
  ladder.expect_nothing(timer_f);
  ladder.expect(timer_k, terminated, terminate);
  for (const State state : {trying, proceeding}) {
    Ladder{Machine::non_invite_client, state}.expect(timer_f, terminated, report_timeout | terminate);
    Ladder{Machine::non_invite_client, state}.expect(transport_error, terminated, report_transport_error | terminate);
    Ladder{Machine::non_invite_client, state}.expect(failure, completed, pass_to_tu | stop_e | stop_f | start_k);
  }
}

TEST_CASE("figure 7: a rejected INVITE is repeated until its ACK") {
  CHECK(open_transaction(Machine::invite_server) == Step{proceeding, pass_to_tu | start_100});
  Ladder ladder{Machine::invite_server};
  ladder.expect(timer_100, proceeding, send_100);
  ladder.expect(request, proceeding, retransmit_response);
  ladder.expect(tu_provisional, proceeding, send_response | stop_100);
  ladder.expect_nothing(ack);
  ladder.expect(tu_failure, completed, send_response | stop_100 | start_g | start_h);
  ladder.expect(timer_g, completed, retransmit_response | start_g);
  ladder.expect(request, completed, retransmit_response);
  ladder.expect_nothing(tu_success);
  ladder.expect(ack, confirmed, stop_g | stop_h | start_i);
  ladder.expect_nothing(ack);
  ladder.expect_nothing(request);
  ladder.expect_nothing(timer_g);
  ladder.expect(timer_i, terminated, terminate);
}

TEST_CASE("figure 7: an ACK that never comes is reported") {
  Ladder ladder{Machine::invite_server};
  ladder.expect(tu_408, completed, send_response | stop_100 | start_g | start_h);  // RFC 4320 leaves INVITE alone
  ladder.expect(timer_h, terminated, report_timeout | terminate);
}

TEST_CASE("RFC 6026: an accepted INVITE swallows its repeats, sends the TU's 2xx again, hands over ACKs") {
  Ladder ladder{Machine::invite_server};
  ladder.expect(tu_success, accepted, send_response | stop_100 | start_l);
  ladder.expect_nothing(request);
  ladder.expect(tu_success, accepted, send_response);
  ladder.expect(ack, accepted, pass_to_tu);
  ladder.expect_nothing(tu_failure);
  ladder.expect(timer_l, terminated, terminate);
}

TEST_CASE("RFC 6026: a transport error ends no INVITE server transaction") {
  for (const State state : {proceeding, completed, accepted}) {
    Ladder{Machine::invite_server, state}.expect(transport_error, state, report_transport_error);
  }
}

TEST_CASE("figure 8: a non-INVITE request is answered once and its repeats with the same") {
  CHECK(open_transaction(Machine::non_invite_server) == Step{trying, pass_to_tu | start_100});
  Ladder ladder{Machine::non_invite_server};
  ladder.expect_nothing(request);
  ladder.expect(tu_provisional, proceeding, send_response | stop_100);
  ladder.expect(request, proceeding, retransmit_response);
  ladder.expect(tu_provisional, proceeding, send_response);
  ladder.expect(tu_success, completed, send_response | start_j);
  ladder.expect(request, completed, retransmit_response);
  ladder.expect_nothing(tu_success);
  ladder.expect_nothing(tu_failure);
  ladder.expect(timer_j, terminated, terminate);
  for (const State state : {proceeding, completed}) {
    Ladder{Machine::non_invite_server, state}.expect(transport_error, terminated, report_transport_error | terminate);
  }
  Ladder{Machine::non_invite_server}.expect(tu_failure, completed, send_response | stop_100 | start_j);
}

TEST_CASE("RFC 4320: no 408 to a non-INVITE request, a 100 late, no other provisional response") {
  for (const State state : {trying, proceeding}) {
    const Step taken = step(Machine::non_invite_server, state, tu_408);
    CHECK(taken.next == completed);
    CHECK(has(taken.actions, start_j));
    CHECK_FALSE(has(taken.actions, send_response | retransmit_response | send_100));
  }
  Ladder ladder{Machine::non_invite_server};
  ladder.expect(timer_100, proceeding, send_100);
  ladder.expect(tu_408, completed, start_j);
  CHECK(input_from_tu(Machine::non_invite_server, 100) == tu_provisional);
  CHECK_FALSE(input_from_tu(Machine::non_invite_server, 180).has_value());
  CHECK(input_from_tu(Machine::invite_server, 180) == tu_provisional);
}

TEST_CASE("a status is its class's input") {
  CHECK(input_from_wire(100) == provisional);
  CHECK(input_from_wire(199) == provisional);
  CHECK(input_from_wire(200) == success);
  CHECK(input_from_wire(299) == success);
  CHECK(input_from_wire(300) == failure);
  CHECK(input_from_wire(408) == failure);
  CHECK(input_from_wire(699) == failure);
  for (const Machine machine : {Machine::invite_server, Machine::non_invite_server}) {
    CHECK(input_from_tu(machine, 200) == tu_success);
    CHECK(input_from_tu(machine, 302) == tu_failure);
    CHECK(input_from_tu(machine, 408) == tu_408);
    CHECK(input_from_tu(machine, 603) == tu_failure);
  }
}

TEST_CASE("table 4: how long timers run") {
  const auto over_udp = [](Machine machine, Timer timer) { return timer_ms(machine, timer, timers, false); };
  const auto over_tcp = [](Machine machine, Timer timer) { return timer_ms(machine, timer, timers, true); };
  using enum Machine;
  CHECK(over_udp(invite_client, Timer::a) == 500);
  CHECK(over_udp(invite_client, Timer::b) == 32'000);
  CHECK(over_udp(invite_client, Timer::d) == 32'000);
  CHECK(over_udp(invite_client, Timer::m) == 32'000);
  CHECK(over_udp(non_invite_client, Timer::e) == 500);
  CHECK(over_udp(non_invite_client, Timer::f) == 32'000);
  CHECK(over_udp(non_invite_client, Timer::k) == 5'000);
  CHECK(over_udp(invite_server, Timer::trying_100) == 200);
  CHECK(over_udp(invite_server, Timer::g) == 500);
  CHECK(over_udp(invite_server, Timer::h) == 32'000);
  CHECK(over_udp(invite_server, Timer::i) == 5'000);
  CHECK(over_udp(invite_server, Timer::l) == 32'000);
  CHECK(over_udp(non_invite_server, Timer::j) == 32'000);
  CHECK(over_udp(non_invite_server, Timer::trying_100) == 3'500);  // E runs 500, 1000, 2000, and is then set to T2

  for (const Timer timer : {Timer::a, Timer::e, Timer::g}) CHECK_FALSE(over_tcp(invite_client, timer).has_value());
  for (const Timer timer : {Timer::d, Timer::i, Timer::j, Timer::k}) CHECK(over_tcp(invite_client, timer) == 0);
  for (const Timer timer : {Timer::b, Timer::f, Timer::h, Timer::l, Timer::m}) CHECK(over_tcp(invite_client, timer) == 32'000);
  CHECK(timer_ms(invite_client, Timer::d, {.t1_ms = 100, .t2_ms = 400, .t4_ms = 500}, false) == 32'000);
  CHECK(timer_ms(invite_client, Timer::d, {.t1_ms = 1'000, .t2_ms = 4'000, .t4_ms = 5'000}, false) == 64'000);
}

TEST_CASE("how often a request is sent before its timeout") {
  const auto sendings = [](Machine machine, Timer again, Timer end, State state) {
    std::vector<std::int64_t> at_ms{0};
    std::int64_t interval_ms = timer_ms(machine, again, timers, false).value();
    for (std::int64_t now_ms = interval_ms; now_ms < timer_ms(machine, end, timers, false); now_ms += interval_ms) {
      at_ms.push_back(now_ms);
      interval_ms = retransmit_ms(again, state, interval_ms, timers);
    }
    return at_ms;
  };
  using Times = std::vector<std::int64_t>;
  // RFC 3261 §17.1.1.2: seven times in all.
  CHECK(sendings(Machine::invite_client, Timer::a, Timer::b, calling) == Times{0, 500, 1'500, 3'500, 7'500, 15'500, 31'500});
  // RFC 3261 §17.1.2.2: 500, 1000, 2000, 4000, 4000, …
  CHECK(sendings(Machine::non_invite_client, Timer::e, Timer::f, trying) ==
        Times{0, 500, 1'500, 3'500, 7'500, 11'500, 15'500, 19'500, 23'500, 27'500, 31'500});
  CHECK(sendings(Machine::invite_server, Timer::g, Timer::h, completed) ==
        Times{0, 500, 1'500, 3'500, 7'500, 11'500, 15'500, 19'500, 23'500, 27'500, 31'500});
  CHECK(retransmit_ms(Timer::e, proceeding, 500, timers) == 4'000);
}

TEST_CASE("each timer has its own input and its own bits") {
  std::set<Input> inputs;
  std::uint32_t bits = 0;
  for (std::size_t t = 0; t < timer_count; ++t) {
    CHECK(inputs.insert(input_of(timer_at(t))).second);
    CHECK((bits & static_cast<std::uint32_t>(start_of(timer_at(t)))) == 0);
    bits |= static_cast<std::uint32_t>(start_of(timer_at(t)));
  }
  CHECK(input_of(Timer::trying_100) == timer_100);
  CHECK(input_of(Timer::m) == timer_m);
  CHECK(static_cast<std::size_t>(timer_m) + 1 == input_count);
  CHECK(start_of(Timer::a) == start_a);
  CHECK(start_of(Timer::g) == start_g);
  CHECK(start_of(Timer::m) == start_m);
}
