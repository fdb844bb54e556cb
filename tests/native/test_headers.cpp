#include "sip/headers.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "sip/text.hpp"

using namespace sipfarm::sip;

namespace {

std::vector<std::string> values(std::string_view text) {
  ValueCursor cursor{text};
  std::vector<std::string> out;
  for (std::string_view value; cursor.next(value);) out.emplace_back(value);
  return out;
}

using Strings = std::vector<std::string>;

}  // namespace

TEST_CASE("comma-separated values") {
  CHECK(values("a, b ,c") == Strings{"a", "b", "c"});
  CHECK(values("").empty());
  CHECK(values(" , ,, ").empty());
  CHECK(values("a,,b,") == Strings{"a", "b"});
  CHECK(values("\"Bell, A\" <sip:a,b@h;x=\",\">;q=1, <sip:c@h>") == Strings{"\"Bell, A\" <sip:a,b@h;x=\",\">;q=1", "<sip:c@h>"});
  CHECK(values("\"a\\\",b\" <sip:h>, c") == Strings{"\"a\\\",b\" <sip:h>", "c"});
  CHECK(values("x (a, (b, c)), y") == Strings{"x (a, (b, c))", "y"});
  CHECK(values("sip:(a@h, sip:b@h") == Strings{"sip:(a@h", "sip:b@h"});  // no comment: part of a user
  CHECK(values("\"open, b") == Strings{"\"open, b"});
  CHECK(values("<open, b") == Strings{"<open, b"});
  CHECK(values("a (open, b") == Strings{"a (open, b"});
  CHECK(values("a\r\n , b") == Strings{"a", "b"});
}

TEST_CASE("values over all lines of a header") {
  Message message;
  REQUIRE(message.parse("OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nRoute: <sip:1>, <sip:2>\r\nFrom: <sip:f@h>;tag=1\r\nRoute: ,\r\n"
                        "To: <sip:t@h>\r\nRoute: <sip:3>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n"));
  HeaderCursor cursor{message, Header::route};
  Strings out;
  for (std::string_view value; cursor.next(value);) out.emplace_back(value);
  CHECK(out == Strings{"<sip:1>", "<sip:2>", "<sip:3>"});
  CHECK(cursor.line() == &message.lines()[5]);
  std::string_view value;
  CHECK_FALSE(HeaderCursor{message, Header::contact}.next(value));
}

TEST_CASE("parameters") {
  CHECK(find_param(";a=1 ; B = \"x;\\\"y\" ;c", "b") == "x;\\\"y");
  CHECK(find_param(";a=1;c", "c") == "");
  CHECK_FALSE(find_param(";a=1", "d"));
  CHECK(find_param("a=1;b=2", "b") == "2");
  CHECK(well_formed_params(";a;b=c;d=\"\""));
  CHECK(well_formed_params(""));
  for (const char* params : {";", ";;", ";a;", ";a=", ";=b", ";a=\"b", ";a=\"b\"c", ";a=b c", ";a=b,c", ";a b"}) {
    CAPTURE(params);
    CHECK_FALSE(well_formed_params(params));
  }
  const auto auth = parse_param(" nonce = \"a=b\"");
  REQUIRE(auth);
  CHECK(auth->name == "nonce");
  CHECK(auth->value == "a=b");
  CHECK(auth->quoted);
}

TEST_CASE("name-addr and addr-spec") {
  const auto named = NameAddr::parse("\"J \\\"R\" <sip:j@h;lr?x=y>;tag=1;x=\"<\"");
  REQUIRE(named);
  CHECK(named->display == "J \\\"R");
  CHECK(named->display_quoted);
  CHECK(named->uri == "sip:j@h;lr?x=y");
  CHECK(named->bracketed);
  CHECK(named->tag() == "1");
  CHECK(named->param("x") == "<");
  const auto plain = NameAddr::parse("sip:a@h;tag=2");
  REQUIRE(plain);
  CHECK(plain->uri == "sip:a@h");
  CHECK(plain->tag() == "2");
  CHECK_FALSE(plain->bracketed);
  CHECK(NameAddr::parse("A. Bell<sip:a@h>")->display == "A. Bell");
  CHECK(NameAddr::parse("M\xc3\xbcller <sip:a@h>")->display == "M\xc3\xbcller");
  CHECK(NameAddr::parse("sip:a@h ;\r\n x=\"<\"")->param("x") == "<");
  CHECK(NameAddr::parse("*")->uri == "*");
  CHECK(NameAddr::parse(" <sip:a@h> ")->uri == "sip:a@h");
  for (const char* text : {"", "<>", "<sip:a@h", "\"a <sip:a@h>", "\"a\" b <sip:a@h>", "\"a\"", "a, b <sip:a@h>", "< sip:a@h >",
                           "<sip:a@h> x", "<sip:a@h>;;", "sip:a@h?x=y", "sip:a,b@h", "sip:a@h x", "alice", "<alice>", "<:a>"}) {
    CAPTURE(text);
    CHECK_FALSE(NameAddr::parse(text));
  }
}

TEST_CASE("via-parm") {
  const auto via = parse_via(" SIP / 2.0 /\r\n UDP  h.example : 5070 ; branch = z9 ;rport=1 ;ttl=2");
  REQUIRE(via);
  CHECK(via->transport == "UDP");
  CHECK(via->host == "h.example");
  CHECK(via->port == 5070);
  CHECK(via->branch == "z9");
  CHECK(via->has_rport);
  CHECK(via->rport == 1);
  CHECK(via->value.front() == 'S');
  CHECK(parse_via("SIP/2.0/TLS [::1]:5061;received=::2")->received == "::2");
  CHECK(parse_via("SIP/2.0/TLS [::1] : 5061")->port == 5061);
  for (const char* text : {"", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0 UDP h", "SIP/2.0/UDP h h", "SIP/2.0/UDP h:", "SIP/2.0/UDP h;;", "SIP/2.0/UDP h;",
                           "/2.0/UDP h", "SIP/2.0/UDP h;rport=x", "SIP/2.0/UDP ::1"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_via(text));
  }
}

TEST_CASE("small values") {
  CHECK(parse_cseq(" 0009\r\n  INVITE ")->number == 9);
  CHECK(parse_cseq("1 INVITE")->method == "INVITE");
  for (const char* text : {"", "1", "INVITE", "1INVITE", "x INVITE", "1 INVITE 2", "99999999999999999999 INVITE"}) CHECK_FALSE(parse_cseq(text));
  CHECK(parse_delta_seconds("3600") == 3600U);
  CHECK(parse_delta_seconds("280297596632815") == UINT32_MAX);
  CHECK(parse_delta_seconds(" 00000000000060 ") == 60U);
  CHECK(parse_delta_seconds(std::string(5'000, '9')) == UINT32_MAX);
  for (const char* text : {"", "-1", "1e3", "٣", "3600;a"}) CHECK_FALSE(parse_delta_seconds(text));
  CHECK(parse_q("1") == 1000);
  CHECK(parse_q("0.5") == 500);
  CHECK(parse_q("0.333") == 333);
  CHECK(parse_q("1.000") == 1000);
  CHECK(parse_q("0.") == 0);
  CHECK(parse_q("0.05") == 50);
  CHECK(parse_q("0.001") == 1);
  for (const char* text : {"", "2", "1.001", "0.3333", ".5", "0,5", "-1", "10"}) CHECK_FALSE(parse_q(text));
}

TEST_CASE("text helpers") {
  CHECK(text::iequals("AbC-z", "aBc-Z"));
  CHECK_FALSE(text::iequals("a", "ab"));
  CHECK(text::trim(" \t\r\n a b \r\n ") == "a b");
  CHECK(text::parse_u32("4294967295") == UINT32_MAX);
  CHECK_FALSE(text::parse_u32("4294967296"));
  CHECK_FALSE(text::parse_u32(""));
  CHECK_FALSE(text::parse_u32("1 "));
  std::string out;
  text::append_unfolded(out, "a \r\n\t b\n c\rd");
  CHECK(out == "a b c\rd");
  out.clear();
  text::append_unquoted(out, "a\\\"b\\\\c\\");
  CHECK(out == "a\"b\\c\\");
  out.clear();
  text::append_unescaped(out, "%41%4g%4%zz%");
  CHECK(out == "A%4g%4%zz%");
}
