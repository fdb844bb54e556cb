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
