// A bridge between sides of several codecs: any packets, in any order, at any time.
// Seeds: tests/vectors/rtp
#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "rtp/bridge.hpp"
#include "rtp/header.hpp"

namespace {

using namespace sipfarm;

class Sink final : public rtp::PacketSink {
 public:
  std::span<std::uint8_t> room() noexcept override { return room_; }
  void send(std::size_t bytes) noexcept override {
    if (bytes > room_.size() || !rtp::Header::read(std::span{room_}.first(bytes))) std::abort();
  }

 private:
  std::array<std::uint8_t, rtp::k_fixed_header_bytes + codec::k_payload_bytes_max> room_{};
};

rtp::BridgePlan plan() {
  rtp::BridgeSide a;
  a.receive = {{0, {codec::Id::pcmu}}, {9, {codec::Id::g722, 8'000, 16'000}}};
  a.send = a.receive[0];
  a.receive_events = {{101, 8'000}};
  a.send_events = a.receive_events[0];
  a.receive_noise = {{13, 8'000}};
  rtp::BridgeSide b;
  b.receive = {{8, {codec::Id::pcma}}, {97, {codec::Id::l16, 16'000, 16'000}}, {2, {codec::Id::g726_32}}};
  b.send = b.receive[0];
  b.ptime_ms = 30;
  b.receive_events = {{100, 48'000}};
  b.send_events = b.receive_events[0];
  b.send_noise = rtp::BesideFormat{13, 8'000};
  return {{a, b}};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const char* objection = nullptr;
  const auto bridge = rtp::Bridge::make(plan(), {{{1, 2, 3}, {4, 5, 6}}}, objection);
  if (!bridge) std::abort();
  Sink sink;
  std::int64_t now_us = 0;
  std::span<const std::uint8_t> rest{data, size};
  while (rest.size() >= 3) {
    const rtp::Side from = (rest[0] & 1U) != 0 ? rtp::Side::a : rtp::Side::b;
    now_us += std::int64_t{rest[0] >> 1U} * 1'000;
    const std::size_t bytes = std::min<std::size_t>(rest[1] * 8U + rest[2] % 8U, rest.size() - 3);
    bridge->receive(from, rest.subspan(3, bytes), now_us, sink);
    if ((rest[2] & 0x80U) != 0) bridge->expire(from, now_us, sink);
    rest = rest.subspan(3 + bytes);
  }
  return 0;
}
