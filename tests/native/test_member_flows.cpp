#include "engine_farm.hpp"

// What leaves through the flows of other members (RFC 5626), and what becomes of it where they cannot be reached.

using namespace sipfarm;
using namespace sipfarm::tests;

TEST_CASE("over a stream the answer leaves by the connection the request came on, through the member that holds it (RFC 3261 §18.2.2)") {
  Farm farm;
  farm.loads = {0.9F, 0.1F, 0.9F};
  farm.view({1, 2, 3});
  Ask invite;
  invite.via = "SIP/2.0/TCP 192.0.2.1:5061";
  const net::Hop stream = hop_of("192.0.2.1", 50'000, net::Transport::tcp, 5);
  farm.receive(1, stream, invite.text());
  CHECK(farm.asked() == 2);
  farm[2].respond(farm[2].take_event(sip::EventKind::request).id, 404);
  farm[2].nothing_sent();
  farm.run();
  const Sent sent = farm[1].take_sent("SIP/2.0 404");
  CHECK(sent.hop.flow == 5);
  CHECK(sent.hop.member == 0);
}

TEST_CASE("what leaves through another member's connection is told at both") {
  Farm farm;
  farm.loads = {0.9F, 0.1F, 0.9F};
  farm.view({1, 2, 3});
  for (std::uint16_t number = 1; number <= 3; ++number) farm[number].trace();
  Ask invite;
  invite.via = "SIP/2.0/TCP 192.0.2.1:5061";
  farm.receive(1, hop_of("192.0.2.1", 50'000, net::Transport::tcp, 5), invite.text());
  farm[2].respond(farm[2].take_event(sip::EventKind::request).id, 404);
  farm.run();
  CHECK(farm[1].told == "passed_on to 2: INVITE sip:bob@example.test SIP/2.0\nsent from 2: SIP/2.0 404 Not Found\n");
  CHECK(farm[2].told == "worked_on from 1: INVITE sip:bob@example.test SIP/2.0\nsent to 1: SIP/2.0 404 Not Found\n");
}

TEST_CASE("a flow of a member that is gone fails at once (RFC 5626)") {
  Farm farm;
  farm.view({1, 2, 3});
  net::Hop flow = hop_of("192.0.2.2", 40'000, net::Transport::tcp, 3);
  flow.member = 2;
  farm.receive(1, alice, Ask{}.text());
  REQUIRE(farm.asked() == 1);
  farm.dead = 2;
  farm.view_of(1, {1, 3});
  farm[1].forward(farm[1].take_event(sip::EventKind::request).id, {to(flow, "sip:bob@192.0.2.2;transport=tcp")});
  farm[1].take("SIP/2.0 100");
  farm[1].take("SIP/2.0 480");
}

TEST_CASE("a flow that breaks at another member is told to the owner of what was sent through it") {
  Farm farm;
  net::Hop flow = hop_of("192.0.2.2", 40'000, net::Transport::tcp, 3);
  flow.member = 2;
  farm.receive(1, alice, Ask{}.text());
  REQUIRE(farm.asked() == 1);
  farm[1].forward(farm[1].take_event(sip::EventKind::request).id, {to(flow, "sip:bob@192.0.2.2;transport=tcp")});
  farm[1].take("SIP/2.0 100");
  farm.run();
  const Sent sent = farm[2].take_sent("INVITE ");
  farm[2].fail(sent.transaction);
  farm.run();
  farm[1].take("SIP/2.0 480");
}

namespace {

/// Everything that a member has for others is dropped.
void lose_frames(Bench& member) {
  while (!member.frames.empty()) {
    const std::string payload = std::move(member.frames.front().second);
    member.frames.pop_front();
    member.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.bus_failed(payload, now, out); });
  }
}

}  // namespace

TEST_CASE("a request whose bus frame is dropped on its way to a stream fails at once, over UDP it is sent again (RFC 3261 §18.4)") {
  for (const auto transport : {net::Transport::tcp, net::Transport::udp}) {
    Farm farm;
    net::Hop flow = hop_of("192.0.2.2", 40'000, transport, transport == net::Transport::udp ? 0 : 3);
    flow.member = 2;
    farm.receive(1, alice, Ask{}.text());
    REQUIRE(farm.asked() == 1);
    farm[1].forward(farm[1].take_event(sip::EventKind::request).id, {to(flow, "sip:bob@192.0.2.2")});
    farm[1].take("SIP/2.0 100");
    lose_frames(farm[1]);
    if (transport == net::Transport::tcp) {
      farm[1].take("SIP/2.0 480");
    } else {
      farm[1].nothing_sent();
      farm.advance(500);
      farm[2].take("INVITE ");
    }
    farm.at_rest();
  }
}

TEST_CASE("a response whose bus frame is dropped is left to its repetition (RFC 3261 §17.2.1)") {
  Farm farm;
  net::Hop flow = hop_of("192.0.2.1", 40'000, net::Transport::tcp, 3);
  flow.member = 2;
  const std::string at_bob = [&] {
    farm.receive(1, alice, Ask{}.text());
    REQUIRE(farm.asked() == 1);
    farm[1].forward(farm[1].take_event(sip::EventKind::request).id, {to(flow, "sip:bob@192.0.2.2")});
    farm[1].take("SIP/2.0 100");
    farm.run();
    return farm[2].take("INVITE ");
  }();
  farm[2].receive(hop_of("192.0.2.1", 40'000, net::Transport::tcp, 3), reply(at_bob, "200 OK"));
  lose_frames(farm[2]);
  farm[2].nothing_sent();
  farm.receive(2, hop_of("192.0.2.1", 40'000, net::Transport::tcp, 3), reply(at_bob, "200 OK"));
  farm[1].take("SIP/2.0 200");
}

TEST_CASE("a request of a stream that cannot reach its owner is answered, since nobody repeats it") {
  Farm farm;
  const std::string at_bob = forwarded(farm, 1);
  farm[1].receive(bob, reply(at_bob, "200 OK"));
  const std::string at_alice = farm[1].take("SIP/2.0 200");
  Ask bye;
  bye.method = "BYE";
  bye.branch = "z9hG4bKbye";
  bye.uri = "sip:bob@192.0.2.2:5062";
  bye.to_tag = "bob";
  bye.cseq = 2;
  bye.via = "SIP/2.0/TCP 192.0.2.1:5061";
  bye.more = caller_route(at_alice);
  farm[2].receive(hop_of("192.0.2.1", 40'000, net::Transport::tcp, 9), bye.text());
  lose_frames(farm[2]);
  const Sent refused = farm[2].take_sent("SIP/2.0 500");
  CHECK(refused.hop.flow == 9);
  CHECK(has(refused.text, "Retry-After: 1"));
  bye.via = "SIP/2.0/UDP 192.0.2.1:5061";
  farm[2].receive(alice, bye.text());
  lose_frames(farm[2]);
  farm[2].nothing_sent();
}

TEST_CASE("what was sent through a member that has died since fails when it is known to be dead (RFC 5626)") {
  Farm farm;
  net::Hop flow = hop_of("192.0.2.2", 40'000, net::Transport::tcp, 3);
  flow.member = 2;
  farm.receive(1, alice, Ask{}.text());
  REQUIRE(farm.asked() == 1);
  farm[1].forward(farm[1].take_event(sip::EventKind::request).id, {to(flow, "sip:bob@192.0.2.2;transport=tcp")});
  farm[1].take("SIP/2.0 100");
  farm.dead = 2;
  farm.run();
  farm.view_of(1, {1, 3});
  farm[1].take("SIP/2.0 480");
}

TEST_CASE("a response whose connection died with its member goes to the port of sent-by (RFC 3261 §18.2.2)") {
  Farm farm;
  net::Hop came = hop_of("192.0.2.1", 40'000, net::Transport::tcp, 3);
  came.member = 2;
  Ask invite;
  invite.via = "SIP/2.0/TCP 192.0.2.1:5070";
  sip::BusMessage message;
  message.kind = sip::BusMessage::Kind::packet;
  message.settled = true;
  message.epoch = 10;
  message.hop = came;
  const std::string text = invite.text();
  message.bytes = text;
  std::string frame;
  sip::append_bus_message(frame, message);
  farm[1].act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.receive_bus(2, frame, now, out); });
  farm.dead = 2;
  farm.view_of(1, {1, 3});
  CHECK(farm[1].respond(farm[1].take_event(sip::EventKind::request).id, 486));
  const Sent sent = farm[1].take_sent("SIP/2.0 486");
  CHECK(sent.hop.remote == net::Address::parse("192.0.2.1", 5070).value());
  CHECK(sent.hop.flow == 0);
  CHECK(sent.hop.member == 0);
  CHECK(sent.server.empty());
}
