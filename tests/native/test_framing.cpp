#include "sip/framing.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "sip/message.hpp"
#include "vectors.hpp"

using namespace sipfarm::sip;
using namespace sipfarm::tests;

namespace {

const std::string message =
    "MESSAGE sip:b@b.example SIP/2.0\r\nVia: SIP/2.0/TCP a.example;branch=1\r\nFrom: <sip:a@a.example>;tag=1\r\nTo: <sip:b@b.example>\r\n"
    "Call-ID: 1\r\nCSeq: 1 MESSAGE\r\nl : 6\r\n\r\n\r\n\r\nhi";

using Frames = std::vector<std::string>;

std::string text_of(const Frame& frame) {
  switch (frame.kind) {
    case Frame::Kind::message: return std::string{frame.bytes};
    case Frame::Kind::crlf: return "crlf";
    case Frame::Kind::ping: return "ping";
    case Frame::Kind::error: return std::string{"error: "} + frame.reason;
    case Frame::Kind::none: break;
  }
  return "none";
}

void drain(StreamFramer& framer, Frames& out) {
  for (;;) {
    const Frame frame = framer.next();
    if (frame.kind == Frame::Kind::none) return;
    out.push_back(text_of(frame));
    if (frame.kind == Frame::Kind::error) return;
  }
}

/// The frames of a stream that comes in pieces of `size` bytes.
Frames frames(std::string_view stream, std::size_t size, std::size_t max_header_bytes = limits::header_bytes,
              std::size_t max_message_bytes = limits::message_bytes) {
  StreamFramer framer{max_header_bytes, max_message_bytes};
  Frames out;
  for (std::size_t at = 0; at < stream.size() && !framer.failed(); at += size) {
    framer.feed(stream.substr(at, size));
    drain(framer, out);
  }
  return out;
}

Frames frames(std::string_view stream) {
  const Frames whole = frames(stream, stream.size() + 1);
  for (const std::size_t size : {1U, 2U, 3U, 7U, 64U}) CHECK(frames(stream, size) == whole);
  return whole;
}

}  // namespace

TEST_CASE("messages are parted by Content-Length") {
  CHECK(frames(message) == Frames{message});
  CHECK(frames(message + message) == Frames{message, message});
  CHECK(frames(message + "\r\n" + message) == Frames{message, "crlf", message});
  CHECK(frames(message.substr(0, message.size() - 1)).empty());
  CHECK(frames("").empty());
}

TEST_CASE("keep-alive") {
  CHECK(frames("\r\n") == Frames{"crlf"});
  CHECK(frames("\r\n\r\n") == Frames{"crlf", "ping"});
  CHECK(frames("\r\n\r\n\r\n\r\n") == Frames{"crlf", "ping", "crlf", "ping"});
  CHECK(frames("\r\n\r\n" + message + "\r\n\r\n" + message) == Frames{"crlf", "ping", message, "crlf", "ping", message});
  CHECK(frames("\n\n" + message) == Frames{message});
  CHECK(frames("\r").empty());
}

TEST_CASE("what ends a stream") {
  const auto replaced = [](const std::string& line) {
    std::string out = message;
    return out.replace(out.find("l : 6\r\n"), 7, line);
  };
  CHECK(frames(replaced("")) == Frames{"error: Missing Content-Length"});
  CHECK(frames(replaced("l: six\r\n")) == Frames{"error: Malformed Content-Length"});
  CHECK(frames(replaced("l: -6\r\n")) == Frames{"error: Malformed Content-Length"});
  CHECK(frames(replaced("l: 6\r\nContent-Length: 6\r\n")) == Frames{"error: Repeated Content-Length"});
  CHECK(frames(replaced("l: 70000\r\n")) == Frames{"error: Message too large"});
  CHECK(frames(replaced("l: 99999999999999999999\r\n")) == Frames{"error: Malformed Content-Length"});
  CHECK(frames(replaced("CONTENT-length\t:\r\n 6\r\n")).size() == 1);
  CHECK(frames("\rX") == Frames{"error: CR without LF"});
  CHECK(frames(std::string(200, 'x'), 1, 100, 200) == Frames{"error: Header part too large"});
  CHECK(frames(std::string(200, 'x'), 200, 100, 200) == Frames{"error: Header part too large"});
  CHECK(frames(message, 1, 100, 1000) == Frames{"error: Header part too large"});
}

TEST_CASE("after an error nothing is taken in any more") {
  StreamFramer framer;
  framer.feed("A sip:b SIP/2.0\r\nX: y\r\n\r\n");
  const Frame frame = framer.next();
  CHECK(frame.kind == Frame::Kind::error);
  CHECK(frame.bytes == "A sip:b SIP/2.0\r\nX: y\r\n\r\n");  // enough for a 400
  CHECK(framer.failed());
  const std::size_t before = framer.buffered();
  framer.feed(message);
  CHECK(framer.buffered() == before);
  CHECK(framer.next().kind == Frame::Kind::error);
  framer.reset();
  framer.feed(message);
  CHECK(framer.next().bytes == message);
}

TEST_CASE("every vector whole, byte by byte, and with other bytes behind it") {
  for (const Vector& vector : all_vectors()) {
    CAPTURE(vector.name);
    const Frames whole = frames(vector.bytes);
    if (vector.name == "clerr" || vector.name == "multi01") {  // shorter than their Content-Length: more bytes are awaited
      CHECK(whole.empty());
      continue;
    }
    REQUIRE_FALSE(whole.empty());
    const Frames behind = frames(vector.bytes + message);
    CHECK(behind.front() == whole.front());
    if (whole.front().rfind("error", 0) == 0) continue;
    Message parsed;
    parsed.parse(vector.bytes);
    if (parsed.failure().reason == nullptr) CHECK(whole.front() == parsed.wire());
    if (whole.size() == 1) CHECK(behind.back() == message);
  }
}

TEST_CASE("any split gives the same frames") {
  const std::string stream = "\r\n\r\n" + message + "\r\n" + message + message + "\r\n\r\n\r\n" + message;
  const Frames whole = frames(stream, stream.size());
  std::mt19937 random{7};
  for (int round = 0; round < 300; ++round) {
    StreamFramer framer;
    Frames out;
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t size = 1 + random() % 90;
      framer.feed(std::string_view{stream}.substr(at, size));
      drain(framer, out);
      at += size;
    }
    CHECK(out == whole);
  }
}

TEST_CASE("a long header part and a long body, byte by byte") {
  StreamFramer framer;
  const std::string stream = "A sip:b SIP/2.0\r\nl: 32000\r\nX: " + std::string(32'000, 'x') + "\r\n\r\n" + std::string(32'000, 'y');
  Frames out;
  for (int i = 0; i < 3; ++i)
    for (const char c : stream) {
      framer.feed({&c, 1});
      drain(framer, out);
      REQUIRE(framer.buffered() <= stream.size());
    }
  CHECK(out == Frames(3, stream));
}
