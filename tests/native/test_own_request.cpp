#include "engine_bench.hpp"

// Requests of the farm's own find their way as those that are forwarded do (RFC 3261 §12.2.1.1, §18.1.1, RFC 3263).

using namespace sipfarm;
using namespace sipfarm::tests;

namespace {

constexpr std::uint64_t key = 7;

/// A request within a dialog of a task's.
struct Own {
  std::string method = "UPDATE";
  std::string uri = "sip:alice@192.0.2.1:5061";
  std::string route;
  std::string body;
  std::optional<net::Hop> heard;

  bool send(Bench& bench) const {
    const std::string headers =
        "From: <sip:echo@example.test>;tag=1\r\nTo: <sip:alice@example.test>;tag=2\r\nCall-ID: t\r\nCSeq: 3 " + method + "\r\n";
    const sip::Engine::Outgoing outgoing{method, uri, route, headers, body, "t", heard};
    return bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { return e.send(key, outgoing, now, out); });
  }
};

void resolve(Bench& bench, const std::vector<net::Hop>& found) {
  const std::uint64_t query = bench.take_event(sip::EventKind::resolve).id;
  bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.resolved(query, found, now, out); });
}

void told(Bench& bench, int status) {
  const sip::Event event = bench.take_event(sip::EventKind::response);
  CHECK(event.id == key);
  CHECK(event.status == status);
  bench.no_event();
}

const std::string large(1'400, 'x');

}  // namespace

TEST_CASE("a large request goes over TCP, and by UDP where that fails (RFC 3261 §18.1.1)") {
  Bench bench;
  Own own;
  own.body = large;
  REQUIRE(own.send(bench));
  const Sent over_tcp = bench.take_sent("UPDATE ");
  CHECK(over_tcp.hop.transport == net::Transport::tcp);
  CHECK(over_tcp.hop.remote == alice.remote);
  CHECK(value_of(over_tcp.text, "Via").starts_with("SIP/2.0/TCP "));
  bench.fail(over_tcp.transaction);
  const Sent over_udp = bench.take_sent("UPDATE ");
  CHECK(over_udp.hop.transport == net::Transport::udp);
  CHECK(value_of(over_udp.text, "Via").starts_with("SIP/2.0/UDP "));
  CHECK(value_of(over_udp.text, "Via") != value_of(over_tcp.text, "Via"));
  bench.no_event();
  bench.receive(alice, reply(over_udp.text, "200 OK"));
  told(bench, 200);
  bench.at_rest();
}

TEST_CASE("one that a server over TCP answers is not sent again") {
  Bench bench;
  Own own;
  own.method = "INVITE";
  own.body = large;
  REQUIRE(own.send(bench));
  const Sent sent = bench.take_sent("INVITE ");
  bench.receive(sent.hop, reply(sent.text, "180 Ringing"));
  told(bench, 180);
  bench.receive(sent.hop, reply(sent.text, "200 OK"));
  told(bench, 200);
  bench.receive(sent.hop, reply(sent.text, "200 OK"));
  told(bench, 200);
  bench.nothing_sent();
  bench.at_rest();
}

TEST_CASE("the name of a Record-Route is looked up, and its addresses are tried in turn (RFC 3263 §4.3)") {
  Bench bench;
  Own own;
  own.route = "<sip:edge.carrier.test;lr>, <sip:192.0.2.9;lr>";
  own.heard = carol;  // who stays in the path is reached by its Record-Route
  REQUIRE(own.send(bench));
  bench.nothing_sent();
  CHECK(bench.events.front().text == "edge.carrier.test");
  resolve(bench, {alice, bob, carol});
  const Sent first = bench.take_sent("UPDATE sip:alice@192.0.2.1:5061 ");
  CHECK(first.hop.remote == alice.remote);
  CHECK(value_of(first.text, "Route") == own.route);
  bench.fail(first.transaction);
  const Sent second = bench.take_sent("UPDATE ");
  CHECK(second.hop.remote == bob.remote);
  bench.receive(bob, reply(second.text, "503 Service Unavailable"));
  const Sent third = bench.take_sent("UPDATE ");
  CHECK(third.hop.remote == carol.remote);
  bench.no_event();
  bench.receive(bob, reply(second.text, "503 Service Unavailable"));  // again
  bench.no_event();
  bench.advance(40'000);
  bench.sent.clear();
  told(bench, 408);
  bench.at_rest();
}

TEST_CASE("a name over TLS must be proven by its server") {
  Bench bench;
  Own own;
  own.uri = "sips:alice@phone.example.test";
  REQUIRE(own.send(bench));
  resolve(bench, {hop_of("192.0.2.1", 5061, net::Transport::tls)});
  CHECK(bench.take_sent("UPDATE ").server == "phone.example.test");
}

TEST_CASE("a name that nobody knows, or nobody looks up, is told as 503") {
  Bench bench;
  Own own;
  own.uri = "sip:alice@gone.example.test";
  REQUIRE(own.send(bench));
  resolve(bench, {});
  told(bench, 503);
  REQUIRE(own.send(bench));
  bench.take_event(sip::EventKind::resolve);
  bench.advance(40'000);
  told(bench, 503);
  own.uri = "tel:+1";
  CHECK_FALSE(own.send(bench));
  own.uri = "sip:alice@192.0.2.1";
  own.route = "nonsense";
  CHECK_FALSE(own.send(bench));
  bench.nothing_sent();
  bench.at_rest();
}

TEST_CASE("a strict router takes the Request-URI, and the target ends the route (RFC 3261 §12.2.1.1)") {
  Bench bench;
  Own own;
  own.route = "<sip:192.0.2.8:5064>, <sip:192.0.2.9;lr>";
  REQUIRE(own.send(bench));
  const Sent sent = bench.take_sent("UPDATE sip:192.0.2.8:5064 ");
  CHECK(sent.hop.remote == net::Address::parse("192.0.2.8", 5064).value());
  CHECK(value_of(sent.text, "Route") == "<sip:192.0.2.9;lr>, <sip:alice@192.0.2.1:5061>");
}

TEST_CASE("a phone behind a NAT is asked where it was heard, and by nothing but UDP, however large") {
  Bench bench;
  Own own;
  own.uri = "sip:alice@10.0.0.1:5061";
  own.heard = alice;
  own.body = large;
  REQUIRE(own.send(bench));
  const Sent sent = bench.take_sent("UPDATE sip:alice@10.0.0.1:5061 ");
  CHECK(sent.hop.remote == alice.remote);
  CHECK(sent.hop.transport == net::Transport::udp);
  bench.receive(alice, reply(sent.text, "200 OK"));
  told(bench, 200);
  bench.at_rest();
}

TEST_CASE("where its connection is gone, the far end's own address is left") {
  Bench bench;
  Own own;
  own.uri = "sip:alice@192.0.2.1:5061;transport=tcp";
  own.heard = hop_of("192.0.2.1", 40'000, net::Transport::tcp, 3);
  REQUIRE(own.send(bench));
  const Sent by_flow = bench.take_sent("UPDATE ");
  CHECK(by_flow.hop.flow == 3);
  bench.fail(by_flow.transaction);
  const Sent anew = bench.take_sent("UPDATE ");
  CHECK(anew.hop.flow == 0);
  CHECK(anew.hop.remote == alice.remote);
  bench.fail(anew.transaction);
  bench.nothing_sent();
  told(bench, 503);

  own.uri = "sip:alice@phone.example.test;transport=tcp";
  REQUIRE(own.send(bench));
  bench.fail(bench.take_sent("UPDATE ").transaction);
  resolve(bench, {hop_of("192.0.2.1", 5061, net::Transport::tcp)});
  CHECK(bench.take_sent("UPDATE ").hop.remote == alice.remote);
  bench.advance(40'000);
  told(bench, 408);
  bench.at_rest();
}

TEST_CASE("the ACK to a 2xx goes where its name is, once, with a branch that a repeated one has too") {
  Bench bench;
  Own ack;
  ack.method = "ACK";
  ack.route = "<sip:edge.carrier.test;lr>";
  REQUIRE(ack.send(bench));
  resolve(bench, {bob, carol});
  const Sent sent = bench.take_sent("ACK ");
  CHECK(sent.hop.remote == bob.remote);
  CHECK(sent.transaction == 0);
  REQUIRE(ack.send(bench));
  resolve(bench, {bob});
  CHECK(bench.take("ACK ") == sent.text);
  bench.advance(60'000);
  bench.nothing_sent();
  bench.no_event();
  bench.at_rest();
}
