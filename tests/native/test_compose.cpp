#include "sip/compose.hpp"

#include "engine_bench.hpp"
#include "sip/headers.hpp"

using namespace sipfarm;
using namespace sipfarm::sip;
using namespace sipfarm::tests;

namespace {

std::string response_to(const std::string& request, const ResponseParts& parts, const net::Hop& source = alice) {
  Message message;
  message.parse(request);
  std::string out;
  append_response(out, message, source, parts);
  Message again;
  CHECK(again.parse(out));
  return out;
}

}  // namespace

TEST_CASE("a response takes Via, From, To, Call-ID and CSeq over and adds a To tag (RFC 3261 §8.2.6)") {
  Ask ask;
  ask.more = "Via: SIP/2.0/TCP b;branch=2, SIP/2.0/UDP c;branch=3\r\nRecord-Route: <sip:p;lr>\r\n";
  const std::string ok = response_to(ask.text(), {200, {}, "ours", "X: y\r\n", "body"});
  CHECK(ok.starts_with("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bKalice1\r\nVia: SIP/2.0/TCP b;branch=2, SIP/2.0/UDP c;branch=3\r\n"));
  CHECK(value_of(ok, "To") == "<sip:bob@example.test>;tag=ours");
  CHECK(value_of(ok, "Record-Route") == "<sip:p;lr>");
  CHECK(ok.ends_with("X: y\r\nContent-Length: 4\r\n\r\nbody"));
  CHECK(value_of(response_to(ask.text(), {100, {}, "ours", {}, {}}), "To") == "<sip:bob@example.test>");
  CHECK(count_of(response_to(ask.text(), {404, {}, "ours", {}, {}}), "Record-Route") == 0);  // §12.1.1: it begins no dialog
  ask.to_tag = "theirs";
  CHECK(value_of(response_to(ask.text(), {200, {}, "ours", {}, {}}), "To") == "<sip:bob@example.test>;tag=theirs");
}

TEST_CASE("top Via in one line with others is stamped alone (RFC 3261 §18.2.1, RFC 3581 §4)") {
  Ask ask;
  ask.via = "SIP/2.0/UDP phone.local:5070;rport;x=\"a;b\"";
  ask.branch = "z9hG4bKa, SIP/2.0/UDP second;branch=z9hG4bKb";
  const std::string ok = response_to(ask.text(), {200, {}, {}, {}, {}}, hop_of("2001:db8::7", 4'000));
  CHECK(value_of(ok, "Via") ==
        "SIP/2.0/UDP phone.local:5070;x=\"a;b\";branch=z9hG4bKa;rport=4000;received=2001:db8::7, SIP/2.0/UDP second;branch=z9hG4bKb");
}

TEST_CASE("where an answer goes (RFC 3261 §18.2.2, RFC 3581 §4)") {
  const auto to = [](const char* via, const net::Hop& source) {
    const auto parsed = parse_via(via);
    REQUIRE(parsed);
    return reply_hop(*parsed, source);
  };
  CHECK(to("SIP/2.0/UDP a:5070", alice).remote.port == 5070);
  CHECK(to("SIP/2.0/UDP a", alice).remote.port == 5060);
  CHECK(to("SIP/2.0/UDP a;rport", alice).remote == alice.remote);
  const net::Hop stream = hop_of("192.0.2.1", 50'000, net::Transport::tcp, 5);
  CHECK(to("SIP/2.0/TCP a:5070", stream) == stream);
}

TEST_CASE("ACK and CANCEL repeat what the INVITE said, hop by hop (RFC 3261 §9.1, §17.1.1.3)") {
  Ask ask;
  ask.more = "Via: SIP/2.0/UDP behind;branch=2\r\nRoute: <sip:p;lr>\r\nContact: <sip:a@a>\r\nAuthorization: Digest x=y\r\n";
  ask.body = offer;
  Message invite;
  REQUIRE(invite.parse(ask.text()));
  std::string cancel;
  append_cancel(cancel, invite, "Reason: SIP;cause=200\r\n");
  CHECK(cancel ==
        "CANCEL sip:bob@example.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bKalice1\r\nRoute: <sip:p;lr>\r\n"
        "Max-Forwards: 70\r\nFrom: <sip:alice@example.test>;tag=alice\r\nTo: <sip:bob@example.test>\r\nCall-ID: call-1\r\n"
        "CSeq: 1 CANCEL\r\nReason: SIP;cause=200\r\nContent-Length: 0\r\n\r\n");
  std::string ack;
  append_failure_ack(ack, invite, "<sip:bob@example.test>;tag=bob");
  CHECK(value_of(ack, "To") == "<sip:bob@example.test>;tag=bob");
  CHECK(value_of(ack, "CSeq") == "1 ACK");
  CHECK(count_of(ack, "Via") == 1);
}

TEST_CASE("reason phrases of the RFCs; hexadecimal digits") {
  CHECK(reason_phrase_of(440) == "Max-Breadth Exceeded");
  CHECK(reason_phrase_of(299).empty());
  std::string out;
  append_hex(out, 0xabc, 5);
  CHECK(out == "00abc");
}

TEST_CASE("a response whose connection is gone goes where its request came from, at the port of sent-by (RFC 3261 §18.2.2)") {
  const auto response = [](const char* via) {
    return std::string{"SIP/2.0 200 OK\r\nVia: SIP/2.0/"} + via +
           ";branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
  };
  net::Hop gone;
  gone.remote = net::Address::parse("192.0.2.1", 40'000).value();
  gone.flow = 7;
  gone.member = 2;
  gone.transport = net::Transport::tls;
  auto found = sip::sent_by_of(response("TLS phone.example"), gone);
  REQUIRE(found);
  CHECK(found->hop.remote == net::Address::parse("192.0.2.1", 5061).value());
  CHECK(found->server == "phone.example");
  CHECK(found->name == "phone.example");
  CHECK(found->port == 0);
  CHECK(found->hop.flow == 0);
  CHECK(found->hop.member == 0);
  gone.transport = net::Transport::tcp;
  found = sip::sent_by_of(response("TCP 192.0.2.1:5070"), gone);
  REQUIRE(found);
  CHECK(found->hop.remote.port == 5070);
  CHECK(found->server.empty());
  CHECK(found->name.empty());
  found = sip::sent_by_of(response("TCP phone.example:5070"), gone);
  REQUIRE(found);
  CHECK(found->server.empty());
  CHECK(found->name == "phone.example");
  CHECK(found->port == 5070);
  CHECK_FALSE(sip::sent_by_of("OPTIONS sip:a@x SIP/2.0\r\n\r\n", gone));
  CHECK_FALSE(sip::sent_by_of("", gone));
  gone.transport = net::Transport::ws;
  CHECK_FALSE(sip::sent_by_of(response("WS phone.invalid"), gone));
}
