// Seeds: tests/vectors/framing
// Seeds: tests/vectors/rfc4475
// Seeds: tests/vectors/rfc5118
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sip/framing.hpp"

using namespace sipfarm::sip;

namespace {

constexpr std::size_t header_bytes = 600;
constexpr std::size_t message_bytes = 1'000;

void drain(StreamFramer& framer, std::string& out) {
  for (;;) {
    const Frame frame = framer.next();
    out += static_cast<char>('0' + static_cast<int>(frame.kind));
    if (frame.kind == Frame::Kind::none) out.pop_back();
    if (frame.kind == Frame::Kind::message) out += frame.bytes;
    if (frame.kind == Frame::Kind::none || frame.kind == Frame::Kind::error) return;
  }
}

std::string frames(std::string_view stream, std::size_t piece) {
  StreamFramer framer{header_bytes, message_bytes};
  std::string out;
  for (std::size_t at = 0; at < stream.size() && !framer.failed(); at += piece) {
    framer.feed(stream.substr(at, piece));
    drain(framer, out);
    if (framer.buffered() > message_bytes + piece) std::abort();
  }
  return out;
}

}  // namespace

/// Any bytes, whole, byte by byte and in pieces: the same frames.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::size_t piece = 1 + data[0];
  const std::string_view stream{reinterpret_cast<const char*>(data) + 1, size - 1};
  const std::string whole = frames(stream, stream.size());
  if (frames(stream, 1) != whole || frames(stream, piece) != whole) std::abort();
  return 0;
}
