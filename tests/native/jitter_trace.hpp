#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <sstream>
#include <vector>

#include "audio/jitter_buffer.hpp"
#include "vectors.hpp"

/// Traces of tests/vectors/jitter, and a leg that plays them in virtual time.
namespace sipfarm::tests {

struct TracePacket {
  std::int64_t arrival_us = 0;
  std::uint16_t sequence = 0;
  std::uint32_t timestamp = 0;
  std::uint32_t duration = 160;
  std::uint32_t ssrc = 1;
};

inline std::vector<TracePacket> read_trace(const std::string& name) {
  std::istringstream lines{read_bytes(vectors_folder("jitter") / (name + ".tsv"))};
  std::vector<TracePacket> out;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.front() == '#') continue;
    std::istringstream columns{line};
    TracePacket packet;
    columns >> packet.arrival_us >> packet.sequence >> packet.timestamp >> packet.duration;
    out.push_back(packet);
  }
  return out;
}

/// `count` packets, one every `frame` units of an 8 kHz clock, with no jitter.
inline std::vector<TracePacket> even_trace(std::size_t count, std::uint32_t frame = 160, double ppm = 0.0) {
  std::vector<TracePacket> out(count);
  for (std::size_t i = 0; i < count; ++i) {
    out[i].arrival_us = 5'000 + static_cast<std::int64_t>(static_cast<double>(i) * frame * 125.0 * (1.0 - ppm * 1e-6));
    out[i].sequence = static_cast<std::uint16_t>(i + 10);
    out[i].timestamp = static_cast<std::uint32_t>(i) * frame;
    out[i].duration = frame;
  }
  return out;
}

/// The dumb way to count: by sets of sequence numbers, of a trace with one wrap at most.
struct LossOracle {
  std::uint64_t lost = 0;
  std::uint64_t duplicates = 0;
};

inline LossOracle count_losses(const std::vector<TracePacket>& trace) {
  std::set<std::int64_t> came;
  LossOracle out;
  for (const TracePacket& packet : trace) {
    const auto step = static_cast<std::int16_t>(static_cast<std::uint16_t>(packet.sequence - trace.front().sequence));
    if (!came.insert(step).second) ++out.duplicates;
  }
  out.lost = static_cast<std::uint64_t>(*came.rbegin() - *came.begin() + 1) - came.size();
  return out;
}

/// What a leg heard.
struct Heard {
  std::vector<std::uint32_t> timestamps;  // of frames, in the order in which they were played
  std::map<audio::Popped::Kind, int> pops;
  std::map<audio::Popped::Kind, std::int64_t> units;
  std::int64_t delay_us_max = 0;          // of frames after the first second
  std::int64_t delay_us_last = 0;
  bool payloads_right = true;
};

inline std::array<std::uint8_t, 4> payload_for(const TracePacket& packet) {
  return {static_cast<std::uint8_t>(packet.timestamp), static_cast<std::uint8_t>(packet.timestamp >> 8U),
          static_cast<std::uint8_t>(packet.timestamp >> 16U), static_cast<std::uint8_t>(packet.timestamp >> 24U)};
}

inline audio::Packet packet_from(const TracePacket& packet, const std::array<std::uint8_t, 4>& payload) {
  return {packet.ssrc, packet.sequence, packet.timestamp, packet.duration, 0, false, payload};
}

/// Plays a trace on ticks of 20 ms until `tail_ticks` after its last packet. Stretching takes or gives `stretch` units.
inline Heard play(audio::JitterBuffer& buffer, std::vector<TracePacket> trace, int tail_ticks = 30, std::uint32_t stretch = 64) {
  std::stable_sort(trace.begin(), trace.end(), [](const auto& a, const auto& b) { return a.arrival_us < b.arrival_us; });
  Heard out;
  std::uint32_t held = 0;
  auto next = trace.begin();
  const std::int64_t begun_us = trace.front().arrival_us;
  const std::int64_t end_us = trace.back().arrival_us + tail_ticks * 20'000;
  for (std::int64_t now_us = 0; now_us < end_us; now_us += 20'000) {
    for (; next != trace.end() && next->arrival_us <= now_us; ++next) {
      const auto payload = payload_for(*next);
      buffer.push(packet_from(*next, payload), next->arrival_us);
    }
    while (held < 160) {
      const audio::Popped popped = buffer.pop(now_us, held);
      ++out.pops[popped.kind];
      out.units[popped.kind] += popped.duration;
      held += popped.duration;
      if (popped.kind != audio::Popped::Kind::frame) continue;
      out.timestamps.push_back(popped.timestamp);
      const auto expected = payload_for({0, 0, popped.timestamp, 0, 0});
      out.payloads_right = out.payloads_right && std::ranges::equal(popped.payload, expected);
      out.delay_us_last = buffer.statistics().delay_us;
      if (now_us - begun_us > 1'000'000) out.delay_us_max = std::max(out.delay_us_max, out.delay_us_last);
      if (popped.pace == audio::Popped::Pace::shorten) held -= stretch;
      if (popped.pace == audio::Popped::Pace::lengthen) held += stretch;
    }
    held -= 160;
  }
  return out;
}

}  // namespace sipfarm::tests
