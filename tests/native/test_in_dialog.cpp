#include "engine_bench.hpp"

// Requests in the dialogs of forwarded calls, and those that only pretend to be.

using namespace sipfarm;
using namespace sipfarm::tests;

TEST_CASE("in-dialog requests to names are looked up too, ACKs among them (RFC 3261 §16.6 step 7, RFC 3263 §4)") {
  Bench bench;
  sip::Target target;
  target.uri = "sip:bob@192.0.2.2:5062";
  Standing standing{bench, target};
  Ask ack = standing.from_alice("ACK", 1);
  ack.uri = "sip:bob@phone.example";
  bench.receive(alice, ack.text());
  const sip::Event ack_asked = bench.take_event(sip::EventKind::resolve);
  Ask bye = standing.from_alice("BYE", 2);
  bye.uri = "sip:bob@phone.example";
  bench.receive(alice, bye.text());
  const sip::Event bye_asked = bench.take_event(sip::EventKind::resolve);
  for (const sip::Event* asked : {&ack_asked, &bye_asked}) {
    bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.resolved(asked->id, {&bob, 1}, now, out); });
  }
  CHECK(bench.take_sent("ACK ").hop.remote == bob.remote);
  bench.receive(bob, reply(bench.take("BYE "), "200 OK"));
  bench.take("SIP/2.0 200");
  bench.at_rest();
}

TEST_CASE("a caller behind NAT is reached over its flow, and over its own address where the flow is gone (RFC 5626)") {
  Bench bench;
  const net::Hop phone = hop_of("192.0.2.2", 40'000, net::Transport::tcp, 77);
  Standing standing{bench, to(phone, "sip:bob@192.0.2.2:5062;transport=tcp")};
  CHECK(has(standing.at_bob, ";flow="));
  Ask info = standing.from_alice("INFO", 2);
  info.uri = "sip:bob@192.0.2.2:5062;transport=tcp";
  bench.receive(alice, info.text());
  const Sent over_flow = bench.take_sent("INFO ");
  CHECK(over_flow.hop.flow == 77);
  bench.fail(over_flow.transaction);
  const Sent again = bench.take_sent("INFO ");
  CHECK(again.hop.flow == 0);
  CHECK(again.hop.remote == net::Address::parse("192.0.2.2", 5062));
  rest(bench);
}

TEST_CASE("a strict router before us left our Record-Route in the Request-URI (RFC 3261 §16.4)") {
  Bench bench;
  sip::Target target;
  target.uri = "sip:bob@192.0.2.2:5062";
  for (const bool twice : {false, true}) {
    CAPTURE(twice);
    Ask invite;
    invite.call_id = twice ? "call-2" : "call-1";
    invite.branch = twice ? "z9hG4bKs2" : "z9hG4bKs1";
    Standing standing{bench, twice ? to(bob, target.uri) : target, {}, invite};
    Ask bye = standing.from_alice("BYE", 2);
    bye.call_id = invite.call_id;
    bye.branch += invite.call_id;
    const std::string route = bye.more.substr(7, bye.more.size() - 9);
    const std::size_t comma = route.find(", ");
    CHECK((comma != std::string::npos) == twice);
    const std::string first = route.substr(0, comma);
    bye.uri = first.substr(1, first.size() - 2);
    bye.more = "Route: " + (twice ? route.substr(comma + 2) + ", " : std::string{}) + "<sip:bob@192.0.2.2:5062>\r\n";
    bench.receive(alice, bye.text());
    const Sent sent = bench.take_sent("BYE sip:bob@192.0.2.2:5062 SIP/2.0");
    CHECK(count_of(sent.text, "Route") == 0);
    CHECK(sent.hop.remote == bob.remote);
    bench.receive(bob, reply(sent.text, "200 OK"));
    bench.take("SIP/2.0 200");
    CHECK(bench.take_event(sip::EventKind::call).state == sip::CallState::ended);
  }
  bench.at_rest();
}

TEST_CASE("a strict router behind us gets its URI as the Request-URI, the target goes last in Route (RFC 3261 §16.6 step 6)") {
  Bench bench;
  sip::Target target;
  target.uri = "sip:bob@192.0.2.2:5062";
  Standing standing{bench, target};
  Ask info = standing.from_alice("INFO", 2);
  info.more = info.more.substr(0, info.more.size() - 2) + ", <sip:192.0.2.3:5063>, <sip:192.0.2.4;lr>\r\n";
  bench.receive(alice, info.text());
  const Sent sent = bench.take_sent("INFO sip:192.0.2.3:5063 SIP/2.0");
  CHECK(lines_of(sent.text, "Route") == "Route: <sip:192.0.2.4;lr>, <sip:bob@192.0.2.2:5062>\r\n");
  CHECK(sent.hop.remote == carol.remote);
  rest(bench);
}

TEST_CASE("Route, marks and To tags that are not those of a standing dialog pass policy as new (RFC 3261 §26, DESIGN: ownership)") {
  Bench bench;
  Standing standing{bench};
  const auto is_new = [&](const Ask& ask, const net::Hop& from = alice) {
    bench.receive(from, ask.text());
    bench.nothing_sent();
    bench.take_event(sip::EventKind::request);
  };
  Ask invite = standing.from_alice("INVITE", 2);
  SUBCASE("no To tag") {
    invite.to_tag.clear();
    is_new(invite);
  }
  SUBCASE("an invented To tag") {
    invite.to_tag = "invented";
    is_new(invite);
  }
  SUBCASE("another From tag") {
    invite.from_tag = "mallory";
    is_new(invite);
  }
  SUBCASE("another Call-ID") {
    invite.call_id = "call-9";
    is_new(invite);
  }
  SUBCASE("a mark changed in one place") {
    const std::size_t at = invite.more.find("<sip:") + 8;
    invite.more[at] = invite.more[at] == 'b' ? 'c' : 'b';
    const std::size_t second = invite.more.rfind("<sip:") + 8;
    invite.more[second] = invite.more[second] == 'b' ? 'c' : 'b';
    is_new(invite);
  }
  SUBCASE("a Route of our address without a mark") {
    invite.more = "Route: <sip:192.0.2.100:5060;lr>\r\n";
    is_new(invite);
  }
  SUBCASE("a call that has ended") {
    bench.receive(alice, standing.from_alice("BYE", 2).text());
    bench.receive(bob, reply(bench.take("BYE "), "200 OK"));
    bench.take("SIP/2.0 200");
    bench.events.clear();
    invite.cseq = 3;
    is_new(invite);
    bench.receive(bob, standing.from_bob("BYE", 1));  // that crossed ours goes through
    bench.take("BYE sip:alice@");
  }
}

TEST_CASE("a subscription's mark begins no call") {
  Bench bench;
  Ask subscribe;
  subscribe.method = "SUBSCRIBE";
  bench.call({to_bob()}, {}, subscribe);
  bench.receive(bob, reply(bench.take("SUBSCRIBE "), "200 OK"));
  const std::string ok = bench.take("SIP/2.0 200");
  Ask ask;
  ask.more = caller_route(ok);
  ask.to_tag = "bob";
  ask.branch = "z9hG4bKx";
  bench.ask(ask);
  ask.method = "SUBSCRIBE";
  ask.branch = "z9hG4bKy";
  bench.receive(alice, ask.text());
  bench.take("SUBSCRIBE ");
}

TEST_CASE("a flow in Record-Route is bound to its mark: a changed one is not followed (RFC 5626 §5.3)") {
  Bench bench;
  const net::Hop phone = hop_of("192.0.2.2", 40'000, net::Transport::tcp, 77);
  Standing standing{bench, to(phone, "sip:bob@192.0.2.2:5062;transport=tcp")};
  Ask info = standing.from_alice("INFO", 2);
  const std::size_t at = info.more.find(";flow=") + 12;
  info.more[at] = info.more[at] == '0' ? '1' : '0';
  bench.receive(alice, info.text());
  const Sent sent = bench.take_sent("INFO ");
  CHECK(sent.hop.flow == 0);
  CHECK(sent.hop.remote == net::Address::parse("192.0.2.2", 5062));  // the Request-URI's
}

TEST_CASE("a BYE with tags of no dialog ends nothing") {
  Bench bench;
  sip::ForwardOptions options;
  options.relay = true;
  Ask invite;
  invite.body = offer;
  Standing standing{bench, to_bob(), options, invite};
  Ask bye = standing.from_alice("BYE", 2);
  bye.to_tag = "nobody";
  bench.ask(bye);
  CHECK(bench.ports.taken() == 2);
  CHECK(bench.engine.forwarder().calls().size() == 1);
}

namespace {

std::string moved(std::string_view sdp, const char* from, const char* to) {
  std::string out{sdp};
  return out.replace(out.find(from), std::string_view{from}.size(), to) + "m=video 4002 RTP/AVP 31\r\n";
}

/// Where the plane was told last that a side is.
net::Address told(const Bench& bench, rtp::Side side) {
  net::Address last;
  for (const rtp::Command& command : bench.media) {
    const bool opens = command.kind == rtp::Command::Kind::open_relay && command.ports[0] == 20'000;
    const bool sets = command.kind == rtp::Command::Kind::set_remote && command.side == side && command.stream == bench.media.front().stream;
    if (opens || sets) last = command.remotes[rtp::index(side)].rtp;
  }
  return last;
}

}  // namespace

TEST_CASE("a re-INVITE that is refused leaves the relay as it was, whoever sent it and however it fails (RFC 3261 §14.1)") {
  for (const bool of_caller : {true, false}) {
    for (const char* refusal : {"488 Not Acceptable Here", "491 Request Pending", "503 Service Unavailable", "603 Decline"}) {
      for (const bool early : {false, true}) {
        CAPTURE(refusal);
        Bench bench;
        sip::ForwardOptions options;
        options.relay = true;
        Ask invite;
        invite.body = offer;
        const Standing standing{bench, to_bob(), options, invite};
        const net::Address at_alice = told(bench, rtp::Side::a);
        const net::Address at_bob = told(bench, rtp::Side::b);
        CHECK(bench.ports.taken() == 2);
        if (of_caller) {
          Ask again = standing.from_alice("INVITE", 2);
          again.body = moved(offer, "c=IN IP4 192.0.2.1", "c=IN IP4 192.0.2.9");
          bench.receive(alice, again.text());
        } else {
          std::string again = standing.from_bob("INVITE", 2);
          again.erase(again.find("Content-Length"));
          bench.receive(bob, with_body(again, moved(answer, "c=IN IP4 192.0.2.2", "c=IN IP4 192.0.2.9")));
        }
        bench.take("SIP/2.0 100");
        CHECK(bench.ports.taken() == 4);
        CHECK(told(bench, of_caller ? rtp::Side::a : rtp::Side::b) != (of_caller ? at_alice : at_bob));
        const std::string received = bench.take("INVITE ");
        CHECK(has(received, "c=IN IP4 192.0.2.100"));
        const net::Hop& far = of_caller ? bob : alice;
        if (early) {
          const std::string body = moved(of_caller ? answer : offer, of_caller ? "c=IN IP4 192.0.2.2" : "c=IN IP4 192.0.2.1", "c=IN IP4 192.0.2.8");
          bench.receive(far, reply(received, "183 Session Progress", "bob", body));
          bench.take("SIP/2.0 183");
        }
        bench.receive(far, reply(received, refusal));
        bench.take("ACK ");
        const std::string status = std::string{refusal}.substr(0, 3);
        bench.take("SIP/2.0 " + (status == "503" ? "500" : status));
        bench.no_event();
        CHECK(bench.ports.taken() == 2);
        CHECK(told(bench, rtp::Side::a) == at_alice);
        CHECK(told(bench, rtp::Side::b) == at_bob);
        rest(bench);
      }
    }
  }
}

TEST_CASE("a line that a re-INVITE refuses is closed when that is accepted, and stays where it is not (RFC 3264 §8.2)") {
  for (const bool accepted : {true, false}) {
    Bench bench;
    sip::ForwardOptions options;
    options.relay = true;
    Ask invite;
    invite.body = std::string{offer} + "m=video 4002 RTP/AVP 31\r\n";
    bench.call({to_bob()}, options, invite);
    bench.receive(bob, reply(bench.take("INVITE "), "200 OK", "bob", std::string{answer} + "m=video 6002 RTP/AVP 31\r\n"));
    Ask again = invite;
    again.more = caller_route(bench.take("SIP/2.0 200"));
    again.to_tag = "bob";
    again.cseq = 2;
    again.branch = "z9hG4bKagain";
    again.body = std::string{offer} + "m=video 0 RTP/AVP 31\r\n";
    bench.receive(alice, again.text());
    bench.take("SIP/2.0 100");
    CHECK(bench.ports.taken() == 4);
    const std::string received = bench.take("INVITE ");
    CHECK(has(received, "m=video 0 "));
    if (accepted) {
      bench.receive(bob, reply(received, "200 OK", "bob", std::string{answer} + "m=video 0 RTP/AVP 31\r\n"));
    } else {
      bench.receive(bob, reply(received, "488 Not Acceptable Here"));
    }
    CHECK(bench.ports.taken() == (accepted ? 2 : 4));
    rest(bench);
  }
}
