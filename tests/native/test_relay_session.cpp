#include "sip/relay_session.hpp"

#include "engine_bench.hpp"

using namespace sipfarm;
using namespace sipfarm::sip;
using namespace sipfarm::tests;
using Kind = rtp::Command::Kind;

namespace {

struct Session {
  rtp::PortPool ports;
  RelaySession relay;
  Output out;
  std::string body;
  std::uint64_t count = 0;
  StreamNames names{1, count};
  const net::Address relay_address = net::Address::parse("192.0.2.100", 0).value();

  explicit Session(int pairs = 20) {
    for (int i = 0; i < pairs; ++i) ports.add(static_cast<std::uint16_t>(20'000 + 2 * i));
  }
  SdpOutcome pass(rtp::Side from, std::string_view sdp, std::int64_t now_ms = 0, bool tentative = false) {
    out.clear();
    body.clear();
    return relay.pass(from, from == rtp::Side::a ? alice : bob, sdp, relay_address, ports, names, tentative, now_ms, out, body);
  }
};

std::string with_line(std::string_view sdp, const std::string& more) { return std::string{sdp} + more + "\r\n"; }
std::string replaced(std::string_view sdp, std::string_view from, std::string_view to) {
  std::string out{sdp};
  return out.replace(out.find(from), from.size(), to);
}

}  // namespace

TEST_CASE_FIXTURE(Session, "offer and answer get the relay's ports, each side its own (RFC 3264 §5, §6)") {
  CHECK(pass(rtp::Side::a, offer) == SdpOutcome::rewritten);
  CHECK(has(body, "m=audio 20002 RTP/AVP 9 0"));  // what Bob sees is side b's
  REQUIRE(out.media.size() == 1);
  CHECK(out.media[0].kind == Kind::open_relay);
  CHECK(out.media[0].remotes[0].rtp == net::Address::parse("192.0.2.1", 4'000));
  CHECK(out.media[0].remotes[0].signalling == alice.remote);
  CHECK(pass(rtp::Side::b, answer) == SdpOutcome::rewritten);
  CHECK(has(body, "m=audio 20000 RTP/AVP 9"));
  CHECK(out.media[0].kind == Kind::set_remote);
  CHECK(out.media[0].side == rtp::Side::b);
  CHECK(ports.taken() == 2);
  relay.release(ports, 0, out);
  CHECK(ports.taken() == 0);
  CHECK_FALSE(relay.active());
}

TEST_CASE_FIXTURE(Session, "a line refused in the answer is closed, its ports given back (RFC 3264 §6)") {
  pass(rtp::Side::a, with_line(offer, "m=video 4002 RTP/AVP 31"));
  CHECK(ports.taken() == 4);
  pass(rtp::Side::b, with_line(answer, "m=video 0 RTP/AVP 31"));
  CHECK(ports.taken() == 2);
  CHECK(has(body, "m=video 0 "));
}

TEST_CASE_FIXTURE(Session, "hold is told to the plane, and resumed (RFC 3264 §8.4)") {
  pass(rtp::Side::a, offer);
  pass(rtp::Side::b, answer);
  pass(rtp::Side::a, with_line(offer, "a=sendonly"));
  CHECK(out.media.back().kind == Kind::set_held);
  CHECK(out.media.back().held);
  pass(rtp::Side::a, offer);
  CHECK_FALSE(out.media.back().held);
}

TEST_CASE_FIXTURE(Session, "a side holds until it has taken that back, whatever the other one says (RFC 3264 §8.4)") {
  pass(rtp::Side::a, offer);
  pass(rtp::Side::b, answer);
  pass(rtp::Side::a, with_line(offer, "a=sendonly"));
  pass(rtp::Side::b, with_line(answer, "a=recvonly"));
  CHECK(relay.streams()[0].held());
  pass(rtp::Side::a, offer);
  CHECK(relay.streams()[0].held());  // until the answer
  pass(rtp::Side::b, answer);
  CHECK_FALSE(relay.streams()[0].held());
  CHECK_FALSE(out.media.back().held);
}

TEST_CASE_FIXTURE(Session, "what is taken back leaves addresses, ports, holds and streams as they were (RFC 3261 §14.1)") {
  const std::string both = with_line(offer, "m=video 4002 RTP/AVP 31");
  pass(rtp::Side::a, both);
  pass(rtp::Side::b, with_line(answer, "m=video 6002 RTP/AVP 31"));
  const std::vector<RelayStream> before = relay.streams();
  // Another address, on hold, with one line more and one less.
  std::string moved = replaced(with_line(offer, "a=sendonly"), "c=IN IP4 192.0.2.1", "c=IN IP4 192.0.2.9");
  moved = with_line(with_line(moved, "m=video 0 RTP/AVP 31"), "m=text 4004 RTP/AVP 98");
  CHECK(pass(rtp::Side::a, moved, 0, true) == SdpOutcome::rewritten);
  CHECK(ports.taken() == 6);
  CHECK(relay.streams()[0].held());
  out.clear();
  relay.take_back(rtp::Side::a, before, ports, 0, out);
  CHECK(ports.taken() == 4);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(relay.streams()[i].id == before[i].id);
    CHECK(relay.streams()[i].ports == before[i].ports);
    for (std::size_t side = 0; side < 2; ++side) CHECK(relay.streams()[i].remotes[side].rtp == before[i].remotes[side].rtp);
    CHECK_FALSE(relay.streams()[i].held());
  }
  CHECK(relay.streams()[2].id == 0);
  REQUIRE(out.media.size() == 4);
  CHECK(out.media[0].kind == Kind::set_remote);
  CHECK(out.media[0].remotes[0].rtp == net::Address::parse("192.0.2.1", 4'000));
  CHECK(out.media[1].kind == Kind::set_held);
  CHECK_FALSE(out.media[1].held);
  CHECK(out.media[3].kind == Kind::close);
}

TEST_CASE_FIXTURE(Session, "of two offers at once each is taken back alone (RFC 3261 §14.1, 491)") {
  pass(rtp::Side::a, offer);
  pass(rtp::Side::b, answer);
  const std::vector<RelayStream> first = relay.streams();
  pass(rtp::Side::a, replaced(with_line(offer, "m=text 4004 RTP/AVP 98"), "c=IN IP4 192.0.2.1", "c=IN IP4 192.0.2.9"), 0, true);
  const std::vector<RelayStream> second = relay.streams();
  pass(rtp::Side::b, replaced(with_line(answer, "m=text 6004 RTP/AVP 98"), "c=IN IP4 192.0.2.2", "c=IN IP4 192.0.2.8"), 0, true);
  CHECK(ports.taken() == 4);
  relay.take_back(rtp::Side::a, first, ports, 0, out);
  CHECK(relay.streams()[0].remotes[0].rtp == net::Address::parse("192.0.2.1", 4'000));
  CHECK(relay.streams()[0].remotes[1].rtp == net::Address::parse("192.0.2.8", 6'000));
  CHECK(ports.taken() == 4);  // the other one offers it yet
  relay.take_back(rtp::Side::b, second, ports, 0, out);
  CHECK(relay.streams()[0].remotes[1].rtp == net::Address::parse("192.0.2.2", 6'000));
  CHECK(ports.taken() == 4);
  relay.release(ports, 0, out);
  CHECK(ports.taken() == 0);
}

TEST_CASE_FIXTURE(Session, "an offer that comes late, in the 2xx, is the callee's (RFC 3261 §13.2.1)") {
  CHECK(pass(rtp::Side::b, offer) == SdpOutcome::rewritten);
  CHECK(has(body, "m=audio 20000 "));
  CHECK(pass(rtp::Side::a, answer) == SdpOutcome::rewritten);
  CHECK(has(body, "m=audio 20002 "));
}

TEST_CASE_FIXTURE(Session, "what comes again is rewritten the same way and moves no media") {
  pass(rtp::Side::a, offer);
  pass(rtp::Side::b, answer);
  const std::string first = body;
  std::string again;
  CHECK(relay.pass_again(rtp::Side::b, answer, relay_address, again) == SdpOutcome::rewritten);
  CHECK(again == first);
}

TEST_CASE("too few ports for all lines: none is taken, the plane hears nothing") {
  Session session{3};
  CHECK(session.pass(rtp::Side::a, with_line(offer, "m=video 4002 RTP/AVP 31")) == SdpOutcome::no_ports);
  CHECK(session.ports.taken() == 0);
  CHECK(session.out.media.empty());
  CHECK_FALSE(session.relay.active());
  CHECK(session.pass(rtp::Side::a, offer, 10'000) == SdpOutcome::rewritten);  // they have rested
}

TEST_CASE_FIXTURE(Session, "what is no SDP, or has too many lines, is left alone") {
  CHECK(pass(rtp::Side::a, "hello") == SdpOutcome::untouched);
  std::string many{offer};
  for (int i = 0; i < 20; ++i) many += "m=audio 4000 RTP/AVP 0\r\n";
  CHECK(pass(rtp::Side::a, many) == SdpOutcome::untouched);
  const std::string multicast = replaced(offer, "IN IP4 192.0.2.1\r\nt=", "IN IP4 224.0.0.1\r\nt=");
  pass(rtp::Side::a, multicast);
  CHECK((body.empty() || body == multicast));
  CHECK(ports.taken() == 0);
}
