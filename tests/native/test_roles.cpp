#include "engine_farm.hpp"

// Members that have not all roles: one without pbx works on nothing new, one without edge has no socket.

using namespace sipfarm;
using namespace sipfarm::tests;

namespace {

std::string register_text(std::string_view call_id) {
  Ask ask;
  ask.method = "REGISTER";
  ask.call_id = std::string{call_id};
  return ask.text();
}

sip::ProtectConfig guarded() {
  sip::ProtectConfig out;
  out.enabled = true;
  out.faults_max = 3;
  return out;
}

/// Member 1 receives, the others work: one REGISTER, and what its credentials are found to be worth.
struct Edge {
  Farm farm{guarded()};
  int asked_so_far = 0;

  Edge() {
    farm.no_pbx = 1;
    farm.view({1, 2, 3});
  }
  bool is_let_in(const net::Hop& from) {
    return worker_of(from) != 0;
  }
  void register_with(const net::Hop& from, std::optional<sip::Fault> fault) {
    const std::uint16_t worker = worker_of(from);
    REQUIRE(worker != 0);
    REQUIRE(worker != 1);
    farm[worker].act([&](sip::Engine& e, std::int64_t now, sip::Output& out) {
      const net::Hop& hop = last_.hop;
      fault ? e.blame(hop, *fault, now, out) : e.prove(hop, now, out);
    });
    farm.run();
  }

 private:
  std::uint16_t worker_of(const net::Hop& from) {
    farm.receive(1, from, register_text("register-" + std::to_string(++asked_so_far)));
    const std::uint16_t worker = farm.asked();
    if (worker != 0) last_ = farm[worker].take_event(sip::EventKind::request);
    return worker;
  }

  sip::Event last_;
};

}  // namespace

TEST_CASE("a member without pbx gives all new work to one that has it") {
  Farm farm;
  farm.no_pbx = 1;
  farm.view({1, 2, 3});
  for (int i = 0; i < 20; ++i) {
    Ask invite;
    invite.call_id = "call-" + std::to_string(i);
    farm.receive(1, alice, invite.text());
    const std::uint16_t at = farm.asked();
    REQUIRE((at == 2 || at == 3));
    farm[at].respond(farm[at].take_event(sip::EventKind::request).id, 404);
    farm[at].take("SIP/2.0 404");
    farm.receive(1, alice, register_text("register-" + std::to_string(i)));
    const std::uint16_t registrar = farm.asked();
    REQUIRE((registrar == 2 || registrar == 3));
    farm[registrar].respond(farm[registrar].take_event(sip::EventKind::request).id, 200);
    farm[registrar].take("SIP/2.0 200");
  }
  CHECK(farm[1].engine.core().counters.placed >= 20);
  farm.at_rest();
}

TEST_CASE("where nobody has pbx the receiver works all the same") {
  Farm farm;
  farm.no_pbx = 1;
  farm.view_of(1, {1});
  farm.receive(1, alice, register_text("lone"));
  CHECK(farm.asked() == 1);
}

TEST_CASE("a draining member still takes registrations, which are done in a moment") {
  Farm farm;
  farm.draining = 1;
  farm.view({1, 2, 3});
  farm.receive(1, alice, register_text("drained"));
  CHECK(farm.asked() == 1);
}

TEST_CASE("a member without edge has its datagrams sent by one that has the sockets") {
  Farm farm;
  farm.no_edge = 1;
  farm.loads = {0.0F, 0.9F, 0.9F};
  farm.no_pbx = 2;
  farm.view({1, 2, 3});
  Ask invite;
  farm.receive(2, alice, invite.text());
  std::uint16_t at = farm.asked();
  REQUIRE((at == 1 || at == 3));
  if (at == 1) {
    farm[1].forward(farm[1].take_event(sip::EventKind::request).id, {to_bob()});
    farm.run();
    CHECK(farm[1].sent.empty());
    const std::size_t sent = farm[2].sent.size() + farm[3].sent.size();
    CHECK(sent == 2);  // 100 to Alice, INVITE to Bob
  }
}

TEST_CASE("a flow that another member holds is named as that member's") {
  Farm farm;
  const std::string far = "tcp:192.0.2.1:5060";
  const auto mark = farm[1].engine.open_flow(farm[1].engine.mint_flow(7, far, 2), far);
  REQUIRE(mark.has_value());
  CHECK(mark->member == 2);
  CHECK(mark->epoch == 10);
  CHECK(mark->handle == 7);
  CHECK(farm[1].engine.mint_flow(7, far, 9).empty());
  CHECK(farm[1].engine.open_flow(farm[1].engine.mint_flow(7, far), far)->member == 1);
}

TEST_CASE_FIXTURE(Edge, "faults are counted where packets arrive, whoever finds them") {
  for (int i = 0; i < 3; ++i) register_with(alice, sip::Fault::credentials);
  CHECK(farm[1].take_event(sip::EventKind::banned).text == "credentials");
  CHECK(!is_let_in(alice));
  CHECK(farm[1].dropped(sip::Drop::banned) == 1);
  CHECK(is_let_in(bob));
  CHECK(farm[2].engine.protect().counters().faults == decltype(sip::Protect::Counters::faults){});
  CHECK(farm[3].engine.protect().counters().faults == decltype(sip::Protect::Counters::faults){});
}

TEST_CASE_FIXTURE(Edge, "a phone that others have found proven is spared where its packets arrive, until it guesses passwords") {
  net::Hop attacker = alice;
  attacker.remote.port = 9;
  register_with(alice, std::nullopt);
  for (int i = 0; i < 3; ++i) register_with(attacker, sip::Fault::credentials);
  farm[1].take_event(sip::EventKind::banned);
  CHECK(!is_let_in(attacker));
  CHECK(is_let_in(alice));
  register_with(alice, sip::Fault::credentials);
  CHECK(!is_let_in(alice));
}

TEST_CASE_FIXTURE(Edge, "what is found of a sender is told to no member that is gone") {
  farm.receive(1, alice, register_text("of-one-who-dies"));
  const std::uint16_t worker = farm.asked();
  REQUIRE(worker != 0);
  const sip::Event asked = farm[worker].take_event(sip::EventKind::request);
  farm.view_of(worker, {worker});
  farm[worker].frames.clear();
  farm[worker].act([&](sip::Engine& e, std::int64_t now, sip::Output& out) {
    e.prove(asked.hop, now, out);
    e.blame(asked.hop, sip::Fault::credentials, now, out);
  });
  CHECK(farm[worker].frames.empty());
}
