#include "sip/route.hpp"

#include "engine_bench.hpp"

using namespace sipfarm;
using namespace sipfarm::sip;
using namespace sipfarm::tests;

namespace {

struct Here {
  rtp::PortPool ports;
  Core core{Bench::config(1), ports, 0};
  Message invite;
  Message request;

  Here() { REQUIRE(invite.parse(Ask{}.text())); }

  /// "<sip:MARK@…>" of a Record-Route of ours for the call.
  std::string route(std::string_view flow = {}) {
    std::string line;
    append_record_route(line, core, 0, 77, invite, flow);
    return line.substr(14, line.size() - 16);
  }
  OwnRoute own(const std::string& route, const std::string& uri = "sip:bob@192.0.2.2:5062", const std::string& from_tag = "alice",
               const std::string& to_tag = "bob") {
    Ask ask;
    ask.method = "BYE";
    ask.uri = uri;
    ask.from_tag = from_tag;
    ask.to_tag = to_tag;
    ask.more = route.empty() ? "" : "Route: " + route + "\r\n";
    REQUIRE(request.parse(ask.text()));
    return own_route_of(core, request);
  }
  std::optional<NextHop> next(std::string_view text) {
    const auto uri = Uri::parse(text);
    REQUIRE(uri);
    return next_hop_of(core.config, *uri);
  }
};

}  // namespace

TEST_CASE_FIXTURE(Here, "a Record-Route of ours opens in its dialog, from either side, and nowhere else") {
  const std::string ours = route();
  CHECK(own(ours).mark->handle == 77);
  CHECK(own(ours).from == Party::caller);
  CHECK(own(ours, "sip:a@a", "bob", "alice").from == Party::callee);
  CHECK_FALSE(own(ours, "sip:a@a", "mallory", "bob").mark);
  std::string forged = ours;
  forged[8] = forged[8] == 'a' ? 'b' : 'a';
  const OwnRoute popped = own(forged);
  CHECK_FALSE(popped.mark);
  CHECK(popped.popped == 1);  // the address is ours all the same
  CHECK(own("").popped == 0);
}

TEST_CASE_FIXTURE(Here, "a Call-ID of any length binds a mark") {
  Ask ask;
  ask.call_id = std::string(2'000, 'c');
  REQUIRE(invite.parse(ask.text()));
  const std::string ours = route();
  ask.to_tag = "bob";
  ask.more = "Route: " + ours + "\r\n";
  REQUIRE(request.parse(ask.text()));
  CHECK(own_route_of(core, request).mark);
}

TEST_CASE_FIXTURE(Here, "the flow of the far side is that of the last of ours (RFC 5658, RFC 5626 §5.3)") {
  std::string near;
  std::string far;
  append_flow(near, alice, core.config);
  append_flow(far, hop_of("2001:db8::2", 40'000, net::Transport::tcp, 9), core.config);
  const OwnRoute found = own(route(near) + ", " + route(far));
  CHECK(found.popped == 2);
  CHECK(found.flow->flow == 9);
  CHECK(found.flow->remote == net::Address::parse("2001:db8::2", 40'000));
  CHECK(found.flow->member == 0);
}

TEST_CASE("a flow survives being text; what is none is nothing") {
  net::Hop hop = hop_of("192.0.2.9", 65'535, net::Transport::wss, UINT32_MAX);
  std::string text;
  append_flow(text, hop, Bench::config(3));
  CHECK(parse_flow(text, 4)->member == 3);
  hop.member = 0;
  CHECK(*parse_flow(text, 3) == hop);
  for (std::string bad : {std::string{}, text + "0", text.substr(1), "9" + text.substr(1), text.substr(0, 20) + "g" + text.substr(21)}) {
    CHECK_FALSE(parse_flow(bad, 3));
  }
}

TEST_CASE("a UDP flow names its member only where answers must leave through the receiver (DESIGN: flows)") {
  EngineConfig config = Bench::config(3);
  std::string text;
  append_flow(text, alice, config);
  CHECK(parse_flow(text, 4)->member == 0);
  config.reply_via_receiver = true;
  text.clear();
  append_flow(text, alice, config);
  CHECK(parse_flow(text, 4)->member == 3);
  CHECK(parse_flow(text, 3)->member == 0);
}

TEST_CASE_FIXTURE(Here, "the way on by Route: popped, loose, strict before and behind us (RFC 3261 §16.4, §16.6 step 6)") {
  const std::string ours = route();
  const std::string our_uri = ours.substr(1, ours.size() - 2);
  SUBCASE("only ours") {
    const auto onward = onward_of(request, own(ours));
    CHECK(onward->next == "sip:bob@192.0.2.2:5062");
    CHECK_FALSE(onward->rewritten);
  }
  SUBCASE("a loose router behind us") {
    const auto onward = onward_of(request, own(ours + ", <sip:p1;lr>, <sip:p2>"));
    CHECK(onward->next == "sip:p1;lr");
    CHECK_FALSE(onward->rewritten);
  }
  SUBCASE("a strict router behind us") {
    const auto onward = onward_of(request, own(ours + ", <sip:p1>, <sip:p2;lr>"));
    CHECK(onward->next == "sip:p1");
    CHECK(onward->request_uri == "sip:p1");
    CHECK(onward->route == "<sip:p2;lr>, <sip:bob@192.0.2.2:5062>");
  }
  SUBCASE("a strict router before us") {
    const OwnRoute found = own("<sip:p2;lr>, <sip:bob@192.0.2.2:5062>", our_uri);
    CHECK(found.strict);
    const auto onward = onward_of(request, found);
    CHECK(onward->next == "sip:p2;lr");
    CHECK(onward->request_uri == "sip:bob@192.0.2.2:5062");
    CHECK(onward->route == "<sip:p2;lr>");
  }
  SUBCASE("strict routers on both sides, and ours twice") {
    const OwnRoute found = own(ours + ", <sip:p1>, <sip:bob@192.0.2.2:5062>", our_uri);
    CHECK(found.popped == 1);
    const auto onward = onward_of(request, found);
    CHECK(onward->request_uri == "sip:p1");
    CHECK(onward->route == "<sip:bob@192.0.2.2:5062>");
  }
  SUBCASE("a Route that cannot be read") {
    CHECK_FALSE(onward_of(request, own(ours + ", <nonsense")));
  }
  SUBCASE("thousands of values") {
    std::string many = ours;
    for (int i = 0; i < 1'000; ++i) many += ", " + ours;
    CHECK(own(many).popped == 32);
  }
}

TEST_CASE_FIXTURE(Here, "the next hop of a URI as far as literals tell (RFC 3263 §4.1, §4.2)") {
  CHECK(next("sip:192.0.2.2")->hop.remote == net::Address::parse("192.0.2.2", 5060));
  CHECK(next("sip:192.0.2.2;transport=tcp")->hop.transport == net::Transport::tcp);
  CHECK(next("sip:192.0.2.2;transport=tcp")->hop.local == 1);
  CHECK(next("sips:192.0.2.2")->hop.remote.port == 5061);
  CHECK(next("sip:192.0.2.2;transport=ws")->hop.remote.port == 80);
  CHECK(next("sips:192.0.2.2;transport=ws")->hop.remote.port == 443);
  CHECK_FALSE(next("sips:192.0.2.2;transport=udp"));
  CHECK_FALSE(next("sip:192.0.2.2;transport=sctp"));
  CHECK_FALSE(next("tel:+1234"));
  CHECK_FALSE(next("sip:[2001:db8::1]"));  // no UDP listening point of that family
  const auto name = next("sip:phone.example:5070");
  CHECK_FALSE(name->known);
  CHECK(name->host == "phone.example");
  CHECK(name->port == 5070);
}

TEST_CASE_FIXTURE(Here, "our own addresses, as bound and as advertised") {
  core.config.listens[0].host = "sip.example.test";
  CHECK(is_ours(core.config, "SIP.example.test", 0));
  CHECK(is_ours(core.config, "192.0.2.100", 5060));
  CHECK_FALSE(is_ours(core.config, "192.0.2.100", 5070));
  CHECK_FALSE(is_ours(core.config, "192.0.2.101", 5060));
}
