// Seeds: tests/vectors/rtp
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "audio/comfort_noise.hpp"
#include "audio/jitter_buffer.hpp"
#include "audio/reorder.hpp"
#include "audio/telephone_event.hpp"

using namespace sipfarm;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

/// Numbers and bytes from the input, zeros when it is used up.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : bytes_{data, size} {}
  bool empty() const { return bytes_.empty(); }
  std::uint32_t number(int bytes) {
    std::uint32_t out = 0;
    for (int i = 0; i < bytes && !bytes_.empty(); ++i, bytes_ = bytes_.subspan(1)) out = out << 8U | bytes_[0];
    return out;
  }
  std::span<const std::uint8_t> take(std::size_t most) {
    const auto out = bytes_.first(std::min(most, bytes_.size()));
    bytes_ = bytes_.subspan(out.size());
    return out;
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

}  // namespace

/// Packets of any number, time and length, at any time, to what keeps order and time by them.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input{data, size};
  audio::JitterBuffer jitter{{.packets_max = 16, .payload_bytes_max = 32}};
  audio::Reorder reorder{{.packets_max = 4, .payload_bytes_max = 32}};
  audio::EventReceiver events;
  audio::ComfortNoise noise{1};
  std::vector<std::int16_t> pcm(160);
  std::int64_t now_us = 0;
  std::int64_t delivered = 0;
  int running = 0;
  while (!input.empty()) {
    now_us += input.number(2) * 10;
    audio::Packet packet;
    packet.ssrc = input.number(1) % 3;
    packet.sequence = static_cast<std::uint16_t>(input.number(2));
    packet.timestamp = input.number(4);
    packet.duration = input.number(1) * 8;
    packet.payload = input.take(input.number(1) % 40);
    if (packet.duration % 5 == 1) jitter.skip(packet);
    else jitter.push(packet, now_us);
    delivered += reorder.push(packet, now_us) == audio::Reorder::Verdict::deliver ? 1 : 0;
    while (reorder.release(now_us)) ++delivered;
    if (const auto report = audio::EventReport::parse(packet.payload)) {
      for (const auto& event : events.receive(*report, packet.timestamp, now_us)) {
        running += event.kind == audio::TelephoneEvent::Kind::began ? 1 : -1;
        require(running == 0 || running == 1);
      }
    }
    noise.receive(audio::NoiseDescription::parse(packet.payload));
    noise.fill(pcm);
    const auto held = input.number(1);
    for (int i = 0; i < 3; ++i) {
      const auto popped = jitter.pop(now_us, held);
      require(popped.duration <= 48'000 && popped.payload.size() <= 32);
      require(popped.kind == audio::Popped::Kind::frame || popped.duration > 0);
    }
    require(jitter.size() <= 16 && reorder.size() <= 4);
    const auto& seen = jitter.statistics();
    require(seen.played + seen.late + seen.duplicates + seen.discarded <= seen.received);
  }
  const auto& counted = reorder.statistics();
  require(static_cast<std::uint64_t>(delivered) + counted.late + counted.duplicates + counted.discarded + reorder.size() == counted.received);
  return 0;
}
