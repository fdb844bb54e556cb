#include "engine_farm.hpp"

// Members that own, pass on and look up (DESIGN: ownership).

using namespace sipfarm;
using namespace sipfarm::tests;

TEST_CASE("the same INVITE at all three members is worked on by one (DESIGN: directory)") {
  for (int i = 0; i < 20; ++i) {
    Farm farm;
    Ask invite;
    invite.call_id = "call-" + std::to_string(i);
    const auto first = static_cast<std::uint16_t>(1 + i % 3);
    for (std::uint16_t at = first; at < first + 3; ++at) farm[static_cast<std::uint16_t>(1 + at % 3)].receive(alice, invite.text());
    farm.run();
    const std::uint16_t owner = farm.asked();
    REQUIRE(owner != 0);
    CHECK(farm[owner].events.size() == 1);
    farm[owner].respond(farm[owner].take_event(sip::EventKind::request).id, 404);
    farm[owner].take("SIP/2.0 404");
    farm.receive(static_cast<std::uint16_t>(1 + owner % 3), alice, invite.text());  // retransmitted elsewhere
    farm[owner].take("SIP/2.0 404");
    CHECK(farm.asked() == 0);
    farm.at_rest();
  }
}

TEST_CASE("a claim costs one round trip, and none at the home itself") {
  Farm farm;
  Ask invite;
  const std::uint16_t home = farm.home_of(invite.call_id);
  farm.hops = 0;
  farm.receive(farm.not_home_of(invite.call_id), alice, invite.text());
  CHECK(farm.hops == 3);  // claim, claimed, and the copy at the second-ranked (which may be the asker itself, or not)
  farm[farm.asked()].events.clear();
  invite.branch = "z9hG4bKathome";
  invite.cseq = 2;
  farm.hops = 0;
  farm.receive(home, alice, invite.text());
  CHECK(farm.hops == 1);
  CHECK(farm.asked() == home);
}

TEST_CASE("a claim whose answer is lost is dropped, and made again with the retransmission") {
  Farm farm;
  Ask invite;
  const std::uint16_t home = farm.home_of(invite.call_id);
  const std::uint16_t at = farm.not_home_of(invite.call_id);
  farm.dead = home;
  farm.receive(at, alice, invite.text());
  CHECK(farm[at].engine.waiting_count() == 1);
  farm[at].receive(alice, invite.text());
  CHECK(farm[at].engine.waiting_count() == 1);
  farm.advance(500);
  CHECK(farm[at].engine.waiting_count() == 0);
  CHECK(farm[at].dropped(sip::Drop::unclaimed) == 1);
  farm.dead = 0;
  farm.receive(at, alice, invite.text());
  CHECK(farm.asked() == at);
  farm[at].events.clear();
}

TEST_CASE("a home that does not know the one proposed gives nothing away") {
  Farm farm;
  Ask invite;
  const std::uint16_t home = farm.home_of(invite.call_id);
  const std::uint16_t newcomer = farm.not_home_of(invite.call_id);
  std::vector<std::uint16_t> without;
  for (std::uint16_t number = 1; number <= 3; ++number) {
    if (number != newcomer) without.push_back(number);
  }
  farm.view_of(home, without);
  farm.receive(newcomer, alice, invite.text());
  CHECK(farm.asked() == 0);
  CHECK(farm[home].engine.directory_size() == 0);
}

TEST_CASE("a sync that comes before the view has the sender's new life is made again (DESIGN: view changes)") {
  sip::EngineConfig of_asker = Bench::config(1);
  sip::EngineConfig of_home = Bench::config(2);
  of_asker.epoch = of_home.epoch = 10;
  Bench asker{std::move(of_asker)};
  Bench home{std::move(of_home)};
  const auto see = [](Bench& bench, std::uint32_t epoch_of_asker) {
    const std::vector<sip::FarmMember> members = {{1, epoch_of_asker, true, 0}, {2, 10, true, 0}};
    bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.set_view(members, now, out); });
  };
  const auto run = [&] {
    while (!asker.frames.empty() || !home.frames.empty()) {
      Bench& from = asker.frames.empty() ? home : asker;
      Bench& to = asker.frames.empty() ? asker : home;
      const std::string payload = std::move(from.frames.front().second);
      from.frames.pop_front();
      const std::uint16_t number = &from == &asker ? 1 : 2;
      to.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.receive_bus(number, payload, now, out); });
    }
  };
  see(home, 9);
  home.frames.clear();
  see(asker, 10);
  run();
  see(home, 10);
  see(asker, 10);  // the next heartbeat
  run();
  sip::FarmView view{1, 10, Bench::config(1).transaction_key};
  const std::vector<sip::FarmMember> members = {{1, 10, true, 0}, {2, 10, true, 0}};
  view.set(members);
  Ask invite;
  for (int i = 0; view.rank(invite.call_id).first != 2; ++i) invite.call_id = "call-" + std::to_string(i);
  asker.receive(alice, invite.text());
  run();
  CHECK(asker.events.size() == 1);
  CHECK(home.dropped(sip::Drop::unclaimed) == 0);
}

TEST_CASE("responses reach the owner from wherever they arrive (DESIGN: ownership, RFC 3261 §18.1.2)") {
  Farm farm;
  const std::string at_bob = forwarded(farm, 1);
  farm.receive(2, bob, reply(at_bob, "180 Ringing"));
  farm[1].take("SIP/2.0 180");
  farm.receive(3, bob, reply(at_bob, "200 OK"));
  farm[1].take("SIP/2.0 200");
  CHECK(farm[2].counters().passed_on == 1);
  CHECK(farm[3].counters().passed_on == 1);
}

TEST_CASE("ACK and BYE of a forwarded call find its owner by Route (DESIGN: ownership)") {
  Farm farm;
  const std::string at_bob = forwarded(farm, 1);
  farm.receive(2, bob, reply(at_bob, "200 OK"));
  const std::string at_alice = farm[1].take("SIP/2.0 200");
  farm[1].events.clear();
  Ask ask;
  ask.method = "ACK";
  ask.branch = "z9hG4bKack";
  ask.uri = "sip:bob@192.0.2.2:5062";
  ask.to_tag = "bob";
  ask.more = caller_route(at_alice);
  farm.receive(3, alice, ask.text());
  farm[1].take("ACK sip:bob@");
  ask.method = "BYE";
  ask.branch = "z9hG4bKbye";
  ask.cseq = 2;
  farm.receive(2, alice, ask.text());
  const std::string bye = farm[1].take("BYE sip:bob@");
  farm.receive(3, alice, ask.text());
  farm[1].nothing_sent();
  farm.receive(3, bob, reply(bye, "200 OK"));
  farm[1].take("SIP/2.0 200");
  CHECK(farm[1].take_event(sip::EventKind::call).state == sip::CallState::ended);
  farm.at_rest();
}

TEST_CASE("a CANCEL anywhere finds its INVITE by the directory (RFC 3261 §9.2, DESIGN: directory)") {
  Farm farm;
  Ask invite;
  const std::uint16_t owner = farm.not_home_of(invite.call_id);
  const std::string at_bob = forwarded(farm, owner, invite);
  farm.receive(owner, bob, reply(at_bob, "180 Ringing"));
  farm[owner].take("SIP/2.0 180");
  Ask cancel = invite;
  cancel.method = "CANCEL";
  farm.receive(farm.not_home_of(invite.call_id, owner), alice, cancel.text());
  farm[owner].take("SIP/2.0 200");
  farm[owner].take("CANCEL ");
  farm.receive(owner, bob, reply(at_bob, "487 Request Terminated"));
  farm[owner].take("ACK ");
  farm[owner].take("SIP/2.0 487");
  Ask ack = invite;  // to a relayed failure: it bears nothing of ours
  ack.method = "ACK";
  ack.to_tag = "bob";
  farm.receive(farm.not_home_of(invite.call_id, owner), alice, ack.text());
  farm[owner].advance(10'000);
  for (const Sent& sent : farm[owner].sent) CHECK_FALSE(sent.text.starts_with("SIP/2.0 487"));
  farm.at_rest();
}

TEST_CASE("a CANCEL that overtakes its INVITE waits for it at the home, then gets 481 (DESIGN: directory)") {
  Farm farm;
  Ask invite;
  Ask cancel = invite;
  cancel.method = "CANCEL";
  const std::uint16_t home = farm.home_of(invite.call_id);
  const std::uint16_t at = farm.not_home_of(invite.call_id);
  farm.receive(at, alice, cancel.text());
  CHECK(farm[home].engine.waiting_count() == 1);
  SUBCASE("it comes") {
    farm.receive(at, alice, invite.text());
    CHECK(farm[home].engine.waiting_count() == 0);
    const std::uint64_t id = farm[at].take_event(sip::EventKind::request).id;
    CHECK(farm[at].take_event(sip::EventKind::cancel).id == id);
    farm[at].take("SIP/2.0 200");
    farm[at].respond(id, 487);
  }
  SUBCASE("it does not") {
    farm.advance(500);
    farm[home].take("SIP/2.0 481");
  }
  farm.at_rest();
}

TEST_CASE("a flood of CANCELs and of claims waits up to a bound") {
  sip::EngineConfig config = Bench::config(1);
  config.epoch = 10;
  config.waiting_max = 50;
  Bench member{std::move(config)};
  const std::vector<sip::FarmMember> view = {{1, 10, true, 0}, {2, 10, true, 0}};
  member.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.set_view(view, now, out); });
  for (int i = 0; i < 1'000; ++i) {
    Ask ask;
    ask.method = i % 2 == 0 ? "INVITE" : "CANCEL";
    ask.call_id = "flood-" + std::to_string(i);
    member.receive(alice, ask.text());
    CHECK(member.engine.waiting_count() <= 50);
  }
  for (const sip::Event& event : member.events) member.respond(event.id, 404);
  member.at_rest();
}

TEST_CASE("after the owner's death its calls' requests go on from any member, whoever gets them (DESIGN: death)") {
  Farm farm;
  const std::string at_bob = forwarded(farm, 1);
  farm.receive(1, bob, reply(at_bob, "200 OK"));
  const std::string at_alice = farm[1].take("SIP/2.0 200");
  farm.dead = 1;
  farm.view_of(2, {2, 3});
  farm.view_of(3, {2, 3});
  farm.run();
  Ask ask;
  ask.uri = "sip:bob@192.0.2.2:5062";
  ask.to_tag = "bob";
  ask.more = caller_route(at_alice);
  ask.method = "ACK";
  ask.branch = "z9hG4bKack";
  farm.receive(2, alice, ask.text());
  std::size_t acks = 0;
  for (const std::uint16_t number : {std::uint16_t{2}, std::uint16_t{3}}) acks += farm[number].sent.size();
  CHECK(acks == 1);
  for (const std::uint16_t number : {std::uint16_t{2}, std::uint16_t{3}}) farm[number].sent.clear();
  ask.method = "BYE";
  ask.branch = "z9hG4bKbye";
  ask.cseq = 2;
  farm.receive(2, alice, ask.text());
  farm.receive(3, alice, ask.text());  // and again, elsewhere
  std::string bye;
  std::size_t byes = 0;
  for (const std::uint16_t number : {std::uint16_t{2}, std::uint16_t{3}}) {
    for (const Sent& sent : farm[number].sent) {
      if (sent.text.starts_with("BYE sip:bob@192.0.2.2:5062")) ++byes;
    }
  }
  CHECK(byes == 1);
}

TEST_CASE("when homes move, owners note what they have there (DESIGN: view changes)") {
  for (int i = 0; i < 12; ++i) {
    Farm farm;
    Ask invite;
    invite.call_id = "moving-" + std::to_string(i);
    const std::uint16_t home = farm.home_of(invite.call_id);
    const std::uint16_t owner = farm.not_home_of(invite.call_id);
    const std::uint16_t third = farm.not_home_of(invite.call_id, owner);
    farm.receive(owner, alice, invite.text());
    REQUIRE(farm.asked() == owner);
    farm[owner].events.clear();
    farm.dead = home;
    farm.view_of(owner, {owner, third});
    farm.view_of(third, {owner, third});
    farm.run();
    farm.receive(third, alice, invite.text());
    CHECK(farm.asked() == 0);
  }
}

TEST_CASE("new work goes to a clearly less busy member, and away from one that drains (DESIGN: placement)") {
  Farm farm;
  farm.loads = {0.9F, 0.1F, 0.9F};
  farm.view({1, 2, 3});
  farm.receive(1, alice, Ask{}.text());
  CHECK(farm.asked() == 2);
  farm[2].respond(farm[2].take_event(sip::EventKind::request).id, 404);
  farm[2].take("SIP/2.0 404");  // over UDP any member may answer
  farm.loads = {};
  farm.draining = 3;
  farm.view({1, 2, 3});
  Ask other;
  other.call_id = "call-2";
  farm.receive(3, alice, other.text());
  CHECK(farm.asked() != 3);
  CHECK(farm.asked() != 0);
}

TEST_CASE("an INVITE that comes by several ways meets itself at one member (RFC 3261 §8.2.2.2)") {
  for (std::uint16_t first = 1; first <= 3; ++first) {
    for (std::uint16_t second = 1; second <= 3; ++second) {
      Farm farm;
      Ask invite;
      farm.receive(first, alice, invite.text());
      const std::uint16_t owner = farm.asked();
      REQUIRE(owner == first);
      const std::uint64_t one = farm[owner].take_event(sip::EventKind::request).id;
      invite.branch = "z9hG4bKother";
      invite.via = "SIP/2.0/UDP 192.0.2.9:5060";
      invite.uri = "sip:600@example.test";
      farm.receive(second, carol, invite.text());
      REQUIRE(farm.asked() == owner);
      const std::uint64_t other = farm[owner].take_event(sip::EventKind::request).id;
      sip::Engine& engine = farm[owner].engine;
      CHECK(engine.take_as_user_agent(one));
      CHECK(engine.take_as_user_agent(one));
      CHECK_FALSE(engine.take_as_user_agent(other));
      CHECK(farm[owner].respond(other, 482));
      CHECK(farm[owner].respond(one, 486));
      farm.advance(100'000);  // both are over
      farm[owner].sent.clear();
      invite.branch = "z9hG4bKthird";
      farm.receive(second, alice, invite.text());
      const std::uint64_t third = farm[owner].take_event(sip::EventKind::request).id;
      CHECK(engine.take_as_user_agent(third));
      CHECK(farm[owner].respond(third, 486));
      farm.at_rest();
    }
  }
}

TEST_CASE("an INVITE that was cancelled while it was decided on is taken by nobody (RFC 3261 §9.2)") {
  Bench bench;
  Ask invite;
  bench.receive(alice, invite.text());
  const std::uint64_t asked = bench.take_event(sip::EventKind::request).id;
  Ask cancel = invite;
  cancel.method = "CANCEL";
  bench.receive(alice, cancel.text());
  CHECK(bench.take_event(sip::EventKind::cancel).id == asked);
  CHECK(bench.respond(asked, 487));
  CHECK_FALSE(bench.engine.take_as_user_agent(asked));
}

TEST_CASE("what is forwarded may come twice, and a request within a dialog is never merged (RFC 3261 §16.3, §8.2.2.2)") {
  Farm farm;
  Ask invite;
  farm.receive(1, alice, invite.text());
  farm[1].forward(farm[1].take_event(sip::EventKind::request).id, {to_bob()});
  invite.branch = "z9hG4bKother";
  farm.receive(2, alice, invite.text());
  farm[1].forward(farm[1].take_event(sip::EventKind::request).id, {to_carol()});
  farm[1].take("SIP/2.0 100");
  farm[1].take("INVITE sip:bob@");
  farm[1].take("SIP/2.0 100");
  farm[1].take("INVITE sip:carol@");
  sip::Message request;
  invite.to_tag = "bob";
  request.parse(invite.text());
  CHECK(sip::merge_key({}, request) == 0);
}

TEST_CASE("no packet takes more than two hops, and garbage on the bus is counted (DESIGN: directory)") {
  Farm farm;
  sip::BusMessage message;
  message.kind = sip::BusMessage::Kind::packet;
  message.hop = alice;
  message.hops = 2;
  const std::string at_bob = forwarded(farm, 1);
  const std::string response = reply(at_bob, "180 Ringing");
  message.bytes = response;
  std::string frame;
  sip::append_bus_message(frame, message);
  farm[2].act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.receive_bus(3, frame, now, out); });
  CHECK(farm[2].frames.empty());
  farm[2].act([](sip::Engine& e, std::int64_t now, sip::Output& out) { e.receive_bus(3, "\x95nonsense", now, out); });
  CHECK(farm[2].dropped(sip::Drop::bus_malformed) == 1);
}

TEST_CASE("notes of a bus that repeats itself make the directory no larger") {
  Farm farm;
  sip::BusMessage note;
  note.kind = sip::BusMessage::Kind::note;
  note.key = 42;
  note.member = 3;
  note.epoch = 10;
  note.ttl_ms = UINT32_MAX;
  std::string frame;
  sip::append_bus_message(frame, note);
  for (int i = 0; i < 10'000; ++i) {
    farm[1].act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.receive_bus(2, frame, now, out); });
  }
  CHECK(farm[1].engine.directory_size() == 1);
  farm.at_rest();
}

TEST_CASE("what became of each packet is told at each member that it came to") {
  Farm farm;
  for (std::uint16_t number = 1; number <= 3; ++number) farm[number].trace();
  Ask invite;
  const std::uint16_t home = farm.home_of(invite.call_id);
  const std::uint16_t owner = farm.not_home_of(invite.call_id);
  const std::uint16_t third = farm.not_home_of(invite.call_id, owner);
  const auto number = [](std::uint16_t member) { return std::to_string(member); };
  const auto told_at = [&](std::uint16_t member) { return std::exchange(farm[member].told, {}); };
  const std::string at_bob = forwarded(farm, owner, invite);
  CHECK(told_at(owner) ==
        "worked_on: INVITE sip:bob@example.test SIP/2.0\n"  // told when its claim was granted
        "sent: SIP/2.0 100 Trying\nsent: INVITE sip:bob@192.0.2.2:5062 SIP/2.0\n");
  CHECK(told_at(home).empty());

  farm.receive(third, alice, invite.text());
  CHECK(told_at(third) == "passed_on to " + number(owner) + ": INVITE sip:bob@example.test SIP/2.0\n");
  CHECK(told_at(owner) == "absorbed from " + number(third) + ": INVITE sip:bob@example.test SIP/2.0\nsent: SIP/2.0 100 Trying\n");

  farm.receive(home, bob, reply(at_bob, "180 Ringing"));
  CHECK(told_at(home) == "passed_on to " + number(owner) + ": SIP/2.0 180 Ringing\n");
  CHECK(told_at(owner) == "worked_on from " + number(home) + ": SIP/2.0 180 Ringing\nsent: SIP/2.0 180 Ringing\n");

  Ask cancel = invite;
  cancel.method = "CANCEL";
  farm.receive(third, alice, cancel.text());
  CHECK(told_at(third) == "passed_on to " + number(home) + ": CANCEL sip:bob@example.test SIP/2.0\n");
  CHECK(told_at(home) ==
        "passed_on from " + number(third) + " to " + number(owner) + ": CANCEL sip:bob@example.test SIP/2.0\n");
  CHECK(told_at(owner) ==
        "worked_on from " + number(home) + ": CANCEL sip:bob@example.test SIP/2.0\n"
        "sent: SIP/2.0 200 OK\nsent: CANCEL sip:bob@192.0.2.2:5062 SIP/2.0\n");
  farm.at_rest();
}

TEST_CASE("a packet that goes no further is told with why") {
  Farm farm;
  farm[1].trace();
  farm[1].receive(alice, "\r\n\r\n");
  farm[1].receive(alice, "INVITE sip:bob@example.test SIP/2.0\r\n\r\n");
  Ask bad;
  bad.more = "Max-Forwards: 70\r\n";
  farm[1].receive(alice, bad.text());
  farm[1].receive(bob, reply(bad.text(), "200 OK"));
  CHECK(farm[1].told ==
        "dropped (keepalive): \n"
        "dropped (unanswerable): INVITE sip:bob@example.test SIP/2.0\n"
        "answered (malformed): INVITE sip:bob@example.test SIP/2.0\nsent: SIP/2.0 400 Repeated Max-Forwards\n"
        "dropped (foreign_response): SIP/2.0 200 OK\n");
  farm.at_rest();
}

TEST_CASE("a CANCEL that waits for its INVITE is told once, when it is known what became of it") {
  Farm farm;
  Ask invite;
  Ask cancel = invite;
  cancel.method = "CANCEL";
  const std::uint16_t home = farm.home_of(invite.call_id);
  farm[home].trace();
  farm.receive(home, alice, cancel.text());
  CHECK(farm[home].told.empty());
  farm.advance(500);
  CHECK(farm[home].told == "answered: CANCEL sip:bob@example.test SIP/2.0\nsent: SIP/2.0 481 Call/Transaction Does Not Exist\n");
  farm.at_rest();
}
