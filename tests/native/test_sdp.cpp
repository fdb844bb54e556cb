#include "sip/sdp.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace sipfarm::sip;
using sipfarm::net::Address;

namespace {

const Address relay4 = Address::parse("198.51.100.7", 5060).value();
const Address relay6 = Address::parse("2001:db8::7", 5060).value();

std::string crlf(std::string_view lines) {
  std::string text;
  for (const char c : lines) {
    if (c == '\n') text += '\r';
    text += c;
  }
  return text;
}

std::string rewritten(std::string_view body, const std::vector<RelayLine>& lines, const Address& relay = relay4) {
  const auto sdp = SdpView::parse(body);
  REQUIRE(sdp.has_value());
  std::string out;
  REQUIRE(put_relay_in(*sdp, lines, relay, out));
  return out;
}

std::string text_of(const std::optional<Address>& address) { return address ? address->text() : "none"; }

constexpr std::string_view head = "v=0\no=alice 2890844526 2890844526 IN IP4 10.1.3.33\ns=-\n";
std::string with_head(std::string_view rest) { return crlf(std::string{head} + std::string{rest}); }

}  // namespace

TEST_CASE("a plain offer says where its media goes, and gets the relay") {
  const std::string offer = with_head(
      "c=IN IP4 10.1.3.33\nt=0 0\nm=audio 49172 RTP/AVP 9 0 101\na=rtpmap:9 G722/8000\na=rtpmap:101 telephone-event/8000\n"
      "a=sendrecv\n");
  const auto sdp = SdpView::parse(offer);
  REQUIRE(sdp.has_value());
  REQUIRE(sdp->media().size() == 1);
  const MediaLine& audio = sdp->media()[0];
  CHECK(audio.media == "audio");
  CHECK(audio.proto == "RTP/AVP");
  CHECK(audio.formats == "9 0 101");
  CHECK(audio.carrier == Carrier::rtp);
  CHECK(audio.direction == Direction::sendrecv);
  CHECK_FALSE(audio.own_connection);
  CHECK_FALSE(audio.rtcp_mux);
  CHECK(text_of(audio.rtp) == "10.1.3.33:49172");
  CHECK(text_of(audio.rtcp) == "10.1.3.33:49173");

  CHECK(rewritten(offer, {{20'000, true}}) ==
        with_head("c=IN IP4 198.51.100.7\nt=0 0\nm=audio 20000 RTP/AVP 9 0 101\na=rtpmap:9 G722/8000\n"
                  "a=rtpmap:101 telephone-event/8000\na=sendrecv\n"));
}

TEST_CASE("no line relayed leaves every byte as it came") {
  const std::string offer = "v=0\no=- 1 1 IN IP4 h\r\n\nweird\nc=IN  IP4\t10.0.0.1 \nm=audio\t5/1  RTP/AVP  0 \na=rtcp: 7\n"
                            "\r\nm=video 0 RTP/AVP 31";
  CHECK(rewritten(offer, {{0, false}, {0, false}}) == offer);
}

TEST_CASE("white space around the rewritten parts stays") {
  CHECK(rewritten("v=0\nc=IN  IP4\t10.0.0.1 \nm=audio\t5004  RTP/AVP  0 \n", {{20'000, true}}) ==
        "v=0\nc=IN  IP4 198.51.100.7 \nm=audio\t20000  RTP/AVP  0 \n");
}

TEST_CASE("each m-line may have a connection of its own, of either family") {
  const std::string offer = with_head(
      "c=IN IP4 10.0.0.1\nt=0 0\nm=audio 5000 RTP/AVP 0\nm=video 6000 RTP/AVPF 96\ni=camera\nc=IN IP6 2001:db8::1\nb=AS:500\n"
      "a=recvonly\n");
  const auto sdp = SdpView::parse(offer);
  REQUIRE(sdp.has_value());
  CHECK(text_of(sdp->media()[0].rtp) == "10.0.0.1:5000");
  CHECK(text_of(sdp->media()[1].rtp) == "[2001:db8::1]:6000");
  CHECK(sdp->media()[1].own_connection);
  CHECK(sdp->media()[1].direction == Direction::recvonly);
  CHECK(rewritten(offer, {{20'000, true}, {20'002, true}}, relay6) ==
        with_head("c=IN IP6 2001:db8::7\nt=0 0\nm=audio 20000 RTP/AVP 0\nm=video 20002 RTP/AVPF 96\ni=camera\n"
                  "c=IN IP6 2001:db8::7\n"
                  "b=AS:500\na=recvonly\n"));
  CHECK(rewritten(offer, {{20'000, true}, {20'002, true}}).find("IP6") == std::string::npos);
}

TEST_CASE("a=rtcp gives RTCP a port, or a port and an address (RFC 3605)") {
  const std::string offer = with_head(
      "c=IN IP4 10.0.0.1\nm=audio 5000 RTP/AVP 0\na=rtcp:5010\nm=audio 5002 RTP/AVP 0\na=rtcp:5020 IN IP4 10.0.0.9\n"
      "m=audio 5004 RTP/AVP 0\na=rtcp:5004\na=rtcp-mux\n");
  const auto sdp = SdpView::parse(offer);
  REQUIRE(sdp.has_value());
  CHECK(text_of(sdp->media()[0].rtcp) == "10.0.0.1:5010");
  CHECK(text_of(sdp->media()[1].rtcp) == "10.0.0.9:5020");
  CHECK(text_of(sdp->media()[2].rtcp) == "10.0.0.1:5004");
  CHECK(sdp->media()[1].rtcp_attribute);
  CHECK(sdp->media()[2].rtcp_mux);
  CHECK_FALSE(sdp->media()[1].rtcp_mux);
  CHECK(rewritten(offer, {{20'000, true}, {20'002, true}, {20'004, true}}) ==
        with_head("c=IN IP4 198.51.100.7\nm=audio 20000 RTP/AVP 0\na=rtcp:20001\nm=audio 20002 RTP/AVP 0\n"
                  "a=rtcp:20003 IN IP4 198.51.100.7\nm=audio 20004 RTP/AVP 0\na=rtcp:20004\na=rtcp-mux\n"));
}

TEST_CASE("a=rtcp that cannot be read or names nothing is no RTCP address") {
  const auto rtcp_of = [](std::string attribute) {
    const std::string body = with_head("c=IN IP4 10.0.0.1\nm=audio 5000 RTP/AVP 0\na=" + attribute + "\n");
    const auto sdp = SdpView::parse(body);
    REQUIRE(sdp.has_value());
    return text_of(sdp->media()[0].rtcp);
  };
  CHECK(rtcp_of("rtcp:x") == "10.0.0.1:5001");
  CHECK(rtcp_of("rtcp:70000") == "10.0.0.1:5001");
  CHECK(rtcp_of("rtcp:") == "10.0.0.1:5001");
  CHECK(rtcp_of("rtcp:0") == "none");
  CHECK(rtcp_of("rtcp:9 IN IP4 0.0.0.0") == "none");
  CHECK(rtcp_of("rtcp:9 IN IP4 phone.example") == "none");
}

TEST_CASE("a held stream stays held (RFC 3264 section 8.4) while its port is the relay's") {
  const std::string session_level = with_head("c=IN IP4 0.0.0.0\nm=audio 5000 RTP/AVP 0\n");
  const auto sdp = SdpView::parse(session_level);
  REQUIRE(sdp.has_value());
  CHECK(sdp->media()[0].held());
  CHECK(sdp->media()[0].relayable());
  CHECK_FALSE(sdp->media()[0].rtp.has_value());
  CHECK_FALSE(sdp->media()[0].rtcp.has_value());
  CHECK(rewritten(session_level, {{20'000, true}}) == with_head("c=IN IP4 0.0.0.0\nm=audio 20000 RTP/AVP 0\n"));

  CHECK(rewritten(with_head("c=IN IP4 10.0.0.1\nm=audio 5000 RTP/AVP 0\nc=IN IP4 0.0.0.0\na=rtcp:9 IN IP4 0.0.0.0\n"
                            "m=video 5002 RTP/AVP 31\n"),
                  {{20'000, true}, {20'002, true}}) ==
        with_head("c=IN IP4 198.51.100.7\nm=audio 20000 RTP/AVP 0\nc=IN IP4 0.0.0.0\na=rtcp:20001 IN IP4 0.0.0.0\n"
                  "m=video 20002 RTP/AVP 31\n"));
  // RFC 6157: IPv6 holds with a name that cannot be resolved.
  CHECK(rewritten(with_head("c=IN IP6 ::\nm=audio 5000 RTP/AVP 0\nc=IN IP6 hold.INVALID\n"), {{20'000, true}}) ==
        with_head("c=IN IP6 ::\nm=audio 20000 RTP/AVP 0\nc=IN IP6 hold.INVALID\n"));
}

TEST_CASE("a rejected m-line keeps port 0 and everything else") {
  const std::string answer = with_head("c=IN IP4 10.0.0.1\nm=audio 5000 RTP/AVP 0\nm=video 0 RTP/AVP 31\nc=IN IP4 10.0.0.2\n"
                                       "a=rtcp:9\n");
  const auto sdp = SdpView::parse(answer);
  REQUIRE(sdp.has_value());
  CHECK(sdp->media()[1].rejected());
  CHECK_FALSE(sdp->media()[1].relayable());
  CHECK_FALSE(sdp->media()[1].rtp.has_value());
  CHECK(rewritten(answer, {{20'000, true}, {20'002, true}}) ==
        with_head("c=IN IP4 198.51.100.7\nm=audio 20000 RTP/AVP 0\nm=video 0 RTP/AVP 31\nc=IN IP4 10.0.0.2\na=rtcp:9\n"));
  const std::string all_rejected = with_head("c=IN IP4 10.0.0.1\nm=audio 0 RTP/AVP 0\n");
  CHECK(rewritten(all_rejected, {{20'000, true}}) == all_rejected);
}

TEST_CASE("which protocols the relay can carry") {
  const auto carrier_of = [](std::string proto) {
    const std::string body = with_head("c=IN IP4 10.0.0.1\nm=x 5000 " + proto + " *\n");
    return SdpView::parse(body).value().media()[0].carrier;
  };
  for (const auto proto : {"RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVPF", "rtp/avp"}) {
    CHECK(carrier_of(proto) == Carrier::rtp);
  }
  for (const auto proto : {"udptl", "UDPTL", "udp", "UDP/TLS/UDPTL", "UDP/BFCP", "UDP/DTLS/SCTP"}) {
    CHECK(carrier_of(proto) == Carrier::udp);
  }
  for (const auto proto : {"TCP/MSRP", "TCP/TLS/MSRP", "TCP/BFCP", "TCP/RTP/AVP", "TCP/TLS/RTP/SAVP", "SCTP", "sip", "RTPX/AVP"}) {
    CHECK(carrier_of(proto) == Carrier::other);
  }
}

TEST_CASE("T.38 over udptl is relayed and has no RTCP") {
  const std::string offer = with_head("c=IN IP4 10.0.0.1\nm=image 4000 udptl t38\na=T38FaxVersion:0\n");
  const auto sdp = SdpView::parse(offer);
  REQUIRE(sdp.has_value());
  CHECK(text_of(sdp->media()[0].rtp) == "10.0.0.1:4000");
  CHECK_FALSE(sdp->media()[0].rtcp.has_value());
  CHECK(rewritten(offer, {{20'000, true}}) == with_head("c=IN IP4 198.51.100.7\nm=image 20000 udptl t38\na=T38FaxVersion:0\n"));
}

TEST_CASE("a line outside the relay keeps its meaning: its neighbours get a c= of their own") {
  const std::string offer = with_head(
      "c=IN IP4 10.0.0.1\nt=0 0\nm=audio 5000 RTP/AVP 0\ni=voice\na=sendrecv\nm=message 7000 TCP/MSRP *\n"
      "a=path:msrp://10.0.0.1:7000/x;tcp\n"
      "m=video 5002 RTP/AVP 31\n");
  CHECK(rewritten(offer, {{20'000, true}, {20'002, true}, {20'004, true}}) ==
        with_head("c=IN IP4 10.0.0.1\nt=0 0\nm=audio 20000 RTP/AVP 0\ni=voice\nc=IN IP4 198.51.100.7\na=sendrecv\n"
                  "m=message 7000 TCP/MSRP *\na=path:msrp://10.0.0.1:7000/x;tcp\nm=video 20004 RTP/AVP 31\n"
                  "c=IN IP4 198.51.100.7\n"));
  // The same when the caller leaves a line out.
  CHECK(rewritten("v=0\nc=IN IP4 10.0.0.1\nm=audio 5000 RTP/AVP 0\nm=video 5002 RTP/AVP 31", {{0, false}, {20'004, true}}) ==
        "v=0\nc=IN IP4 10.0.0.1\nm=audio 5000 RTP/AVP 0\nm=video 20004 RTP/AVP 31\nc=IN IP4 198.51.100.7");
}

TEST_CASE("a relayed line without any c= gets one") {
  const std::string offer = with_head("m=audio 5000 RTP/AVP 0\n");
  CHECK_FALSE(SdpView::parse(offer).value().media()[0].rtp.has_value());
  CHECK(rewritten(offer, {{20'000, true}}) == with_head("m=audio 20000 RTP/AVP 0\nc=IN IP4 198.51.100.7\n"));
}

TEST_CASE("a new c= after a last line that was cut before its LF") {
  CHECK(rewritten("v=0\r\nm=audio 5000 RTP/AVP 0\r", {{20'000, true}}) ==
        "v=0\r\nm=audio 20000 RTP/AVP 0\r\nc=IN IP4 198.51.100.7");
}

TEST_CASE("a host name in c= is replaced though nobody resolves it") {
  const std::string offer = with_head("c=IN IP4 phone.example.com\nm=audio 5000 RTP/AVP 0\n");
  const auto sdp = SdpView::parse(offer);
  REQUIRE(sdp.has_value());
  CHECK(sdp->connection().kind == ConnectionKind::unicast);
  CHECK(sdp->media()[0].connection.host == "phone.example.com");
  CHECK_FALSE(sdp->media()[0].rtp.has_value());
  CHECK(rewritten(offer, {{20'000, true}}) == with_head("c=IN IP4 198.51.100.7\nm=audio 20000 RTP/AVP 0\n"));
}

TEST_CASE("multicast and other networks stay as they are") {
  for (const auto connection : {"IN IP4 224.2.36.42/127/3", "IN IP6 FF15::101", "ATM NSAP 47.0091"}) {
    const std::string offer = with_head(std::string{"c="} + connection + "\nm=audio 5000 RTP/AVP 0\n");
    CHECK_FALSE(SdpView::parse(offer).value().media()[0].relayable());
    CHECK(rewritten(offer, {{20'000, true}}) == offer);
  }
}

TEST_CASE("of port/count one port is left: the relay has one pair for a line") {
  const std::string offer = with_head("c=IN IP4 10.0.0.1/127\nm=video 49170/2 RTP/AVP 31\n");
  CHECK(SdpView::parse(offer).value().media()[0].port_count == 2);
  CHECK(rewritten(offer, {{20'000, true}}) == with_head("c=IN IP4 198.51.100.7\nm=video 20000 RTP/AVP 31\n"));
}

TEST_CASE("the session's direction holds until a line has its own") {
  const std::string body = with_head(
      "c=IN IP4 10.0.0.1\na=sendonly\nm=audio 5000 RTP/AVP 0\nm=audio 5002 RTP/AVP 0\na=inactive\nm=audio 5004 RTP/AVP 0\n"
      "a=sendonly:x\n");
  const auto sdp = SdpView::parse(body);
  REQUIRE(sdp.has_value());
  CHECK(sdp->media()[0].direction == Direction::sendonly);
  CHECK(sdp->media()[1].direction == Direction::inactive);
  CHECK(sdp->media()[2].direction == Direction::sendonly);
}

TEST_CASE("ICE and bundle-only are seen") {
  const std::string body = with_head(
      "c=IN IP4 10.0.0.1\nm=audio 5000 UDP/TLS/RTP/SAVPF 0\na=candidate:1 1 UDP 2130706431 10.0.0.1 5000 typ host\n"
      "m=video 0 UDP/TLS/RTP/SAVPF 96\na=bundle-only\n");
  const auto sdp = SdpView::parse(body);
  REQUIRE(sdp.has_value());
  CHECK(sdp->media()[0].ice);
  CHECK_FALSE(sdp->media()[0].bundle_only);
  CHECK(sdp->media()[1].bundle_only);
  const std::string out = rewritten(body, {{20'000, true}, {0, false}});
  CHECK(out.find("a=candidate:1 1 UDP 2130706431 10.0.0.1 5000 typ host\r\n") != std::string::npos);
}

TEST_CASE("the o= line is nobody's to touch") {
  const std::string out = rewritten(with_head("c=IN IP4 10.1.3.33\nm=audio 5000 RTP/AVP 0\n"), {{20'000, true}}, relay6);
  CHECK(out.find("o=alice 2890844526 2890844526 IN IP4 10.1.3.33\r\n") != std::string::npos);
}

TEST_CASE("rewriting appends") {
  const std::string body = with_head("c=IN IP4 10.0.0.1\nm=audio 5000 RTP/AVP 0\n");
  std::string out = "before";
  REQUIRE(put_relay_in(SdpView::parse(body).value(), std::vector<RelayLine>{{20'000, true}}, relay4, out));
  CHECK(out == "before" + rewritten(body, {{20'000, true}}));
}

TEST_CASE("a relay that cannot stand in is refused and nothing is written") {
  const std::string body = with_head("c=IN IP4 10.0.0.1\nm=audio 5000 RTP/AVP 0\n");
  const SdpView sdp = SdpView::parse(body).value();
  std::string out;
  const auto refused = [&](const std::vector<RelayLine>& lines, const Address& relay) {
    return !put_relay_in(sdp, lines, relay, out) && out.empty();
  };
  CHECK(refused({}, relay4));
  CHECK(refused({{20'000, true}, {20'002, true}}, relay4));
  CHECK(refused({{0, true}}, relay4));
  CHECK(refused({{65'535, true}}, relay4));
  CHECK(refused({{20'000, true}}, Address{}));
  CHECK(refused({{20'000, true}}, Address::parse("224.0.0.1", 0).value()));
}

TEST_CASE("what is no session description is refused") {
  const auto refused = [](std::string_view body) { return !SdpView::parse(body).has_value(); };
  CHECK(refused(""));
  CHECK(refused("hello"));
  CHECK(refused("c=IN IP4 10.0.0.1\nv=0\n"));
  CHECK(refused("v=0\nc=IN IP4\n"));
  CHECK(refused("v=0\nm=audio\n"));
  CHECK(refused("v=0\nm=audio 5000\n"));
  CHECK(refused("v=0\nm=audio x RTP/AVP 0\n"));
  CHECK(refused("v=0\nm=audio 65536 RTP/AVP 0\n"));
  CHECK(refused("v=0\nm=audio -1 RTP/AVP 0\n"));
  CHECK(refused("v=0\nm=audio 5000/ RTP/AVP 0\n"));
  CHECK(refused("v=0\nm=audio 5000/0 RTP/AVP 0\n"));
  CHECK_FALSE(refused("v=0\nm=audio 65535 RTP/AVP\n"));
}

TEST_CASE("limits: sixteen m-lines, and the body's size") {
  std::string body = "v=0\r\nc=IN IP4 10.0.0.1\r\n";
  for (std::size_t i = 0; i < media_lines_max; ++i) body += "m=audio 5000 RTP/AVP 0\r\n";
  CHECK(SdpView::parse(body).value().media().size() == media_lines_max);
  CHECK_FALSE(SdpView::parse(body + "m=audio 5000 RTP/AVP 0\r\n").has_value());
  body.append(sdp_bytes_max - body.size(), 'x');
  CHECK(SdpView::parse(body).has_value());
  CHECK_FALSE(SdpView::parse(body + "x").has_value());
}
