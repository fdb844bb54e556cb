#include "engine_bench.hpp"

// Forks, their branches and best responses.

using namespace sipfarm;
using namespace sipfarm::tests;

TEST_CASE("the first 2xx cancels the other branches (RFC 3261 §16.7 step 10)") {
  Bench bench;
  bench.call({to_bob(), to_carol()});
  const std::string at_bob = bench.take("INVITE sip:bob@");
  const std::string at_carol = bench.take("INVITE sip:carol@");
  bench.receive(carol, reply(at_carol, "180 Ringing", "carol"));
  bench.take("SIP/2.0 180");
  bench.receive(bob, reply(at_bob, "200 OK"));
  bench.take("SIP/2.0 200");
  CHECK(has(bench.take("CANCEL sip:carol@"), "Reason: SIP;cause=200"));
  bench.receive(carol, reply(at_carol, "487 Request Terminated", "carol"));
  bench.take("ACK ");
  bench.nothing_sent();
  rest(bench);
}

TEST_CASE("every 2xx of a fork goes to the caller, and the call lasts until the last dialog ends (RFC 3261 §16.7 step 5, §13.2.2.4)") {
  Bench bench;
  bench.call({to_bob(), to_carol()});
  const std::string at_bob = bench.take("INVITE sip:bob@");
  const std::string at_carol = bench.take("INVITE sip:carol@");
  bench.receive(bob, reply(at_bob, "200 OK", "bob"));
  const std::string from_bob = bench.take("SIP/2.0 200");
  bench.receive(carol, reply(at_carol, "200 OK", "carol"));
  CHECK(has(value_of(bench.take("SIP/2.0 200"), "To"), ";tag=carol"));
  bench.receive(bob, reply(at_bob, "200 OK", "bob"));  // again: our caller's ACK was lost
  CHECK(bench.take("SIP/2.0 200") == from_bob);
  bench.events.clear();
  Ask bye;
  bye.method = "BYE";
  bye.branch = "z9hG4bKbye";
  bye.cseq = 2;
  bye.to_tag = "carol";
  bye.uri = "sip:carol@192.0.2.3:5063";
  bye.more = caller_route(from_bob);
  bench.receive(alice, bye.text());
  std::string at = bench.take("BYE ");
  bench.receive(carol, reply(at, "200 OK"));
  bench.take("SIP/2.0 200");
  bench.no_event();
  bye.to_tag = "bob";
  bye.cseq = 3;
  bye.branch = "z9hG4bKbye2";
  bench.receive(alice, bye.text());
  at = bench.take("BYE ");
  bench.receive(bob, reply(at, "200 OK"));
  CHECK(bench.take_event(sip::EventKind::call).state == sip::CallState::ended);
  bench.at_rest();
}

TEST_CASE("2xx of two phones behind one branch: the first has the relay, the second one's BYE does not end it") {
  Bench bench;
  sip::ForwardOptions options;
  options.relay = true;
  Ask invite;
  invite.body = offer;
  bench.call({to_bob()}, options, invite);
  const std::string at_bob = bench.take("INVITE ");
  bench.receive(bob, reply(at_bob, "200 OK", "one", answer));
  const std::string one = bench.take("SIP/2.0 200");
  const std::size_t told = bench.media.size();
  std::string other{answer};
  other.replace(other.find("192.0.2.2\r\nt="), 9, "192.0.2.9");
  bench.receive(bob, reply(at_bob, "200 OK", "two", other));
  CHECK(has(bench.take("SIP/2.0 200"), "c=IN IP4 192.0.2.100"));
  bench.receive(bob, reply(at_bob, "200 OK", "one", answer));
  CHECK(bench.take("SIP/2.0 200") == one);
  CHECK(bench.media.size() == told);  // repeats and seconds do not move the media
  bench.events.clear();
  Ask bye;
  bye.method = "BYE";
  bye.branch = "z9hG4bKbye";
  bye.cseq = 2;
  bye.to_tag = "two";
  bye.more = caller_route(one);
  bench.receive(alice, bye.text());
  bench.receive(bob, reply(bench.take("BYE "), "200 OK"));
  bench.take("SIP/2.0 200");
  bench.no_event();
  CHECK(bench.ports.taken() == 2);
  rest(bench);
}

TEST_CASE("a stream of 2xx with ever new To tags makes nothing grow without bound") {
  Bench bench;
  bench.call({to_bob()});
  const std::string at_bob = bench.take("INVITE ");
  for (int i = 0; i < 2'000; ++i) bench.receive(bob, reply(at_bob, "200 OK", "tag" + std::to_string(i)));
  bench.engine.forwarder().calls().each([](std::uint64_t, const sip::Call& call) { CHECK(call.legs.size() <= 256); });
  rest(bench);
}

TEST_CASE("the best response: 6xx, then the lowest class, then what the caller can do something about (RFC 3261 §16.7 step 6)") {
  struct Case {
    const char* bob;
    const char* carol;
    const char* best;
  };
  const Case cases[] = {
      {"486 Busy", "603 Decline", "SIP/2.0 603"}, {"500 Error", "404 Not Found", "SIP/2.0 404"}, {"486 Busy", "302 Moved", "SIP/2.0 302"},
      {"486 Busy", "415 Unsupported", "SIP/2.0 415"}, {"408 Timeout", "486 Busy", "SIP/2.0 486"}, {"503 Down", "503 Down", "SIP/2.0 500"},
      {"503 Down", "501 Not Implemented", "SIP/2.0 501"}};
  for (const Case& one : cases) {
    CAPTURE(one.best);
    Bench bench;
    bench.call({to_bob(), to_carol()});
    const std::string at_bob = bench.take("INVITE sip:bob@");
    const std::string at_carol = bench.take("INVITE sip:carol@");
    bench.receive(bob, reply(at_bob, one.bob));
    bench.take("ACK ");
    bench.nothing_sent();
    bench.receive(carol, reply(at_carol, one.carol));
    bench.take("ACK ");
    bench.take(one.best);
    bench.at_rest();
  }
}

TEST_CASE("a 6xx cancels the other branches and is sent when they have ended (RFC 3261 §16.7 step 5)") {
  Bench bench;
  bench.call({to_bob(), to_carol()});
  const std::string at_bob = bench.take("INVITE sip:bob@");
  const std::string at_carol = bench.take("INVITE sip:carol@");
  bench.receive(carol, reply(at_carol, "180 Ringing"));
  bench.take("SIP/2.0 180");
  bench.receive(bob, reply(at_bob, "603 Decline"));
  bench.take("ACK ");
  bench.take("CANCEL sip:carol@");
  bench.nothing_sent();
  bench.receive(carol, reply(at_carol, "487 Request Terminated"));
  bench.take("ACK ");
  bench.take("SIP/2.0 603");
  bench.at_rest();
}

TEST_CASE("challenges of all branches reach the caller together (RFC 3261 §16.7 step 7)") {
  Bench bench;
  bench.call({to_bob(), to_carol()});
  const std::string at_bob = bench.take("INVITE sip:bob@");
  const std::string at_carol = bench.take("INVITE sip:carol@");
  bench.receive(bob, reply(at_bob, "401 Unauthorized", "bob", {}, "WWW-Authenticate: Digest realm=\"bob\", nonce=\"1\"\r\n"));
  bench.receive(carol, reply(at_carol, "407 Proxy", "carol", {}, "Proxy-Authenticate: Digest realm=\"carol\", nonce=\"2\"\r\n"));
  bench.take("ACK ");
  bench.take("ACK ");
  const std::string best = bench.take("SIP/2.0 401");
  CHECK(value_of(best, "WWW-Authenticate") == "Digest realm=\"bob\", nonce=\"1\"");
  CHECK(value_of(best, "Proxy-Authenticate") == "Digest realm=\"carol\", nonce=\"2\"");
  CHECK(count_of(best, "WWW-Authenticate") == 1);
  bench.at_rest();
}

TEST_CASE("a ringing branch is cancelled by Timer C, a provisional response resets it (RFC 3261 §16.7 step 2, §16.8)") {
  Bench bench;
  bench.call({to_bob()});
  const std::string at_bob = bench.take("INVITE ");
  bench.receive(bob, reply(at_bob, "180 Ringing"));
  bench.take("SIP/2.0 180");
  bench.advance(180'000);
  bench.receive(bob, reply(at_bob, "180 Ringing"));
  bench.take("SIP/2.0 180");
  bench.advance(184'999);
  bench.nothing_sent();
  bench.advance(1);
  bench.take("CANCEL ");
  bench.receive(bob, reply(at_bob, "487 Request Terminated"));
  bench.take("ACK ");
  bench.take("SIP/2.0 408");
  bench.at_rest();
}

TEST_CASE("serial forking: a step that is over is cancelled, the next targets are asked for (RFC 3261 §16.6, §16.7 step 4)") {
  Bench bench;
  sip::ForwardOptions options;
  options.more = true;
  options.step_ms = 20'000;
  const std::uint64_t id = bench.call({to_bob(), to_carol()}, options);
  const std::string at_bob = bench.take("INVITE sip:bob@");
  bench.take("INVITE sip:carol@");  // who never answers at all
  bench.receive(bob, reply(at_bob, "180 Ringing"));
  bench.take("SIP/2.0 180");
  bench.advance(19'999);
  bench.sent.clear();
  bench.advance(1);
  CHECK(has(bench.take("CANCEL sip:bob@"), "cause=408"));
  bench.no_event();
  bench.receive(bob, reply(at_bob, "487 Request Terminated"));
  bench.take("ACK ");
  const sip::Event exhausted = bench.take_event(sip::EventKind::exhausted);
  CHECK(exhausted.id == id);
  CHECK(exhausted.status == 408);  // not 487: the caller has cancelled nothing
  bench.advance(1'000);
  bench.sent.clear();
  options.more = false;
  bench.forward(id, {to(carol, "sip:voicemail@192.0.2.3:5063")}, options);
  const std::string at_voicemail = bench.take("INVITE sip:voicemail@");
  bench.receive(carol, reply(at_voicemail, "200 OK"));
  bench.take("SIP/2.0 200");
  rest(bench);
}

TEST_CASE("a fork that is exhausted, and of which Python says nothing more, ends with the best response") {
  Bench bench;
  sip::ForwardOptions options;
  options.more = true;
  bench.call({to_bob()}, options);
  bench.receive(bob, reply(bench.take("INVITE "), "486 Busy Here"));
  bench.take("ACK ");
  bench.take_event(sip::EventKind::exhausted);
  bench.advance(32'000);
  bench.take("SIP/2.0 486");
  bench.at_rest();
}

TEST_CASE("a lost flow is told by the branch's place in its step, and never as 430 to the caller (RFC 5626 §5.3)") {
  Bench bench;
  sip::ForwardOptions options;
  options.more = true;
  const auto over = [](std::uint32_t flow) { return to(hop_of("192.0.2.2", 40'000, net::Transport::tcp, flow), "sip:bob@192.0.2.2:5062"); };
  const std::uint64_t id = bench.call({to_carol()}, options);
  bench.receive(carol, reply(bench.take("INVITE sip:carol@"), "480 Temporarily Unavailable", "carol"));
  bench.take("ACK ");
  CHECK(bench.take_event(sip::EventKind::exhausted).text.empty());
  bench.forward(id, {over(7), to_carol(), over(9)}, options);
  const Sent first = bench.take_sent("INVITE sip:bob@");
  const std::string at_carol = bench.take("INVITE sip:carol@");
  const Sent third = bench.take_sent("INVITE sip:bob@");
  bench.fail(first.transaction);
  bench.receive(carol, reply(at_carol, "503 Service Unavailable", "carol"));
  bench.take("ACK ");
  bench.receive(third.hop, reply(third.text, "430 Flow Failed"));  // an edge proxy's
  bench.take("ACK ");
  const sip::Event exhausted = bench.take_event(sip::EventKind::exhausted);
  CHECK(exhausted.text == "0,2");
  CHECK(exhausted.status == 480);
  bench.finish(id);
  bench.take("SIP/2.0 480");
  bench.at_rest();
}

TEST_CASE("where nothing but flows failed the caller gets 480, a refusal counts more (RFC 5626 §5.3, RFC 3261 §16.7 step 6)") {
  for (const auto& [answered, expected] : {std::pair{"", "480"}, std::pair{"486 Busy Here", "486"}, std::pair{"500 Oops", "500"}}) {
    Bench bench;
    std::vector<sip::Target> targets{to(hop_of("192.0.2.2", 40'000, net::Transport::tcp, 7), "sip:bob@192.0.2.2:5062")};
    if (*answered != 0) targets.push_back(to_carol());
    bench.call(targets);
    bench.fail(bench.take_sent("INVITE sip:bob@").transaction);
    if (*answered != 0) {
      bench.receive(carol, reply(bench.take("INVITE sip:carol@"), answered, "carol"));
      bench.take("ACK ");
    }
    bench.take(std::string{"SIP/2.0 "} + expected);
    bench.at_rest();
  }
}

TEST_CASE("a branch that is cancelled late does not outlive its fork") {
  Bench bench;
  bench.call({to_bob(), to_carol()});
  const std::string at_bob = bench.take("INVITE sip:bob@");
  const std::string at_carol = bench.take("INVITE sip:carol@");
  bench.receive(bob, reply(at_bob, "200 OK"));
  bench.advance(31'000);
  bench.receive(carol, reply(at_carol, "180 Ringing", "carol"));  // and then never again
  rest(bench);
}

TEST_CASE("a request with Max-Forwards 0 gets 483, one without gets 70 (RFC 3261 §16.3 step 3, §16.6 step 3)") {
  Bench bench;
  Ask invite;
  invite.max_forwards = 0;
  bench.forward(bench.ask(invite), {to_bob()});
  bench.take("SIP/2.0 483");
  bench.nothing_sent();
  invite.max_forwards = -1;
  invite.branch = "z9hG4bKnone";
  bench.call({to_bob()}, {}, invite);
  CHECK(value_of(bench.take("INVITE "), "Max-Forwards") == "70");
}

TEST_CASE("every option of Proxy-Require is unsupported (RFC 3261 §16.3 step 5)") {
  Bench bench;
  Ask invite;
  invite.more = "Proxy-Require: foo, bar\r\nProxy-Require: baz\r\n";
  bench.forward(bench.ask(invite), {to_bob()});
  CHECK(lines_of(bench.take("SIP/2.0 420"), "Unsupported") == "Unsupported: foo, bar\r\nUnsupported: baz\r\n");
}

TEST_CASE("a request that comes back unchanged is a loop, one with another Request-URI a spiral (RFC 5393 §4.2)") {
  Bench bench;
  const net::Hop self = hop_of("192.0.2.100", 5060);
  bench.call({to(self, "sip:bob@example.test")});
  const std::string looped = bench.take("INVITE sip:bob@example.test");
  bench.receive(self, looped);
  bench.forward(bench.take_event(sip::EventKind::request).id, {to(self, "sip:bob@example.test")});
  bench.take("SIP/2.0 482");
  bench.nothing_sent();
  Ask other;
  other.branch = "z9hG4bKspiral";
  other.call_id = "call-2";
  bench.call({to(self, "sip:carol@example.test")}, {}, other);
  bench.receive(self, bench.take("INVITE sip:carol@example.test"));
  bench.forward(bench.take_event(sip::EventKind::request).id, {to_carol()});
  bench.take("SIP/2.0 100");
  bench.take("INVITE sip:carol@192.0.2.3");
}

TEST_CASE("thousands of Via values are looked through once") {
  Bench bench;
  Ask invite;
  for (int i = 0; i < 2'000; ++i) invite.more += i == 0 ? "Via: SIP/2.0/UDP a" : ",SIP/2.0/UDP a";
  invite.more += "\r\n";
  bench.forward(bench.ask(invite), {to_bob()});
  bench.take("SIP/2.0 100");
  bench.take("INVITE ");
}

TEST_CASE("Max-Breadth is shared among the branches, and who gets none is not tried (RFC 5393 §5.3.3)") {
  Bench bench;
  Ask invite;
  invite.more = "Max-Breadth: 3\r\n";
  bench.call({to_bob(), to_carol()}, {}, invite);
  CHECK(value_of(bench.take("INVITE sip:bob@"), "Max-Breadth") == "2");
  CHECK(value_of(bench.take("INVITE sip:carol@"), "Max-Breadth") == "1");
  invite.more = "Max-Breadth: 1\r\n";
  invite.branch = "z9hG4bKone";
  invite.call_id = "call-2";
  bench.call({to_bob(), to_carol()}, {}, invite);
  const std::string at_bob = bench.take("INVITE sip:bob@");
  bench.nothing_sent();
  bench.receive(bob, reply(at_bob, "486 Busy Here"));
  bench.take("ACK ");
  bench.take("SIP/2.0 440");
}

TEST_CASE("a large request leaves by TCP, and by UDP after all where nobody listens (RFC 3261 §18.1.1)") {
  Bench bench;
  Ask invite;
  invite.body = std::string{offer} + "a=x:" + std::string(1'300, 'x') + "\r\n";
  sip::Target target;
  target.uri = "sip:bob@192.0.2.2:5062";
  bench.call({target}, {}, invite);
  const Sent over_tcp = bench.take_sent("INVITE ");
  CHECK(over_tcp.hop.transport == net::Transport::tcp);
  CHECK(has(value_of(over_tcp.text, "Via"), "SIP/2.0/TCP "));
  bench.fail(over_tcp.transaction);
  const Sent over_udp = bench.take_sent("INVITE ");
  CHECK(over_udp.hop.transport == net::Transport::udp);
  CHECK(has(value_of(over_udp.text, "Via"), "SIP/2.0/UDP "));
  bench.receive(bob, reply(over_udp.text, "486 Busy Here"));
  bench.take("ACK ");
  bench.take("SIP/2.0 486");
  bench.at_rest();
}

TEST_CASE("a name's addresses are tried in turn, each in a transaction of its own (RFC 3263 §4.3)") {
  Bench bench;
  sip::Target target;
  target.uri = "sip:bob@phone.example";
  bench.call({target});
  const sip::Event asked = bench.take_event(sip::EventKind::resolve);
  CHECK(asked.text == "phone.example");
  CHECK_FALSE(asked.chosen);
  const net::Hop found[] = {bob, carol};
  bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.resolved(asked.id, found, now, out); });
  const Sent first = bench.take_sent("INVITE ");
  CHECK(first.hop.remote == bob.remote);
  bench.receive(bob, reply(first.text, "503 Service Unavailable"));
  bench.take("ACK ");
  const Sent second = bench.take_sent("INVITE ");
  CHECK(second.hop.remote == carol.remote);
  CHECK(value_of(second.text, "Via") != value_of(first.text, "Via"));
  bench.fail(second.transaction);
  bench.take("SIP/2.0 500");
  bench.at_rest();
}

TEST_CASE("whatever a branch sends over TLS names the server that was looked up (RFC 5922 §7)") {
  Bench bench;
  sip::Target target;
  target.uri = "sips:bob@phone.example";
  const auto called = [&](const char* call_id, net::Transport transport) {
    Ask invite;
    invite.call_id = call_id;
    bench.call({target}, {}, invite);
    const std::uint64_t query = bench.take_event(sip::EventKind::resolve).id;
    const net::Hop found[] = {hop_of("192.0.2.2", 5061, transport)};
    bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.resolved(query, found, now, out); });
    return bench.take_sent("INVITE ");
  };
  const Sent invite = called("call-1", net::Transport::tls);
  CHECK(invite.server == "phone.example");
  bench.receive(bob, reply(invite.text, "180 Ringing"));
  bench.take("SIP/2.0 180");
  Ask cancel;
  cancel.method = "CANCEL";
  bench.receive(alice, cancel.text());
  bench.take("SIP/2.0 200");
  CHECK(bench.take_sent("CANCEL ").server == "phone.example");
  bench.receive(bob, reply(invite.text, "487 Request Terminated"));
  CHECK(bench.take_sent("ACK ").server == "phone.example");
  bench.take("SIP/2.0 487");
  bench.events.clear();
  CHECK(called("call-2", net::Transport::tcp).server.empty());
}

TEST_CASE("each address of a name has its own transport, unless the URI chose one (RFC 3263 §4.1)") {
  Bench bench;
  sip::Target target;
  target.uri = "sip:bob@phone.example;transport=tcp";
  bench.call({target});
  CHECK(bench.take_event(sip::EventKind::resolve).chosen);
  Ask another;
  another.call_id = "another";
  another.branch = "z9hG4bKanother";
  target.uri = "sip:bob@phone.example";
  bench.call({target}, {}, another);
  const sip::Event asked = bench.take_event(sip::EventKind::resolve);
  CHECK_FALSE(asked.chosen);
  net::Hop by_tcp = bob;
  by_tcp.transport = net::Transport::tcp;
  const net::Hop found[] = {by_tcp, carol};
  bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.resolved(asked.id, found, now, out); });
  const Sent first = bench.take_sent("INVITE ");
  CHECK(first.hop.transport == net::Transport::tcp);
  CHECK(has(value_of(first.text, "Via"), "SIP/2.0/TCP "));
  bench.fail(first.transaction);
  const Sent second = bench.take_sent("INVITE ");
  CHECK(second.hop.transport == net::Transport::udp);
  CHECK(second.hop.remote == carol.remote);
  CHECK(has(value_of(second.text, "Via"), "SIP/2.0/UDP "));
}

TEST_CASE("a name that nobody looks up fails in the end") {
  Bench bench;
  sip::Target target;
  target.uri = "sip:bob@phone.example";
  bench.call({target});
  bench.advance(32'000);
  bench.take("SIP/2.0 500");
  bench.at_rest();
}

TEST_CASE("a call that finds no media port is refused for now and takes none") {
  Bench bench;
  while (bench.ports.take(bench.now_ms)) {
  }
  const std::size_t taken = bench.ports.taken();
  sip::ForwardOptions options;
  options.relay = true;
  Ask invite;
  invite.body = offer;
  bench.call({to_bob()}, options, invite);
  const std::string refusal = bench.take("SIP/2.0 503");
  CHECK(refusal.find("Retry-After: 5\r\n") != std::string::npos);
  CHECK(bench.ports.taken() == taken);
}

TEST_CASE("each branch has a relay of its own, given back when the branch fails") {
  Bench bench;
  sip::ForwardOptions options;
  options.relay = true;
  Ask invite;
  invite.body = offer;
  bench.call({to_bob(), to_carol()}, options, invite);
  CHECK(bench.ports.taken() == 4);
  const std::string at_bob = bench.take("INVITE sip:bob@");
  bench.receive(bob, reply(at_bob, "486 Busy Here"));
  CHECK(bench.ports.taken() == 2);
  rest(bench);
}
