#include "sip/message.hpp"

#include <doctest/doctest.h>

#include <string>
#include <type_traits>

#include "sip/headers.hpp"
#include "sip/limits.hpp"

using namespace sipfarm::sip;

namespace {

const std::string invite =
    "INVITE sip:bob@biloxi.example SIP/2.0\r\n"
    "Via: SIP/2.0/UDP pc33.atlanta.example:5061;branch=z9hG4bK776asdhds;rport;received=192.0.2.1\r\n"
    "Max-Forwards: 70\r\n"
    "To: Bob <sip:bob@biloxi.example>\r\n"
    "From: Alice <sip:alice@atlanta.example>;tag=1928301774\r\n"
    "Call-ID: a84b4c76e66710@pc33.atlanta.example\r\n"
    "CSeq: 314159 INVITE\r\n"
    "Contact: <sip:alice@pc33.atlanta.example>\r\n"
    "Content-Type: application/sdp\r\n"
    "Content-Length: 4\r\n"
    "\r\n"
    "v=0\n";

const std::string ok =
    "SIP/2.0 200 OK\r\n"
    "Via: SIP/2.0/UDP a.example;branch=z9hG4bK1, SIP/2.0/TCP b.example;branch=z9hG4bK2\r\n"
    "To: <sip:bob@biloxi.example>;tag=b\r\nFrom: <sip:alice@atlanta.example>;tag=a\r\n"
    "Call-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";

std::string with(const std::string& base, const std::string& from, const std::string& to) {
  std::string out = base;
  const std::size_t at = out.find(from);
  REQUIRE(at != std::string::npos);
  return out.replace(at, from.size(), to);
}

int failure_status(const std::string& wire) {
  Message message;
  return message.parse(wire) ? -1 : message.failure().status;
}

}  // namespace

static_assert(!std::is_copy_constructible_v<Message> && !std::is_move_constructible_v<Message>);

TEST_CASE("a request is indexed") {
  Message message;
  REQUIRE(message.parse(invite));
  CHECK(message.is_request());
  CHECK(message.method() == Method::invite);
  CHECK(message.method_text() == "INVITE");
  CHECK(message.request_uri() == "sip:bob@biloxi.example");
  CHECK(message.status() == 0);
  CHECK(message.reason_phrase().empty());
  CHECK(message.start_line() == "INVITE sip:bob@biloxi.example SIP/2.0");
  CHECK(message.wire() == invite);
  CHECK(message.body() == "v=0\n");
  CHECK(message.lines().size() == 9);
  CHECK(message.wire().substr(message.headers_end(), 2) == "\r\n");
  CHECK(message.call_id() == "a84b4c76e66710@pc33.atlanta.example");
  CHECK(message.from_tag() == "1928301774");
  CHECK(message.to_tag().empty());
  CHECK(message.cseq() == 314159);
  CHECK(message.max_forwards() == 70);
  CHECK(message.top_via().transport == "UDP");
  CHECK(message.top_via().host == "pc33.atlanta.example");
  CHECK(message.top_via().port == 5061);
  CHECK(message.top_via().branch == "z9hG4bK776asdhds");
  CHECK(message.top_via().has_rport);
  CHECK(message.top_via().rport == 0);
  CHECK(message.top_via().received == "192.0.2.1");
  CHECK(message.find(Header::route) == nullptr);
  CHECK(message.value(Header::route).empty());
  CHECK(message.value(Header::content_type) == "application/sdp");
  CHECK(message.name(message.lines()[1]) == "Max-Forwards");
}

TEST_CASE("a response is indexed") {
  Message message;
  REQUIRE(message.parse(ok));
  CHECK_FALSE(message.is_request());
  CHECK(message.status() == 200);
  CHECK(message.reason_phrase() == "OK");
  CHECK(message.method() == Method::invite);
  CHECK(message.method_text() == "INVITE");
  CHECK(message.request_uri().empty());
  CHECK(message.to_tag() == "b");
  CHECK(message.top_via().branch == "z9hG4bK1");
  CHECK(via_at(message, 1)->host == "b.example");
  CHECK_FALSE(via_at(message, 2));
  CHECK(message.max_forwards() == -1);
}

TEST_CASE("a message is read again and again") {
  Message message;
  REQUIRE(message.parse(invite));
  REQUIRE(message.parse(ok));
  CHECK_FALSE(message.is_request());
  CHECK(message.lines().size() == 6);
  CHECK(message.find(Header::contact) == nullptr);
  CHECK_FALSE(message.parse("nonsense"));
  CHECK(message.lines().empty());
  CHECK(message.call_id().empty());
  REQUIRE(message.parse(invite));
  CHECK(message.failure().reason == nullptr);
}

TEST_CASE("compact forms, any case and white space before the colon name the same headers") {
  Message message;
  REQUIRE(message.parse("OPTIONS sip:a.example SIP/2.0\r\nv \t: SIP/2.0/TCP h;branch=b\r\nF:<sip:f@a.example>;tag=1\r\nt: sip:t@a.example;tag=2\r\n"
                        "I: id\r\ncSEQ: 2\tOPTIONS\r\nK: path\r\nl: 0\r\nx-Own: 1\r\n\r\n"));
  CHECK(message.call_id() == "id");
  CHECK(message.from_tag() == "1");
  CHECK(message.to_tag() == "2");
  CHECK(message.cseq() == 2);
  CHECK(message.value(Header::supported) == "path");
  CHECK(message.lines().back().header == Header::other);
}

TEST_CASE("names are found by their text") {
  for (int i = 1; i <= static_cast<int>(Header::www_authenticate); ++i) {
    const auto header = static_cast<Header>(i);
    CHECK(header_of(text_of(header)) == header);
  }
  CHECK(header_of("content-LENGTH") == Header::content_length);
  CHECK(header_of("Content-Lengthy") == Header::other);
  CHECK(header_of("") == Header::other);
  CHECK(header_of("z") == Header::other);
  CHECK(text_of(Header::other).empty());
  for (int i = 1; i <= static_cast<int>(Method::message); ++i) CHECK(method_of(text_of(static_cast<Method>(i))) == static_cast<Method>(i));
  CHECK(method_of("REGISTER") == Method::register_);
  CHECK(method_of("invite") == Method::other);
  CHECK(method_of("") == Method::other);
}

TEST_CASE("bare line feeds end lines, and leading CRLFs are skipped") {
  std::string bare = invite;
  for (std::size_t at; (at = bare.find('\r')) != std::string::npos;) bare.erase(at, 1);
  Message message;
  REQUIRE(message.parse("\r\n\r\n" + bare));
  CHECK(message.wire() == bare);
  CHECK(message.body() == "v=0\n");
  CHECK(message.lines().size() == 9);
}

TEST_CASE("a folded line belongs to its header field") {
  Message message;
  REQUIRE(message.parse(with(invite, "To: Bob <", "To: Bob\r\n\t <")));
  CHECK(message.value(Header::to) == "Bob\r\n\t <sip:bob@biloxi.example>");
  CHECK(message.lines().size() == 9);
  CHECK(failure_status(with(invite, "Via:", " Via:")) == 400);  // a fold of nothing
}

TEST_CASE("Content-Length is held against the datagram") {
  Message message;
  REQUIRE(message.parse(with(invite, "Length: 4", "Length: 3")));
  CHECK(message.body() == "v=0");
  CHECK(message.wire().size() == invite.size() - 1);
  REQUIRE(message.parse(with(invite, "Content-Length: 4\r\n", "")));
  CHECK(message.body() == "v=0\n");
  CHECK(failure_status(with(invite, "Length: 4", "Length: 5")) == 400);
  CHECK(failure_status(with(invite, "Length: 4", "Length: 4294967296")) == 400);
  CHECK(failure_status(with(invite, "Length: 4", "Length: +4")) == 400);
  CHECK(failure_status(with(invite, "Length: 4", "Length: 4, 4")) == 400);
  CHECK(failure_status(with(invite, "Length: 4", "Length:")) == 400);
  CHECK(failure_status(with(ok, "Length: 0", "Length: 1")) == 0);
}

TEST_CASE("mandatory header fields") {
  for (const char* line : {"To: Bob <sip:bob@biloxi.example>\r\n", "From: Alice <sip:alice@atlanta.example>;tag=1928301774\r\n",
                           "Call-ID: a84b4c76e66710@pc33.atlanta.example\r\n", "CSeq: 314159 INVITE\r\n",
                           "Via: SIP/2.0/UDP pc33.atlanta.example:5061;branch=z9hG4bK776asdhds;rport;received=192.0.2.1\r\n"}) {
    CAPTURE(line);
    CHECK(failure_status(with(invite, line, "")) == 400);
  }
  CHECK(failure_status(with(ok, "CSeq: 1 INVITE\r\n", "")) == 0);
  CHECK(failure_status(with(invite, "Max-Forwards: 70\r\n", "")) == -1);
}

TEST_CASE("header fields that may stand once only") {
  for (const char* line : {"t: sip:a@b.example\r\n", "From: sip:a@b.example;tag=1\r\n", "i: x\r\n", "CSeq: 1 INVITE\r\n", "Max-Forwards: 1\r\n",
                           "l: 4\r\n"}) {
    CAPTURE(line);
    CHECK(failure_status(with(invite, "Contact:", line + std::string{"Contact:"})) == 400);
  }
  CHECK(failure_status(with(invite, "Contact:", "m: <sip:x@y.example>\r\nContact:")) == -1);
}

TEST_CASE("numbers in their ranges") {
  CHECK(failure_status(with(invite, "314159", "2147483647")) == -1);
  CHECK(failure_status(with(invite, "314159", "2147483648")) == 400);
  CHECK(failure_status(with(invite, "314159", "-1")) == 400);
  CHECK(failure_status(with(invite, "314159 ", "314159")) == 400);
  CHECK(failure_status(with(invite, ": 70", ": 255")) == -1);
  CHECK(failure_status(with(invite, ": 70", ": 256")) == 400);
  CHECK(failure_status(with(invite, ": 70", ": seventy")) == 400);
  CHECK(failure_status(with(invite, ":5061", ":65536")) == 400);
  CHECK(failure_status(with(invite, "rport;", "rport=70000;")) == 400);
}

TEST_CASE("start lines") {
  CHECK(failure_status("") == 0);
  CHECK(failure_status("\r\n\r\n") == 0);
  CHECK(failure_status("GET / HTTP/1.1\r\n\r\n") == 0);
  CHECK(failure_status("INVITE\r\n\r\n") == 0);
  CHECK(failure_status(" SIP/2.0\r\n\r\n") == 0);
  CHECK(failure_status(with(invite, "SIP/2.0\r\n", "sip/2.0\r\n")) == -1);
  CHECK(failure_status(with(invite, "SIP/2.0\r\n", "SIP/2.1\r\n")) == 505);
  CHECK(failure_status(with(invite, "SIP/2.0\r\n", "SIP/3\r\n")) == 505);
  CHECK(failure_status(with(invite, "INVITE sip:bob", "INV(TE sip:bob")) == 400);
  CHECK(failure_status(with(invite, "sip:bob@biloxi.example SIP", "nothing SIP")) == 400);
  CHECK(failure_status(with(invite, "sip:bob@biloxi.example SIP", "tel:+1-212-555-1212 SIP")) == -1);
  CHECK(failure_status(with(ok, "200 OK", "200")) == -1);
  CHECK(failure_status(with(ok, "200 OK", "20 OK")) == 0);
  CHECK(failure_status(with(ok, "200 OK", "099 OK")) == 0);
  CHECK(failure_status(with(ok, "200 OK", "700 OK")) == 0);
  CHECK(failure_status(with(ok, "SIP/2.0 200", "SIP/3.0 200")) == 0);
}

TEST_CASE("control characters stand in quoted pairs only") {
  using namespace std::string_literals;
  CHECK(failure_status(with(invite, "Bob <", "\"B\\\0b\" <"s)) == -1);
  CHECK(failure_status(with(invite, "Bob <", "\"B\0b\" <"s)) == 400);
  CHECK(failure_status(with(invite, "a84b", "a8\x01"s)) == 400);
  CHECK(failure_status(with(invite, "Content-Type: app", "X: a\rb\r\nContent-Type: app")) == 400);
  CHECK(failure_status(with(invite, "Content-Type: app", "X: a\tb\r\nContent-Type: app")) == -1);
  CHECK(failure_status(with(invite, "Content-Type: app", "X: \x7f\r\nContent-Type: app")) == 400);
  CHECK(failure_status(with(ok, "OK", "O\0K"s)) == 0);
}

TEST_CASE("a failed request keeps what an answer needs") {
  Message message;
  CHECK_FALSE(message.parse(with(invite, "Contact:", "no colon here\r\nContact:")));
  CHECK(message.failure().status == 400);
  CHECK(message.top_via().branch == "z9hG4bK776asdhds");
  CHECK(message.from_tag() == "1928301774");
  CHECK(message.call_id() == "a84b4c76e66710@pc33.atlanta.example");
  CHECK(message.cseq() == 314159);
  CHECK_FALSE(message.parse(invite.substr(0, invite.find("Content-Type"))));  // cut off before the empty line
  CHECK(message.failure().status == 400);
  CHECK(message.from_tag() == "1928301774");
}

TEST_CASE("no answer to a malformed ACK") {
  const std::string ack = with(with(invite, "INVITE sip", "ACK sip"), "314159 INVITE", "314159 ACK");
  CHECK(failure_status(ack) == -1);
  CHECK(failure_status(with(ack, "Length: 4", "Length: 5")) == 0);
}

TEST_CASE("limits on size and number of lines") {
  std::string many;
  for (std::size_t i = 9; i < limits::message_lines; ++i) many += "a: b\r\n";
  CHECK(failure_status(with(invite, "Contact:", many + "Contact:")) == -1);
  CHECK(failure_status(with(invite, "Contact:", many + "a: b\r\nContact:")) == 400);
  CHECK(failure_status(with(invite, "Length: 4", "Length: 0") + std::string(limits::message_bytes, 'x')) == 0);
}
