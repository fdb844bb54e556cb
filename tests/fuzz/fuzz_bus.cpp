// Seeds: tests/vectors/bus
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "sip/engine.hpp"

using namespace sipfarm;

namespace {

sip::EngineConfig config() {
  sip::EngineConfig out;
  out.listens.push_back({net::Transport::udp, net::Address::parse("192.0.2.100", 5060).value(), "192.0.2.100", 5060});
  out.member = 1;
  out.epoch = 10;
  out.media = net::Address::parse("192.0.2.100", 0).value();
  out.waiting_max = 8;
  out.directory_max = 64;
  out.protect.enabled = true;
  out.protect.faults_max = 2;
  out.protect.sources_max = 4;
  out.protect.flows_max = 4;
  return out;
}

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

/// What another member says, whole or cut anywhere: two payloads, parted by the first byte's share of the input.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  rtp::PortPool ports;
  sip::Engine engine{config(), ports, 0};
  sip::Output out;
  const sip::FarmMember view[] = {{1, 10, true, 0}, {2, 10, true, 0}, {3, 10, true, 0}};
  engine.set_view(view, 0, out);
  const std::size_t cut = bytes.size() * data[0] / 256;
  engine.receive_bus(2, bytes.substr(0, cut), 1, out);
  engine.receive_bus(3, bytes.substr(cut), 2, out);
  require(engine.directory_size() <= 64 && engine.waiting_count() <= 8);
  for (const sip::BusFrame& frame : out.frames) {
    net::MsgpackReader reader{out.bytes(frame)};
    require(sip::read_bus_message(reader).has_value() && reader.empty());
  }
  for (const sip::Event& event : out.events) engine.respond(event.id, {500, {}, {}, {}, {}}, 3, out);
  std::int64_t now_ms = 3;
  while (const auto next = engine.next_deadline_ms()) {
    require(*next < 600'000);
    now_ms = std::max(now_ms, *next);
    engine.expire(now_ms, out);
  }
  require(engine.directory_size() == 0 && engine.waiting_count() == 0 && engine.transactions().server_count() == 0);
  return 0;
}
