#include "sip/rewrite.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace sipfarm::sip;

namespace {

const std::string wire =
    "INVITE sip:bob@b.example SIP/2.0\r\n"
    "Via: SIP/2.0/UDP a.example;branch=z1;rport\r\n"
    "Route: <sip:one;lr> , <sip:two;lr>,<sip:three;lr>\r\n"
    "max-forwards :  70\r\n"
    "route: <sip:four;lr>\r\n"
    "From: <sip:a@a.example>;tag=1\r\n"
    "To: <sip:b@b.example>\r\n"
    "Call-ID: 1\r\n"
    "CSeq: 1 INVITE\r\n"
    "L: 3\r\n"
    "\r\n"
    "abc";

struct Fixture {
  Message message;
  Rewrite rewrite;
  Fixture() {
    REQUIRE(message.parse(wire));
    rewrite.start(message);
  }
  std::string written() const {
    std::string out;
    rewrite.write(out);
    return out;
  }
};

std::string with(std::string base, const std::string& from, const std::string& to) {
  const std::size_t at = base.find(from);
  REQUIRE(at != std::string::npos);
  return base.replace(at, from.size(), to);
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "without edits the message leaves as it came") {
  CHECK(written() == wire);
  std::string out = "before";
  rewrite.write(out);
  CHECK(out == "before" + wire);
}

TEST_CASE_FIXTURE(Fixture, "what a proxy does to a request") {
  CHECK(rewrite.set_request_uri("sip:bob@192.0.2.9:5062"));
  CHECK(rewrite.replace_value(*message.find(Header::max_forwards), "69"));
  CHECK(rewrite.prepend("Record-Route: <sip:p;lr>\r\n"));
  CHECK(rewrite.insert_before(Header::via, "Via: SIP/2.0/UDP p;branch=z2\r\n"));
  CHECK(rewrite.insert_after(message.top_via().value, ";received=192.0.2.1"));
  CHECK(rewrite.append("X: y\r\n"));
  std::string expected = with(wire, "sip:bob@b.example", "sip:bob@192.0.2.9:5062");
  expected = with(expected, "70", "69");
  expected = with(expected, "Via: ", "Record-Route: <sip:p;lr>\r\nVia: SIP/2.0/UDP p;branch=z2\r\nVia: ");
  expected = with(expected, ";rport\r\n", ";rport;received=192.0.2.1\r\n");
  expected = with(expected, "L: 3\r\n", "L: 3\r\nX: y\r\n");
  CHECK(written() == expected);
  rewrite.clear();
  CHECK(written() == wire);
}

TEST_CASE_FIXTURE(Fixture, "prepended lines stand first, whatever was called before") {
  CHECK(rewrite.insert_before(Header::via, "B: 1\r\n"));
  CHECK(rewrite.prepend("A: 1\r\n"));
  CHECK(rewrite.prepend("A: 2\r\n"));
  CHECK(written() == with(wire, "Via: ", "A: 1\r\nA: 2\r\nB: 1\r\nVia: "));
}

TEST_CASE_FIXTURE(Fixture, "values are popped over lines") {
  CHECK(rewrite.erase_first_value(Header::route));
  CHECK(written() == with(wire, "<sip:one;lr> , ", ""));
  CHECK(rewrite.erase_first_value(Header::route));
  CHECK(written() == with(wire, "<sip:one;lr> , <sip:two;lr>,", ""));
  CHECK(rewrite.erase_first_value(Header::route));
  CHECK(written() == with(wire, "Route: <sip:one;lr> , <sip:two;lr>,<sip:three;lr>\r\n", ""));
  CHECK(rewrite.erase_first_value(Header::route));
  CHECK(written() == with(with(wire, "Route: <sip:one;lr> , <sip:two;lr>,<sip:three;lr>\r\n", ""), "route: <sip:four;lr>\r\n", ""));
  CHECK_FALSE(rewrite.erase_first_value(Header::route));
  CHECK_FALSE(rewrite.erase_first_value(Header::contact));
}

TEST_CASE_FIXTURE(Fixture, "a replaced value is popped too") {
  const Line& route = *message.find(Header::route);
  CHECK(rewrite.replace_value(route, "<sip:x>, <sip:y>"));
  CHECK(rewrite.erase_first_value(Header::route));
  CHECK(written() == with(wire, "<sip:one;lr> , <sip:two;lr>,<sip:three;lr>", "<sip:y>"));
  CHECK(rewrite.erase_first_value(Header::route));
  CHECK(written() == with(wire, "Route: <sip:one;lr> , <sip:two;lr>,<sip:three;lr>\r\n", ""));
}

TEST_CASE_FIXTURE(Fixture, "lines are erased, and what was inserted before them stays") {
  CHECK(rewrite.insert_before(Header::route, "X: y\r\n"));
  CHECK(rewrite.replace_value(*message.find(Header::route), "gone"));
  CHECK(rewrite.erase_all(Header::route));
  CHECK(rewrite.erase_all(Header::contact));
  CHECK(rewrite.erase(message.lines()[2]));
  CHECK_FALSE(rewrite.replace_value(message.lines()[2], "71"));
  const std::string replaced = with(wire, "Route: <sip:one;lr> , <sip:two;lr>,<sip:three;lr>\r\nmax-forwards :  70\r\n", "X: y\r\n");
  CHECK(written() == with(replaced, "route: <sip:four;lr>\r\n", ""));
}

TEST_CASE_FIXTURE(Fixture, "the same part again takes the new text, an overlapping one is refused") {
  CHECK(rewrite.replace(message.top_via().branch, "z2"));
  CHECK(rewrite.replace(message.top_via().branch, "z3"));
  CHECK(written() == with(wire, "z1", "z3"));
  CHECK_FALSE(rewrite.replace(message.top_via().value, "x"));
  CHECK_FALSE(rewrite.replace("not of this message", "x"));
  CHECK_FALSE(rewrite.replace(message.body(), "x"));
  CHECK_FALSE(rewrite.replace({}, "x"));
  CHECK_FALSE(rewrite.set_status_line(700, "x"));
  CHECK_FALSE(rewrite.set_status_line(200, std::string(200, 'x')));
  CHECK(rewrite.erase_first_value(Header::via));  // with the edit in it
  CHECK_FALSE(rewrite.erase_first_value(Header::via));
  CHECK(written() == with(wire, "Via: SIP/2.0/UDP a.example;branch=z1;rport\r\n", ""));
}

TEST_CASE_FIXTURE(Fixture, "a new body has its length") {
  CHECK(rewrite.replace_body("longer than it was"));
  CHECK(written() == with(with(wire, "L: 3", "L: 18"), "abc", "longer than it was"));
  CHECK(rewrite.replace_body(""));
  CHECK(written() == with(with(wire, "L: 3", "L: 0"), "abc", ""));
  CHECK(message.parse(with(wire, "L: 3\r\n", "")));
  rewrite.start(message);
  CHECK(rewrite.replace_body("abcd"));
  CHECK(written() == with(with(wire, "L: 3", "Content-Length: 4"), "abc", "abcd"));
}

TEST_CASE_FIXTURE(Fixture, "a Content-Length that was erased comes back with a new body") {
  CHECK(rewrite.erase_all(Header::content_length));
  CHECK(rewrite.replace_body("xy"));
  CHECK(written() == with(with(wire, "L: 3", "Content-Length: 2"), "abc", "xy"));
}

TEST_CASE("a response loses its top Via") {
  Message message;
  const std::string rest = "v: SIP/2.0/UDP a;branch=2\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n";
  REQUIRE(message.parse("SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP p;branch=1\r\n" + rest));
  Rewrite rewrite{message};
  CHECK(rewrite.erase_first_value(Header::via));
  CHECK(rewrite.set_status_line(183, "Session Progress"));
  CHECK_FALSE(rewrite.set_request_uri("sip:x"));
  std::string out;
  rewrite.write(out);
  CHECK(out == "SIP/2.0 183 Session Progress\r\n" + rest);
}

TEST_CASE_FIXTURE(Fixture, "the bound on edits is reported and changes nothing") {
  for (std::size_t i = 0; i < limits::rewrite_edits; ++i) REQUIRE(rewrite.append("X: y\r\n"));
  const std::string before = written();
  CHECK_FALSE(rewrite.append("Z: z\r\n"));
  CHECK_FALSE(rewrite.erase_first_value(Header::route));
  CHECK_FALSE(rewrite.replace_body("x"));
  CHECK(written() == before);
  CHECK(rewrite.erase_all(Header::route));  // erased lines take no place
}
