#include "engine_bench.hpp"

// A forwarded call ended in the name of both sides (RFC 3261 §12.2, §15).

using namespace sipfarm;
using namespace sipfarm::tests;

namespace {

sip::ForwardOptions relayed() {
  sip::ForwardOptions options;
  options.relay = true;
  return options;
}

Ask with_offer() {
  Ask invite;
  invite.body = offer;
  return invite;
}

sip::Target at_address() {
  sip::Target target;
  target.uri = "sip:bob@192.0.2.2:5062";
  return target;
}

std::uint64_t call_of(Bench& bench) {
  std::uint64_t found = 0;
  bench.engine.forwarder().calls().each([&](std::uint64_t handle, const sip::Call&) { found = handle; });
  return found;
}

void hang_up(Bench& bench) {
  const std::uint64_t call = call_of(bench);
  bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.hang_up(call, "silence", now, out); });
}

std::uint64_t stream_of(const Bench& bench) {
  for (const rtp::Command& command : bench.media) {
    if (command.kind == rtp::Command::Kind::open_relay) return command.stream;
  }
  return 0;
}

}  // namespace

TEST_CASE("each side gets a BYE as the other one would have sent it, and nothing is left of the call") {
  Bench bench;
  const Standing standing{bench, to_bob(), relayed(), with_offer()};
  Ask info = standing.from_alice("INFO", 7);
  bench.receive(alice, info.text());
  bench.receive(bob, reply(bench.take("INFO "), "200 OK"));
  bench.take("SIP/2.0 200");
  hang_up(bench);
  const Sent to_callee = bench.take_sent("BYE sip:bob@192.0.2.2:5062 SIP/2.0");
  CHECK(to_callee.hop.remote == bob.remote);
  CHECK(value_of(to_callee.text, "From") == "<sip:alice@example.test>;tag=alice");
  CHECK(value_of(to_callee.text, "To") == "<sip:bob@example.test>;tag=bob");
  CHECK(value_of(to_callee.text, "CSeq") == "8 BYE");
  CHECK(value_of(to_callee.text, "Call-ID") == "call-1");
  CHECK(count_of(to_callee.text, "Route") == 0);
  const Sent to_caller = bench.take_sent("BYE sip:alice@192.0.2.1:5061 SIP/2.0");
  CHECK(to_caller.hop.remote == alice.remote);
  CHECK(value_of(to_caller.text, "From") == "<sip:bob@example.test>;tag=bob");
  CHECK(value_of(to_caller.text, "To") == "<sip:alice@example.test>;tag=alice");
  CHECK(value_of(to_caller.text, "CSeq") == "1 BYE");
  const sip::Event ended = bench.take_event(sip::EventKind::call);
  CHECK(ended.state == sip::CallState::ended);
  CHECK(ended.text == "silence");
  CHECK(bench.ports.taken() == 0);
  bench.receive(bob, reply(to_callee.text, "200 OK"));
  bench.receive(alice, reply(to_caller.text, "481 Call/Transaction Does Not Exist"));
  bench.nothing_sent();
  bench.at_rest();
}

TEST_CASE("a BYE of ours takes the proxies of its side and the flow of its phone (RFC 3261 §12.2.1.1, RFC 5626 §5.3)") {
  Bench bench;
  Ask invite = with_offer();
  invite.more += "Record-Route: <sip:192.0.2.50;lr>, <sip:192.0.2.51;lr>\r\n";
  const net::Hop flow = hop_of("192.0.2.2", 40'000, net::Transport::tcp, 7);
  bench.call({to(flow, "sip:bob@phone.invalid;transport=tcp")}, relayed(), invite);
  const std::string at_bob = bench.take("INVITE ");
  bench.receive(flow, reply(at_bob, "200 OK", "bob", answer, "Contact: <sip:bob@phone.invalid;transport=tcp>\r\n"));
  bench.take("SIP/2.0 200");
  hang_up(bench);
  const Sent to_callee = bench.take_sent("BYE sip:bob@phone.invalid;transport=tcp SIP/2.0");
  CHECK(to_callee.hop.flow == 7);
  CHECK(count_of(to_callee.text, "Route") == 0);
  const Sent to_caller = bench.take_sent("BYE sip:alice@192.0.2.1:5061 SIP/2.0");
  CHECK(value_of(to_caller.text, "Route") == "<sip:192.0.2.50;lr>, <sip:192.0.2.51;lr>");
  CHECK(to_caller.hop.remote == net::Address::parse("192.0.2.50", 5060).value());
}

TEST_CASE("the proxies behind us stand before our Record-Route, the last one first") {
  Bench bench;
  bench.call({at_address()}, relayed(), with_offer());
  std::string ok = reply(bench.take("INVITE "), "200 OK", "bob", answer);
  ok.insert(ok.find("Record-Route:"), "Record-Route: <sip:192.0.2.61;lr>, <sip:192.0.2.60;lr>\r\n");
  bench.receive(bob, ok);
  bench.take("SIP/2.0 200");
  hang_up(bench);
  const Sent to_callee = bench.take_sent("BYE sip:bob@");
  CHECK(value_of(to_callee.text, "Route") == "<sip:192.0.2.60;lr>, <sip:192.0.2.61;lr>");
  CHECK(to_callee.hop.remote == net::Address::parse("192.0.2.60", 5060).value());
}

TEST_CASE("an end whose route set cannot be read gets no BYE, the other one does") {
  Bench bench;
  const net::Hop flow = hop_of("192.0.2.2", 40'000, net::Transport::tcp, 7);
  bench.call({to(flow, "sip:bob@phone.invalid;transport=tcp")}, relayed(), with_offer());
  std::string ok = reply(bench.take("INVITE "), "200 OK", "bob", answer, "Contact: <sip:bob@phone.invalid;transport=tcp>\r\n");
  ok.insert(ok.find("Record-Route:"), "Record-Route: <x>\r\n");
  bench.receive(flow, ok);
  bench.take("SIP/2.0 200");
  hang_up(bench);
  bench.take("BYE sip:alice@");
  bench.nothing_sent();
}

TEST_CASE("a target refresh moves where our BYE goes, a refused one does not (RFC 3261 §12.2)") {
  for (const bool accepted : {true, false}) {
    Bench bench;
    const Standing standing{bench, to_bob(), relayed(), with_offer()};
    Ask again = standing.from_alice("INVITE", 2);
    again.more += "Contact: <sip:alice@192.0.2.77:5061>\r\n";
    again.body = offer;
    bench.receive(alice, again.text());
    bench.take("SIP/2.0 100");
    const std::string at_bob = bench.take("INVITE ");
    bench.receive(bob, reply(at_bob, accepted ? "200 OK" : "488 Not Acceptable Here", "bob", accepted ? answer : std::string_view{}));
    if (!accepted) bench.take("ACK ");
    bench.take(accepted ? "SIP/2.0 200" : "SIP/2.0 488");
    hang_up(bench);
    CHECK(value_of(bench.take("BYE sip:bob@"), "CSeq") == "3 BYE");
    CHECK(bench.take_sent("BYE ").hop.remote.same_ip(net::Address::parse(accepted ? "192.0.2.77" : "192.0.2.1", 0).value()));
  }
}

TEST_CASE("a BYE of ours to a name waits for its address, and over TLS names the server") {
  Bench bench;
  bench.call({at_address()}, relayed(), with_offer());
  bench.receive(bob, reply(bench.take("INVITE "), "200 OK", "bob", answer, "Contact: <sips:bob@phone.example>\r\n"));
  bench.take("SIP/2.0 200");
  bench.events.clear();
  hang_up(bench);
  const std::uint64_t query = bench.take_event(sip::EventKind::resolve).id;
  bench.take("BYE sip:alice@");
  bench.nothing_sent();
  const net::Hop found[] = {hop_of("192.0.2.8", 5061, net::Transport::tls)};
  bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.resolved(query, found, now, out); });
  const Sent to_callee = bench.take_sent("BYE sips:bob@phone.example SIP/2.0");
  CHECK(to_callee.server == "phone.example");
  CHECK(has(to_callee.text, "Via: SIP/2.0/TLS "));
  bench.at_rest();
}

TEST_CASE("without our Record-Route the call is released alone, since its numbers are not known") {
  Bench bench;
  sip::ForwardOptions options = relayed();
  options.record_route = false;
  bench.call({to_bob()}, options, with_offer());
  bench.receive(bob, reply(bench.take("INVITE "), "200 OK", "bob", answer));
  bench.take("SIP/2.0 200");
  hang_up(bench);
  bench.nothing_sent();
  bench.at_rest();
}

TEST_CASE("the streams of an answered call are told by any of them; before the answer and on hold there are none") {
  Bench bench;
  bench.call({to_bob()}, relayed(), with_offer());
  const std::string at_bob = bench.take("INVITE ");
  const std::uint64_t stream = stream_of(bench);
  REQUIRE(stream != 0);
  CHECK(sip::StreamNames::call_of(stream) == call_of(bench));
  CHECK(bench.engine.forwarder().streams_beside(stream).empty());
  bench.receive(bob, reply(at_bob, "200 OK", "bob", answer));
  const std::string at_alice = bench.take("SIP/2.0 200");
  CHECK(bench.engine.forwarder().streams_beside(stream) == std::vector{stream});
  CHECK(bench.engine.forwarder().streams_beside(stream + 1).empty());
  CHECK(bench.engine.forwarder().streams_beside(0).empty());
  for (const auto& [direction, empty] : {std::pair{"sendonly", true}, {"sendrecv", false}, {"inactive", true}, {"recvonly", true}}) {
    Ask again;
    again.method = "INVITE";
    again.uri = "sip:bob@192.0.2.2:5062";
    again.branch = std::string{"z9hG4bK"} + direction;
    again.to_tag = "bob";
    again.cseq = 2;
    again.more = caller_route(at_alice);
    again.body = std::string{offer} + "a=" + direction + "\r\n";
    bench.receive(alice, again.text());
    bench.take("SIP/2.0 100");
    bench.receive(bob, reply(bench.take("INVITE "), "200 OK", "bob", std::string{answer} + (empty ? "a=inactive\r\n" : "")));
    bench.take("SIP/2.0 200");
    CHECK(bench.engine.forwarder().streams_beside(stream).empty() == empty);
  }
}
