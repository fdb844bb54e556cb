#include "sip/uri.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace sipfarm::sip;

namespace {

Uri uri(std::string_view text) {
  const auto parsed = Uri::parse(text);
  REQUIRE_MESSAGE(parsed, std::string{text});
  return *parsed;
}

bool same(std::string_view a, std::string_view b) {
  const Uri left = uri(a);
  const Uri right = uri(b);
  CHECK((left == right) == (right == left));
  if (left == right) CHECK(left.hash() == right.hash());
  return left == right;
}

}  // namespace

TEST_CASE("the parts of a sip URI") {
  const Uri full = uri("SIP:alice:secret@Atlanta.example:5070;transport=tcp;lr?subject=x&priority=urgent");
  CHECK(full.scheme == Uri::Scheme::sip);
  CHECK(full.user == "alice");
  CHECK(full.password == "secret");
  CHECK(full.host == "Atlanta.example");
  CHECK(full.port == 5070);
  CHECK(full.params == "transport=tcp;lr");
  CHECK(full.headers == "subject=x&priority=urgent");
  CHECK(full.param("TRANSPORT") == "tcp");
  CHECK(full.is_loose_router());
  const Uri bare = uri("sips:192.0.2.1");
  CHECK(bare.scheme == Uri::Scheme::sips);
  CHECK_FALSE(bare.has_user);
  CHECK(bare.port == 0);
  CHECK_FALSE(bare.param("lr"));
  CHECK(uri("sip:+1-212-555-1212;isub=1@gw.example;user=phone").user == "+1-212-555-1212;isub=1");
  CHECK(uri("sip:a?b/c;d@h.example").user == "a?b/c;d");
  CHECK(uri("sip:[2001:db8::10]:5070").host == "[2001:db8::10]");
  CHECK(uri("sip:h.example;%6C%72;n%61me=v").is_loose_router());
  CHECK(uri("sip:h.example;%6C%72;n%61me=v").param("name") == "v");
}

TEST_CASE("what is no URI") {
  for (const char* text : {"", "sip", "sip:", ":a", "1a:b", "sip:@h", "sip:a@", "sip:a@h:", "sip:a@h:0", "sip:a@h:65536", "sip:a@h:5060x", "sip:a@h?",
                           "sip:2001:db8::10", "sip:[2001:db8::10", "sip:[]", "sip:[1.2]", "sip:a b@h", "sip:<a@h>", "sip:\"a\"@h", "tel:", "tel:+",
                           "tel:12x", "tel:-.", "sip:a@h/b", "sip:a@h\t"}) {
    CAPTURE(text);
    CHECK_FALSE(Uri::parse(text));
  }
}

TEST_CASE("tel and other schemes") {
  const Uri number = uri("tel:7042;phone-context=example.com");
  CHECK(number.scheme == Uri::Scheme::tel);
  CHECK(number.user == "7042");
  CHECK(number.param("phone-context") == "example.com");
  const Uri other = uri("soap.beep://192.0.2.103:3002");
  CHECK(other.scheme == Uri::Scheme::other);
  CHECK(other.scheme_text == "soap.beep");
  CHECK(other.opaque == "//192.0.2.103:3002");
  CHECK(same("mailto:A@b", "MAILTO:A@b"));
  CHECK_FALSE(same("mailto:A@b", "mailto:a@b"));
}

TEST_CASE("the equal URIs of RFC 3261 §19.1.4") {
  CHECK(same("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"));
  CHECK(same("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"));
  CHECK(same("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"));
  CHECK(same("sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
             "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"));
  CHECK(same("sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x"));
}

TEST_CASE("the different URIs of RFC 3261 §19.1.4") {
  CHECK_FALSE(same("SIP:ALICE@AtlanTa.CoM;Transport=udp", "sip:alice@AtlanTa.CoM;Transport=UDP"));
  CHECK_FALSE(same("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
  CHECK_FALSE(same("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"));
  CHECK_FALSE(same("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"));
  CHECK_FALSE(same("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"));
  CHECK_FALSE(same("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"));
  CHECK_FALSE(same("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"));
}

TEST_CASE("equality beyond the examples") {
  CHECK_FALSE(same("sip:a@h", "sips:a@h"));
  CHECK_FALSE(same("sip:a@h", "sip:h"));
  CHECK_FALSE(same("sip:a@h", "sip:a:@h"));
  CHECK_FALSE(same("sip:a;b@h", "sip:a%3bb@h"));  // a reserved character is not its escape
  CHECK(same("sip:%00@h", "sip:%00@h;x"));
  CHECK_FALSE(same("sip:%00@h", "sip:%00%00@h"));
  CHECK(same("sip:a%2fb@h", "sip:a%2Fb@h"));
  CHECK_FALSE(same("sip:a@h;n=v%2541", "sip:a@h;n=vA"));
  CHECK(same("sip:a@h;n=v%41", "sip:a@h;N=vA"));
  CHECK_FALSE(same("sip:a@h;maddr=1.2.3.4", "sip:a@h"));
  CHECK_FALSE(same("sip:a@h;user=phone", "sip:a@h"));
  CHECK_FALSE(same("sip:a@h;ttl=1", "sip:a@h"));
  CHECK(same("sip:a@[2001:DB8::1]", "sip:a@[2001:db8:0::1]"));
  CHECK_FALSE(same("sip:a@[2001:db8::1]", "sip:a@[2001:db8::2]"));
  const std::string twice = "sip:a@h;x=1;x=2";
  CHECK(same(twice, twice));
  CHECK_FALSE(same(twice, "sip:a@h;x=1"));
}

TEST_CASE("the cost of comparing is bounded") {
  std::string left = "sip:a@h";
  std::string right = "sip:a@h";
  for (int i = 0; i < 10'000; ++i) {
    left += ";p" + std::to_string(i);
    right += ";p" + std::to_string(9'999 - i);
  }
  CHECK_FALSE(same(left, right));
  CHECK(same(left, std::string{left}));
}

TEST_CASE("tel equality of RFC 3966 §4") {
  CHECK(same("tel:+1-212-555-1212", "TEL:+1(212)555.1212"));
  CHECK_FALSE(same("tel:+12125551212", "tel:12125551212"));
  CHECK(same("tel:7042;phone-context=example.com;ext=1-2", "tel:70-42;EXT=12;phone-context=EXAMPLE.com"));
  CHECK(same("tel:7042;phone-context=+1-212", "tel:7042;phone-context=+1212"));
  CHECK_FALSE(same("tel:7042;phone-context=example.com", "tel:7042"));
  CHECK_FALSE(same("tel:7042;phone-context=a.example", "tel:7042;phone-context=b.example"));
  CHECK(same("tel:863A;phone-context=x", "tel:863a;phone-context=x"));
}

TEST_CASE("the canonical address-of-record") {
  CHECK(uri("SIPS:%61lice:pw@Atlanta.EXAMPLE:5070;transport=tcp?x=y").aor() == "sip:alice@atlanta.example");
  CHECK(uri("sip:Alice@h").aor() == "sip:Alice@h");
  CHECK(uri("sip:%2B1212@h").aor() == "sip:+1212@h");
  CHECK(uri("sip:null-%00-null@h").aor() == "sip:null-%00-null@h");
  CHECK(uri("sip:a%40b%c3%a4@h").aor() == "sip:a%40b%C3%A4@h");
  CHECK(uri("sip:b\xc3\xa4@h").aor() == "sip:b%C3%A4@h");
  CHECK(uri("sip:100%@h").aor() == "sip:100%25@h");
  CHECK(uri("sip:a@[2001:DB8:0::1]:5060").aor() == "sip:a@[2001:db8::1]");
  CHECK(uri("sip:H.example;lr").aor() == "sip:h.example");
  CHECK(uri("tel:+1-212-555-1212;ext=1").aor() == "tel:+12125551212");
  CHECK(uri("urn:service:sos").aor() == "urn:service:sos");
}

TEST_CASE("host and port") {
  CHECK(parse_host_port("h.example")->port == 0);
  CHECK(parse_host_port("h.example:5060")->port == 5060);
  CHECK(parse_host_port("[::1]")->host == "[::1]");
  CHECK(parse_host_port("[::1]:1")->port == 1);
  for (const char* text : {"", ":", ":1", "h:", "h:x", "h: 1", "h :1", "[::1]x", "[::1]:", "[::g]", "::1", "h/x"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_host_port(text));
  }
}
