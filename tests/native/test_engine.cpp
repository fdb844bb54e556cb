#include "engine_bench.hpp"

// The engine of one member as a stateful proxy and user agent, message by message.

using namespace sipfarm;
using namespace sipfarm::tests;

TEST_CASE("a call is forwarded, answered and ended without Python after its start (RFC 3261 §16, §17)") {
  Bench bench;
  Ask invite;
  const std::uint64_t id = bench.ask(invite);
  bench.forward(id, {to_bob()});
  CHECK(value_of(bench.take("SIP/2.0 100"), "Via") == "SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bKalice1");
  const std::string at_bob = bench.take("INVITE sip:bob@192.0.2.2:5062 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.100:5060;branch=z9hG4bK");
  CHECK(value_of(at_bob, "Max-Forwards") == "69");
  CHECK(value_of(at_bob, "Max-Breadth") == "60");
  bench.receive(bob, reply(at_bob, "100 Trying"));
  bench.nothing_sent();
  bench.receive(bob, reply(at_bob, "180 Ringing"));
  const std::string ringing = bench.take("SIP/2.0 180");
  CHECK(count_of(ringing, "Via") == 1);
  CHECK(count_of(ringing, "Record-Route") == 2);
  bench.no_event();
  bench.receive(bob, reply(at_bob, "200 OK"));
  CHECK(count_of(bench.take("SIP/2.0 200"), "Via") == 1);
  const sip::Event answered = bench.take_event(sip::EventKind::call);
  CHECK(answered.state == sip::CallState::answered);
  CHECK(answered.id == id);
  bench.receive(bob, reply(at_bob, "200 OK"));
  bench.take("SIP/2.0 200");
  bench.no_event();
}

TEST_CASE("an answered call ends with its BYE, and everything is given back (RFC 3261 §16.6, §16.7)") {
  Bench bench;
  sip::ForwardOptions options;
  options.relay = true;
  Ask invite;
  invite.body = offer;
  Standing standing{bench, to_bob(), options, invite};
  CHECK(bench.ports.taken() == 2);
  CHECK(has(standing.at_bob, "c=IN IP4 192.0.2.100"));
  CHECK(has(standing.at_alice, "c=IN IP4 192.0.2.100"));
  bench.receive(alice, standing.from_alice("ACK", 1).text());
  const std::string ack = bench.take("ACK sip:bob@192.0.2.2:5062");
  CHECK(count_of(ack, "Route") == 0);
  bench.receive(bob, standing.from_bob("BYE", 1));
  const Sent bye = bench.take_sent("BYE sip:alice@192.0.2.1:5061");
  CHECK(bye.hop.remote == alice.remote);
  bench.receive(alice, reply(bye.text, "200 OK"));
  CHECK(bench.take_sent("SIP/2.0 200").hop.remote == bob.remote);
  const sip::Event ended = bench.take_event(sip::EventKind::call);
  CHECK(ended.state == sip::CallState::ended);
  CHECK(ended.text == "callee");
  CHECK(bench.ports.taken() == 0);
  bench.at_rest();
}

TEST_CASE("retransmitted requests are absorbed and answered by the transaction (RFC 3261 §17.2)") {
  Bench bench;
  Ask invite;
  bench.call({to_bob()}, {}, invite);
  const std::string at_bob = bench.take("INVITE ");
  bench.receive(alice, invite.text());
  bench.take("SIP/2.0 100");
  bench.receive(bob, reply(at_bob, "180 Ringing"));
  bench.take("SIP/2.0 180");
  bench.receive(alice, invite.text());
  bench.take("SIP/2.0 180");
  bench.receive(bob, reply(at_bob, "486 Busy Here"));
  bench.take("ACK ");
  CHECK(bench.take_event(sip::EventKind::call).state == sip::CallState::failed);
  bench.take("SIP/2.0 486");
  bench.receive(alice, invite.text());
  bench.take("SIP/2.0 486");
  bench.no_event();
  CHECK(bench.counters().retransmissions == 3);
  bench.receive(bob, reply(at_bob, "486 Busy Here"));  // our ACK was lost
  bench.take("ACK sip:bob@192.0.2.2:5062");
  Ask ack = invite;
  ack.method = "ACK";
  ack.to_tag = "bob";
  bench.receive(alice, ack.text());
  bench.nothing_sent();
  bench.advance(10'000);
  bench.nothing_sent();  // Timer G has stopped
  bench.at_rest();
}

TEST_CASE("a failure is sent again by Timer G until its ACK, and given up by Timer H (RFC 3261 §17.2.1)") {
  Bench bench;
  bench.respond(bench.ask({}), 404);
  bench.take("SIP/2.0 404");
  bench.advance(31'999);
  CHECK(bench.sent.size() == 10);  // 0.5, 1.5, 3.5, 7.5 … 31.5 s
  bench.sent.clear();
  bench.at_rest();
  bench.nothing_sent();
}

TEST_CASE("an INVITE that nobody answers is sent by Timer A and fails by Timer B (RFC 3261 §17.1.1.2)") {
  Bench bench;
  bench.call({to_bob()});
  bench.advance(31'999);
  CHECK(bench.sent.size() == 7);
  bench.sent.clear();
  bench.advance(1);
  bench.take("SIP/2.0 408");
  CHECK(bench.take_event(sip::EventKind::call).status == 408);
  bench.sent.clear();
  bench.at_rest();
}

TEST_CASE("a CANCEL before any provisional response waits for one (RFC 3261 §9.1)") {
  Bench bench;
  bench.call({to_bob()});
  const std::string at_bob = bench.take("INVITE ");
  Ask cancel;
  cancel.method = "CANCEL";
  bench.receive(alice, cancel.text());
  bench.take("SIP/2.0 200");
  bench.nothing_sent();
  bench.receive(bob, reply(at_bob, "180 Ringing"));
  const std::string at_bob_cancel = bench.take("CANCEL sip:bob@192.0.2.2:5062");
  CHECK(value_of(at_bob_cancel, "Via") == value_of(at_bob, "Via"));
  bench.nothing_sent();  // a cancelled call's 180 is no news
  bench.receive(bob, reply(at_bob_cancel, "200 OK"));
  bench.advance(4'000);
  bench.nothing_sent();  // no CANCEL again
  bench.receive(bob, reply(at_bob, "487 Request Terminated"));
  bench.take("ACK ");
  bench.take("SIP/2.0 487");
  CHECK(bench.take_event(sip::EventKind::call).state == sip::CallState::failed);
  Ask ack;
  ack.method = "ACK";
  ack.to_tag = "x";
  bench.receive(alice, ack.text());
  bench.at_rest();
}

TEST_CASE("a repeated CANCEL is absorbed; one without INVITE gets 481 each time, and is not kept (RFC 3261 §9.2)") {
  Bench bench;
  Ask cancel;
  cancel.method = "CANCEL";
  for (int i = 0; i < 2; ++i) {
    bench.receive(alice, cancel.text());
    bench.take("SIP/2.0 481");
  }
  CHECK(bench.engine.transactions().server_count() == 0);
  const std::uint64_t id = bench.ask({});
  bench.respond(id, 180);
  bench.take("SIP/2.0 180");
  for (int i = 0; i < 2; ++i) {
    bench.receive(alice, cancel.text());
    bench.take("SIP/2.0 200");
  }
  CHECK(bench.counters().retransmissions == 1);
  CHECK(bench.take_event(sip::EventKind::cancel).id == id);
  bench.no_event();
  bench.respond(id, 487);
  bench.advance(40'000);
  bench.sent.clear();
  bench.at_rest();
}

TEST_CASE("a CANCEL of what may be a stranger's leaves nothing behind, and is told once (RFC 3261 §8.2.7, §9.2)") {
  Bench bench;
  const std::uint64_t id = bench.ask({});
  Ask cancel;
  cancel.method = "CANCEL";
  bench.receive(alice, cancel.text());
  const std::string to = value_of(bench.take("SIP/2.0 200"), "To");
  bench.receive(alice, cancel.text());
  CHECK(value_of(bench.take("SIP/2.0 200"), "To") == to);
  CHECK(bench.take_event(sip::EventKind::cancel).id == id);
  bench.no_event();
  bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.answer_statelessly(id, {487, {}, {}, {}, {}}, now, out); });
  CHECK(value_of(bench.take("SIP/2.0 487"), "To") == to);
  CHECK(bench.engine.transactions().server_count() == 0);
  bench.receive(alice, cancel.text());
  bench.take("SIP/2.0 481");
  bench.nothing_sent();
  bench.at_rest();
}

TEST_CASE("where a 100 has gone out a CANCEL and its INVITE are answered as any, with one To tag (RFC 3261 §9.2)") {
  Bench bench;
  const std::uint64_t id = bench.ask({});
  bench.advance(200);
  bench.take("SIP/2.0 100");
  Ask cancel;
  cancel.method = "CANCEL";
  bench.receive(alice, cancel.text());
  const std::string to = value_of(bench.take("SIP/2.0 200"), "To");
  bench.take_event(sip::EventKind::cancel);
  bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.answer_statelessly(id, {487, {}, {}, {}, {}}, now, out); });
  CHECK(value_of(bench.take("SIP/2.0 487"), "To") == to);
  bench.advance(500);
  bench.take("SIP/2.0 487");
  bench.advance(40'000);
  bench.sent.clear();
  bench.at_rest();
}

TEST_CASE("a 2xx that crosses the CANCEL wins (RFC 3261 §9.1, §16.7 step 5)") {
  Bench bench;
  bench.call({to_bob()});
  const std::string at_bob = bench.take("INVITE ");
  bench.receive(bob, reply(at_bob, "180 Ringing"));
  bench.take("SIP/2.0 180");
  Ask cancel;
  cancel.method = "CANCEL";
  bench.receive(alice, cancel.text());
  bench.take("SIP/2.0 200");
  const std::string cancelled = bench.take("CANCEL ");
  bench.receive(bob, reply(at_bob, "200 OK"));
  const std::string ok = bench.take("SIP/2.0 200");
  CHECK(value_of(ok, "CSeq") == "1 INVITE");
  CHECK(bench.take_event(sip::EventKind::call).state == sip::CallState::answered);
  bench.receive(bob, reply(cancelled, "481 Gone"));
  bench.nothing_sent();
  bench.act([](sip::Engine& e, std::int64_t now, sip::Output& out) {
    std::uint64_t call = 0;
    e.forwarder().calls().each([&](std::uint64_t handle, const sip::Call&) { call = handle; });
    e.end_call(call, "test", now, out);
  });
  bench.at_rest();
}

TEST_CASE("a callee that rings on after the CANCEL is given up after 64*T1, whatever it sends (RFC 3261 §9.1)") {
  Bench bench;
  bench.call({to_bob()});
  const std::string at_bob = bench.take("INVITE ");
  bench.receive(bob, reply(at_bob, "180 Ringing"));
  Ask cancel;
  cancel.method = "CANCEL";
  bench.receive(alice, cancel.text());
  for (int i = 0; i < 4; ++i) {
    bench.receive(bob, reply(at_bob, "180 Ringing"));
    bench.advance(8'000);
  }
  bench.advance(1);
  bool ended = false;
  for (const Sent& sent : bench.sent) ended = ended || sent.text.starts_with("SIP/2.0 487");
  CHECK(ended);
  bench.at_rest();
}

TEST_CASE("a request cancelled while Python decides is not forwarded any more (RFC 3261 §9.2)") {
  Bench bench;
  const std::uint64_t id = bench.ask({});
  Ask cancel;
  cancel.method = "CANCEL";
  bench.receive(alice, cancel.text());
  bench.take("SIP/2.0 200");
  CHECK(bench.take_event(sip::EventKind::cancel).id == id);
  bench.forward(id, {to_bob()});
  bench.take("SIP/2.0 487");
  bench.nothing_sent();
  bench.at_rest();
}

TEST_CASE("CANCEL and INVITE have one To tag of ours (RFC 3261 §9.2)") {
  Bench bench;
  const std::uint64_t id = bench.ask({});
  bench.respond(id, 180);
  const std::string ringing = bench.take("SIP/2.0 180");
  Ask cancel;
  cancel.method = "CANCEL";
  bench.receive(alice, cancel.text());
  CHECK(value_of(bench.take("SIP/2.0 200"), "To") == value_of(ringing, "To"));
}

TEST_CASE("a 2xx of a task is sent again only when asked for, and its ACK is told (RFC 3261 §13.3.1.4, RFC 6026 §7.1)") {
  Bench bench;
  Ask invite;
  const std::uint64_t id = bench.ask(invite);
  bench.respond(id, 200, "Contact: <sip:echo@192.0.2.100>\r\n");
  const std::string ok = bench.take("SIP/2.0 200");
  bench.receive(alice, invite.text());
  bench.nothing_sent();
  bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.retransmit(id, now, out); });
  CHECK(bench.take("SIP/2.0 200") == ok);
  Ask ack;
  ack.method = "ACK";
  ack.branch = "z9hG4bKack";
  const std::string to = value_of(ok, "To");
  ack.to_tag = to.substr(to.find(";tag=") + 5);
  bench.receive(alice, ack.text());
  bench.take_event(sip::EventKind::ack);
  bench.at_rest();
}

TEST_CASE("no 1xx but 100 and no 408 goes to a non-INVITE (RFC 4320 §4)") {
  Bench bench;
  Ask options;
  options.method = "MESSAGE";
  bench.call({to_bob()}, {}, options);
  const std::string at_bob = bench.take("MESSAGE ");
  bench.receive(bob, reply(at_bob, "180 Ringing"));
  bench.nothing_sent();
  bench.advance(3'500);
  std::size_t trying = 0;
  for (const Sent& sent : bench.sent) trying += sent.text.starts_with("SIP/2.0 100") ? 1U : 0U;
  CHECK(trying == 1);
  bench.advance(60'000);
  for (const Sent& sent : bench.sent) CHECK_FALSE(sent.text.starts_with("SIP/2.0 4"));
  bench.at_rest();
}

TEST_CASE("a request that Python never answers is forgotten") {
  Bench bench;
  Ask message;
  message.method = "MESSAGE";
  bench.ask(message);
  bench.at_rest();
}

TEST_CASE("a branch of the cookie alone, or none, is matched as RFC 2543 did (RFC 3261 §17.2.3)") {
  for (const char* branch : {"z9hG4bK", "", "1"}) {
    CAPTURE(branch);
    Bench bench;
    Ask first;
    first.branch = branch;
    first.method = "OPTIONS";
    Ask second = first;
    second.call_id = "call-2";
    bench.ask(first);
    bench.ask(second);
    bench.receive(alice, first.text());
    bench.no_event();
    bench.at_rest();
  }
}

TEST_CASE("the answer goes to the source where rport asks for it, else to sent-by's port (RFC 3261 §18.2.2, RFC 3581 §4)") {
  Bench bench;
  Ask options;
  options.method = "OPTIONS";
  const net::Hop nat = hop_of("198.51.100.7", 40'000);
  bench.receive(nat, options.text());
  bench.respond(bench.take_event(sip::EventKind::request).id, 200);
  const Sent plain = bench.take_sent("SIP/2.0 200");
  CHECK(plain.hop.remote == net::Address::parse("198.51.100.7", 5061));
  CHECK(has(value_of(plain.text, "Via"), ";received=198.51.100.7"));
  options.branch = "z9hG4bKr;rport;received=203.0.113.9";  // what the sender says itself is not believed
  bench.receive(nat, options.text());
  bench.respond(bench.take_event(sip::EventKind::request).id, 200);
  const Sent sent = bench.take_sent("SIP/2.0 200");
  CHECK(sent.hop.remote == nat.remote);
  CHECK(has(value_of(sent.text, "Via"), ";rport=40000;received=198.51.100.7"));
  CHECK_FALSE(has(sent.text, "203.0.113.9"));
}

TEST_CASE("malformed requests get 400 where an answer is allowed, else are counted (RFC 3261 §8.2, §21.4.1)") {
  Bench bench;
  Ask bad;
  bad.method = "OPTIONS";
  bad.max_forwards = 4'711;
  bench.receive(alice, bad.text());
  bench.take("SIP/2.0 400 Malformed Max-Forwards");
  bad.method = "ACK";
  bench.receive(alice, bad.text());
  bench.receive(alice, "SIP/2.0 200 OK\r\nVia: x\r\n\r\n");
  bench.receive(alice, "hello\r\n\r\n");
  bench.receive(alice, "\r\n\r\n");
  bench.nothing_sent();
  CHECK(bench.dropped(sip::Drop::malformed) == 4);
  CHECK(bench.dropped(sip::Drop::keepalive) == 1);
}

TEST_CASE("a STUN keep-alive is answered with where it came from and little more (RFC 5626 §4.4.2)") {
  Bench bench;
  const std::string request{"\x00\x01\x00\x00\x21\x12\xa4\x42"
                            "abcdefghijkl",
                            20};
  bench.receive(alice, request);
  const Sent sent = bench.take_sent("\x01\x01");
  CHECK(sent.text.size() == 32);
  CHECK(sent.hop == alice);
  bench.receive(alice, sent.text);  // two members in a loop would say nothing
  bench.nothing_sent();
}

TEST_CASE("responses that no transaction of ours asked for are dropped (RFC 3261 §18.1.2, RFC 6026 §8)") {
  Bench bench;
  bench.call({to_bob()});
  const std::string at_bob = bench.take("INVITE ");
  std::string elsewhere = reply(at_bob, "200 OK");
  elsewhere.replace(elsewhere.find("call-1"), 6, "call-2");  // the mark in the branch is bound to the Call-ID
  bench.receive(bob, elsewhere);
  CHECK(bench.dropped(sip::Drop::foreign_response) == 1);
  std::string forged = reply(at_bob, "200 OK");
  forged.replace(forged.find("z9hG4bK") + 7, 2, "zz");
  bench.receive(bob, forged);
  CHECK(bench.dropped(sip::Drop::foreign_response) == 2);
  std::string alone = reply(at_bob, "200 OK");  // nobody behind us to pass it to
  const std::string alices = "Via: SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bKalice1\r\n";
  alone.erase(alone.find(alices), alices.size());
  bench.receive(bob, alone);
  CHECK(bench.dropped(sip::Drop::foreign_response) == 3);
  bench.nothing_sent();
  bench.no_event();
}

TEST_CASE("a full table is answered with 503, statelessly, and grows no more") {
  sip::EngineConfig config = Bench::config(1);
  config.transactions_max = 100;
  Bench bench{std::move(config)};
  for (int i = 0; i < 1'000; ++i) {
    Ask invite;
    invite.branch = "z9hG4bKflood" + std::to_string(i);
    bench.receive(alice, invite.text());
  }
  CHECK(bench.engine.transactions().server_count() == 100);
  CHECK(bench.events.size() == 100);
  CHECK(bench.sent.size() == 900);
  bench.sent.clear();
  for (const sip::Event& event : bench.events) bench.respond(event.id, 503);
  bench.at_rest();
}

TEST_CASE("a call that stands goes on when the table is full of new work") {
  sip::EngineConfig config = Bench::config(1);
  config.transactions_max = 100;
  Bench bench{std::move(config)};
  Standing standing{bench};
  for (int i = 0; i < 1'000; ++i) {
    Ask invite;
    invite.branch = "z9hG4bKflood" + std::to_string(i);
    bench.receive(carol, invite.text());
  }
  CHECK(has(bench.sent.back().text, "SIP/2.0 503"));
  CHECK(value_of(bench.sent.back().text, "Retry-After") == "5");
  bench.sent.clear();
  bench.receive(alice, standing.from_alice("BYE", 2).text());
  bench.receive(bob, reply(bench.take("BYE sip:bob@"), "200 OK"));
  bench.take("SIP/2.0 200");
  for (const sip::Event& event : bench.events) {
    if (event.kind == sip::EventKind::request) bench.respond(event.id, 503);
  }
  rest(bench);
}

TEST_CASE("a stateless answer leaves nothing, and its ACK is absorbed by any member (RFC 3261 §8.2.7)") {
  Bench bench;
  Ask invite;
  for (int i = 0; i < 2; ++i) {  // sent again, it is decided anew
    const std::uint64_t id = bench.ask(invite);
    bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.answer_statelessly(id, {407, {}, {}, {}, {}}, now, out); });
    CHECK(bench.engine.transactions().server_count() == 0);
  }
  const std::string first = bench.take("SIP/2.0 407");
  CHECK(value_of(first, "To") == value_of(bench.take("SIP/2.0 407"), "To"));
  Ask ack = invite;
  ack.method = "ACK";
  ack.to_tag = value_of(first, "To").substr(value_of(first, "To").find(";tag=") + 5);
  bench.receive(alice, ack.text());
  bench.no_event();
  Bench other{Bench::config(2)};
  other.receive(alice, ack.text());
  other.no_event();
  CHECK(other.dropped(sip::Drop::foreign_ack) == 0);
  bench.advance(40'000);
  bench.nothing_sent();
  bench.at_rest();
}

TEST_CASE("whoever has heard 100 Trying repeats nothing, so his answer is no stateless one") {
  Bench bench;
  const std::uint64_t id = bench.ask({});
  bench.advance(200);
  bench.take("SIP/2.0 100");
  bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.answer_statelessly(id, {407, {}, {}, {}, {}}, now, out); });
  bench.take("SIP/2.0 407");
  bench.advance(500);
  bench.take("SIP/2.0 407");
  bench.sent.clear();
  bench.advance(40'000);
  bench.sent.clear();
  bench.at_rest();
}

TEST_CASE("an INVITE that Python never answers ends with 408, one that it rings for does not") {
  Bench bench;
  const std::uint64_t forgotten = bench.ask({});
  Ask other;
  other.branch = "z9hG4bKother";
  const std::uint64_t ringing = bench.ask(other);
  bench.advance(200'000);
  bench.respond(ringing, 180);
  bench.sent.clear();
  bench.advance(40'000);
  bench.take("SIP/2.0 408");
  CHECK(bench.take_event(sip::EventKind::cancel).id == forgotten);
  CHECK(!bench.respond(forgotten, 200));
  bench.no_event();
  CHECK(bench.dropped(sip::Drop::unanswered) == 1);
  bench.respond(ringing, 486);
  bench.advance(40'000);
  bench.sent.clear();
  bench.at_rest();
}

TEST_CASE("a call that is forwarded in long steps is nobody's forgotten INVITE") {
  Bench bench;
  sip::ForwardOptions options;
  options.more = true;
  options.step_ms = 170'000;
  const std::uint64_t id = bench.call({to_bob()}, options);
  bench.receive(bob, reply(bench.take("INVITE "), "180 Ringing"));
  bench.advance(170'000);
  bench.receive(bob, reply(bench.sent.back().text, "200 OK"));
  bench.sent.clear();
  bench.advance(32'000);
  bench.take_event(sip::EventKind::exhausted);
  bench.forward(id, {to_carol()}, options);
  bench.receive(carol, reply(bench.sent.back().text, "180 Ringing"));
  bench.sent.clear();
  bench.advance(100'000);
  bench.nothing_sent();
  CHECK(bench.dropped(sip::Drop::unanswered) == 0);
  bench.advance(400'000);
  bench.finish(id);
  bench.sent.clear();
  bench.at_rest();
}

TEST_CASE("what is held of messages has a bound in bytes") {
  sip::EngineConfig config = Bench::config(1);
  config.messages_bytes_max = 1'000'000;
  Bench bench{std::move(config)};
  for (int i = 0; i < 200; ++i) {
    Ask invite;
    invite.branch = "z9hG4bKlarge" + std::to_string(i);
    invite.body.assign(50'000, 'x');
    bench.receive(alice, invite.text());
  }
  CHECK(bench.engine.core().messages.bytes() < 1'200'000);
  CHECK(bench.dropped(sip::Drop::limit) > 150);
  for (const sip::Event& event : bench.events) bench.respond(event.id, 404);
  bench.at_rest();
}

TEST_CASE("a request of a task gets its responses, its timeout, and leaves nothing behind (RFC 3261 §17.1.2)") {
  Bench bench;
  sip::Engine::Outgoing bye;
  bye.method = "BYE";
  bye.uri = "sip:alice@192.0.2.1:5061";
  bye.headers = "From: <sip:echo@example.test>;tag=1\r\nTo: <sip:alice@example.test>;tag=2\r\nCall-ID: t\r\nCSeq: 1 BYE\r\n";
  bye.call_id = "t";
  const auto send = [&](std::uint64_t key) {
    CHECK(bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { return e.send(key, bye, now, out); }));
  };
  send(7);
  const std::string sent = bench.take("BYE sip:alice@192.0.2.1:5061 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.100:5060;branch=z9hG4bK");
  bench.receive(alice, reply(sent, "200 OK"));
  CHECK(bench.take_event(sip::EventKind::response).id == 7);
  bench.receive(alice, reply(sent, "200 OK"));
  bench.no_event();
  send(8);
  bench.advance(40'000);
  CHECK(bench.take_event(sip::EventKind::response).status == 408);
  bench.sent.clear();
  send(9);
  bench.fail(bench.take_sent("BYE ").transaction);
  CHECK(bench.take_event(sip::EventKind::response).status == 503);
  bench.at_rest();
}
