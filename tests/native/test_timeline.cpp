#include "audio/timeline.hpp"

#include <numeric>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include "audio/repacketizer.hpp"

using namespace sipfarm;
using audio::Repacketizer;
using audio::SourceTime;
using audio::Stamp;
using audio::Timeline;

TEST_CASE("timeline: sequence and timestamp wrap, the first packet and the one after silence are marked") {
  Timeline timeline{7, 65'535, 0xffff'ff60U, 8'000};
  Stamp stamp = timeline.send(160);
  CHECK(stamp.ssrc == 7);
  CHECK(stamp.sequence == 65'535);
  CHECK(stamp.timestamp == 0xffff'ff60U);
  CHECK(stamp.marker);
  stamp = timeline.send(160);
  CHECK(stamp.sequence == 0);
  CHECK(stamp.timestamp == 0);
  CHECK_FALSE(stamp.marker);
  timeline.skip(320);
  stamp = timeline.send(160);
  CHECK(stamp.sequence == 1);
  CHECK(stamp.timestamp == 480);
  CHECK(stamp.marker);
  CHECK_FALSE(timeline.send(160).marker);
}

TEST_CASE("timeline: packets of an event keep its timestamp and take sequence numbers") {
  Timeline timeline{7, 10, 1'000, 8'000};
  timeline.send(160);
  const std::uint32_t begun = timeline.timestamp();
  for (int i = 0; i < 3; ++i) {
    const Stamp stamp = timeline.send_event(begun, i == 0);
    CHECK(stamp.sequence == 11 + i);
    CHECK(stamp.timestamp == 1'160);
    CHECK(stamp.marker == (i == 0));
    timeline.skip(160);
  }
  const Stamp stamp = timeline.send(160);
  CHECK(stamp.sequence == 14);
  CHECK(stamp.timestamp == 1'640);
  CHECK(stamp.marker);
}

TEST_CASE("timeline: gaps of the source stay gaps, at our clock rate") {
  Timeline timeline{7, 0, 0, 48'000};
  std::int64_t now_us = 0;
  std::uint32_t timestamp = 0xffff'fff0U;
  CHECK(timeline.follow({1, timestamp, 160, 8'000}, now_us) == 0);
  timestamp += 160;
  now_us += 20'000;
  CHECK(timeline.follow({1, timestamp, 160, 8'000}, now_us) == 0);
  timestamp += 160 + 8'000;
  now_us += 1'020'000;
  CHECK(timeline.follow({1, timestamp, 160, 8'000}, now_us) == 48'000);
}

TEST_CASE("timeline: another source, or a leap of its timestamps, goes on by the time that passed") {
  Timeline timeline{7, 0, 0, 8'000};
  CHECK(timeline.follow({1, 500, 160, 8'000}, 0) == 0);
  CHECK(timeline.follow({2, 4'000'000, 960, 48'000}, 120'000) == 800);
  CHECK(timeline.follow({2, 9'000'000, 960, 48'000}, 140'000) == 0);    // far ahead of time
  CHECK(timeline.follow({2, 8'000'000, 960, 48'000}, 200'000) == 320);  // backwards
  CHECK(timeline.follow({2, 8'000'960, 960, 48'000}, 201'000) == 0);    // early, in order
  timeline.send(160);
  CHECK(timeline.follow({3, 1, 160, 8'000}, 202'000) == 0);
  CHECK(timeline.send(160).marker);
}

TEST_CASE("timeline: another clock goes on where the old one was") {
  Timeline timeline{7, 0, 1'000, 8'000};
  timeline.send(160);
  timeline.set_clock_rate(48'000);
  const Stamp stamp = timeline.send(960);
  CHECK(stamp.timestamp == 1'160);
  CHECK(stamp.marker);
  CHECK(timeline.timestamp() == 2'120);
}

TEST_CASE("repacketizer: any frames in, one length out, no sample lost or twice") {
  std::mt19937 dice{5};
  Repacketizer repacketizer{960 + 480, 160};
  std::vector<std::int16_t> in;
  std::vector<std::int16_t> out;
  std::int16_t next = 0;
  for (int i = 0; i < 2'000; ++i) {
    if (i % 100 == 0) repacketizer.set_frame(80 * (1 + dice() % 6));  // 10..60 ms of 8 kHz
    std::vector<std::int16_t> frame(dice() % 961);
    for (auto& sample : frame) sample = next++;
    REQUIRE(repacketizer.push(frame));
    in.insert(in.end(), frame.begin(), frame.end());
    for (auto got = repacketizer.pop(); !got.empty(); got = repacketizer.pop()) {
      REQUIRE(got.size() == repacketizer.frame());
      out.insert(out.end(), got.begin(), got.end());
    }
    REQUIRE(repacketizer.held() < repacketizer.frame());
  }
  REQUIRE(out.size() + repacketizer.held() == in.size());
  in.resize(out.size());
  CHECK(in == out);
}

TEST_CASE("repacketizer: the last frame is filled up with silence, and a full one takes nothing") {
  Repacketizer repacketizer{320, 160};
  CHECK(repacketizer.flush() == 0);
  const std::vector<std::int16_t> frame(100, 7);
  CHECK(repacketizer.push(frame));
  CHECK(repacketizer.flush() == 60);
  const auto out = repacketizer.pop();
  CHECK(std::accumulate(out.begin(), out.end(), 0) == 700);
  CHECK(out[99] == 7);
  CHECK(out[100] == 0);
  const std::vector<std::int16_t> large(321);
  CHECK_FALSE(repacketizer.push(large));
  CHECK(repacketizer.held() == 0);
}
