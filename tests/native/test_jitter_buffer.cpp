#include "audio/jitter_buffer.hpp"

#include "jitter_trace.hpp"

using namespace sipfarm;
using audio::JitterBuffer;
using audio::JitterConfig;
using audio::JitterStatistics;
using audio::Popped;
using Kind = audio::Popped::Kind;
using tests::even_trace;
using tests::play;
using tests::TracePacket;

namespace {

bool rises(const std::vector<std::uint32_t>& timestamps) {
  for (std::size_t i = 1; i < timestamps.size(); ++i) {
    if (static_cast<std::int32_t>(timestamps[i] - timestamps[i - 1]) <= 0) return false;
  }
  return true;
}

void push(JitterBuffer& buffer, const TracePacket& packet) {
  const auto payload = tests::payload_for(packet);
  buffer.push(tests::packet_from(packet, payload), packet.arrival_us);
}

}  // namespace

TEST_CASE("jitter buffer: what comes is played, in order, and every packet is accounted for") {
  for (const char* name : {"steady", "wifi", "lte", "drift", "spike", "dtx"}) {
    CAPTURE(name);
    const auto trace = tests::read_trace(name);
    const auto oracle = tests::count_losses(trace);
    JitterBuffer buffer{{}};
    const auto heard = play(buffer, trace);
    const JitterStatistics& found = buffer.statistics();
    CHECK(found.received == trace.size());
    CHECK(found.lost == oracle.lost);
    CHECK(found.duplicates == oracle.duplicates);
    CHECK(found.played + found.late + found.discarded + found.duplicates == found.received);
    CHECK(found.played == heard.timestamps.size());
    CHECK(found.restarts == 0);
    CHECK(heard.payloads_right);
    CHECK(rises(heard.timestamps));
    CHECK(buffer.size() == 0);
  }
}

TEST_CASE("jitter buffer: a quiet wire is played with the least delay and nothing concealed") {
  JitterBuffer buffer{{}};
  const auto heard = play(buffer, tests::read_trace("steady"), 0);
  CHECK(heard.pops.count(Kind::lost) == 0);
  CHECK(heard.pops.count(Kind::recoverable) == 0);
  CHECK(buffer.statistics().target_us == 20'000);
  CHECK(buffer.statistics().delay_us <= 50'000);
}

TEST_CASE("jitter buffer: the delay grows with bursts, so that they are not heard for long") {
  JitterBuffer buffer{{}};
  const auto trace = tests::read_trace("wifi");
  play(buffer, trace, 0);
  const JitterStatistics& found = buffer.statistics();
  CHECK(found.target_us >= 90'000);
  CHECK(found.target_us <= 140'000);
  CHECK(found.late == 0);
  // Without adaptation each of the 12 stalls would starve for five ticks.
  CHECK(found.starved <= 15);
}

TEST_CASE("jitter buffer: few packets of a mobile network come too late") {
  JitterBuffer buffer{{}};
  const auto heard = play(buffer, tests::read_trace("lte"), 0);
  const JitterStatistics& found = buffer.statistics();
  CHECK(found.late + found.discarded <= 6);  // of 600
  CHECK(found.starved <= 12);
  CHECK(heard.delay_us_max <= 160'000);
}

TEST_CASE("jitter buffer: a spike is played late, and the delay comes back within thirteen seconds") {
  JitterBuffer buffer{{}};
  const auto heard = play(buffer, tests::read_trace("spike"), 0);
  CHECK(heard.delay_us_max >= 200'000);
  CHECK(heard.delay_us_max <= 280'000);
  CHECK(buffer.statistics().discarded <= 12);
  CHECK(heard.delay_us_last < 100'000);
}

TEST_CASE("jitter buffer: pauses of a sender are silence, not loss") {
  JitterBuffer buffer{{}};
  const auto heard = play(buffer, tests::read_trace("dtx"), 0);
  const JitterStatistics& found = buffer.statistics();
  CHECK(found.lost == 0);
  CHECK(heard.pops.count(Kind::lost) == 0);
  CHECK(heard.pops.at(Kind::nothing) > 200);
  CHECK(found.played + buffer.size() == found.received);
}

TEST_CASE("jitter buffer: clocks that differ by 200 ppm are followed for an hour by stretching alone") {
  for (const double ppm : {200.0, -200.0}) {
    CAPTURE(ppm);
    JitterBuffer buffer{{}};
    const auto heard = play(buffer, even_trace(180'000, 160, ppm), 0);
    const JitterStatistics& found = buffer.statistics();
    CHECK(found.played + buffer.size() >= found.received - 1);
    CHECK(found.late + found.discarded == 0);
    CHECK(found.lost == 0);
    CHECK(heard.delay_us_max < 70'000);
    // 720 ms of difference, 8 ms at a time.
    CHECK((ppm > 0 ? found.shortened : found.lengthened + found.starved) >= 30);
    CHECK(found.shortened + found.lengthened <= 200);
  }
}

TEST_CASE("jitter buffer: one that is missing is concealed once, with what the next one carries of it") {
  auto trace = even_trace(100);
  trace.erase(trace.begin() + 50);
  JitterBuffer buffer{{}};
  const auto heard = play(buffer, trace, 0);
  CHECK(heard.pops.at(Kind::recoverable) == 1);
  CHECK(heard.units.at(Kind::recoverable) == 160);
  CHECK(heard.pops.count(Kind::lost) == 0);
  CHECK(buffer.statistics().lost == 1);

  trace.erase(trace.begin() + 60, trace.begin() + 63);
  JitterBuffer second{{.delay_min_us = 100'000, .delay_initial_us = 100'000}};
  const auto twice = play(second, trace, 0);
  CHECK(twice.pops.at(Kind::recoverable) == 2);
  CHECK(twice.pops.at(Kind::lost) == 2);
  CHECK(twice.units.at(Kind::lost) == 320);
  CHECK(second.statistics().lost == 4);
}

TEST_CASE("jitter buffer: the payload of the packet after a lost one is at hand") {
  JitterBuffer buffer{{.delay_min_us = 0, .delay_initial_us = 0}};
  const TracePacket first{0, 7, 1'000};
  const TracePacket third{40'000, 9, 1'320};
  push(buffer, first);
  REQUIRE(buffer.pop(0).kind == Kind::nothing);  // not due: of the first packet nobody knows how late it is
  REQUIRE(buffer.pop(20'000).kind == Kind::frame);
  push(buffer, third);
  const Popped popped = buffer.pop(40'000);
  REQUIRE(popped.kind == Kind::recoverable);
  CHECK(popped.duration == 160);
  CHECK(popped.timestamp == 1'160);
  CHECK(std::ranges::equal(popped.payload, tests::payload_for(third)));
  CHECK(buffer.pop(60'000).timestamp == 1'320);
}

TEST_CASE("jitter buffer: packets that overtake each other are put in order") {
  auto trace = even_trace(200);
  for (std::size_t i = 10; i + 1 < trace.size(); i += 7) std::swap(trace[i].arrival_us, trace[i + 1].arrival_us);
  JitterBuffer buffer{{.delay_min_us = 60'000, .delay_initial_us = 60'000}};
  const auto heard = play(buffer, trace, 0);
  CHECK(rises(heard.timestamps));
  CHECK(buffer.statistics().lost == 0);
  CHECK(buffer.statistics().late == 0);
  CHECK(heard.pops.count(Kind::recoverable) == 0);
}

TEST_CASE("jitter buffer: one that comes after it was given up is late, not lost") {
  JitterBuffer buffer{{}};
  auto trace = even_trace(100);
  trace[50].arrival_us += 200'000;
  play(buffer, trace);
  CHECK(buffer.statistics().late == 1);
  CHECK(buffer.statistics().lost == 0);
  CHECK(buffer.statistics().played == 99);
}

TEST_CASE("jitter buffer: the first packets may come in the wrong order") {
  auto trace = even_trace(50);
  std::swap(trace[0].arrival_us, trace[1].arrival_us);
  JitterBuffer buffer{{}};
  const auto heard = play(buffer, trace);
  CHECK(heard.timestamps.front() == 0);
  CHECK(buffer.statistics().played == 50);
}

TEST_CASE("jitter buffer: another source is played from its second packet on, a stray one never") {
  auto trace = even_trace(100);
  trace[30].ssrc = 99;  // one packet of somebody else
  for (std::size_t i = 50; i < 100; ++i) {
    trace[i].ssrc = 2;
    trace[i].sequence = static_cast<std::uint16_t>(40'000 + i);
    trace[i].timestamp += 3'000'000'000U;
  }
  JitterBuffer buffer{{}};
  const auto heard = play(buffer, trace);
  const JitterStatistics& found = buffer.statistics();
  CHECK(found.restarts == 1);
  CHECK(heard.timestamps.back() == trace.back().timestamp);
  CHECK(found.played >= 94);
  CHECK(found.discarded <= 5);
  CHECK(found.lost == 1);  // the number that the stray one stood in the place of
}

TEST_CASE("jitter buffer: a leap of sequence numbers is a new beginning, a leap of timestamps is not") {
  auto trace = even_trace(100);
  for (std::size_t i = 50; i < 100; ++i) trace[i].sequence = static_cast<std::uint16_t>(trace[i].sequence + 20'000);
  JitterBuffer leapt{{}};
  play(leapt, trace);
  CHECK(leapt.statistics().restarts == 1);
  CHECK(leapt.statistics().played >= 96);

  for (const std::uint32_t leap : {800'000U, static_cast<std::uint32_t>(-800'000)}) {
    CAPTURE(leap);
    trace = even_trace(400);
    for (std::size_t i = 50; i < 400; ++i) trace[i].timestamp += leap;
    JitterBuffer buffer{{}};
    const auto heard = play(buffer, trace);
    CHECK(buffer.statistics().restarts == 0);
    CHECK(buffer.statistics().lost == 0);
    CHECK(buffer.statistics().played == 400);
    CHECK(heard.delay_us_last < 80'000);
  }
}

TEST_CASE("jitter buffer: packets may become longer or shorter in mid-stream") {
  for (const std::uint32_t frame : {80U, 240U, 480U, 960U}) {
    CAPTURE(frame);
    auto trace = even_trace(100);
    auto rest = even_trace(100, frame);
    for (auto& packet : rest) {
      packet.arrival_us += 2'000'000 + (static_cast<std::int64_t>(frame) - 160) * 125;
      packet.sequence = static_cast<std::uint16_t>(packet.sequence + 100);
      packet.timestamp += 16'000;
    }
    trace.insert(trace.end(), rest.begin(), rest.end());
    JitterBuffer buffer{{}};
    const auto heard = play(buffer, trace);
    CHECK(buffer.statistics().lost == 0);
    CHECK(buffer.statistics().late == 0);
    CHECK(buffer.statistics().discarded == 0);
    CHECK(heard.pops.count(Kind::recoverable) == 0);
    CHECK(heard.delay_us_max < 150'000);
    CHECK(heard.timestamps.size() == 200);
  }
}

TEST_CASE("jitter buffer: digits between speech are neither missed nor played") {
  JitterBuffer buffer{{}};
  auto trace = even_trace(100);
  std::uint32_t held = 0;
  int frames = 0;
  for (std::int64_t now_us = 0, next = 0; now_us < 2'400'000; now_us += 20'000) {
    for (; next < 100 && trace[static_cast<std::size_t>(next)].arrival_us <= now_us; ++next) {
      auto& packet = trace[static_cast<std::size_t>(next)];
      if (next >= 40 && next < 50) {
        packet.timestamp = trace[40].timestamp;  // RFC 4733: that of the event's beginning
        buffer.skip({packet.ssrc, packet.sequence, packet.timestamp, 0, 101, false, {}});
      } else {
        push(buffer, packet);
      }
    }
    for (; held < 160;) {
      const Popped popped = buffer.pop(now_us, held);
      held += popped.duration;
      frames += popped.kind == Kind::frame ? 1 : 0;
      CHECK(popped.kind != Kind::recoverable);
      if (now_us < 1'900'000) CHECK(popped.kind != Kind::lost);
    }
    held -= 160;
  }
  CHECK(frames == 90);
  CHECK(buffer.statistics().lost == 0);
}

TEST_CASE("jitter buffer: memory is bounded, whatever comes while nobody plays") {
  JitterBuffer buffer{{.packets_max = 32, .payload_bytes_max = 64}};
  for (const TracePacket& packet : even_trace(10'000)) push(buffer, packet);
  CHECK(buffer.size() <= 32);
  std::array<std::uint8_t, 65> large{};
  buffer.push({1, 10'010, 1'600'000, 160, 0, false, large}, 0);
  CHECK(buffer.statistics().discarded == 10'001 - buffer.size());
  CHECK(buffer.pop(200'000'000).kind == Kind::frame);
}

TEST_CASE("jitter buffer: another clock begins anew and keeps the statistics") {
  JitterBuffer buffer{{}};
  play(buffer, even_trace(50));
  buffer.reset(48'000);
  CHECK(buffer.size() == 0);
  CHECK(buffer.pop(0).duration == 960);
  push(buffer, {10'000'000, 5, 1, 960});
  CHECK(buffer.pop(10'080'000).kind == Kind::frame);
  CHECK(buffer.statistics().played == 51);
}
