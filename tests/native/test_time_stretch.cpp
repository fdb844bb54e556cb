#include "audio/time_stretch.hpp"

#include <doctest/doctest.h>

#include "audio/concealment.hpp"
#include "tone_probe.hpp"

using namespace sipfarm;
using audio::TimeStretch;
using tests::Samples;

TEST_CASE("time stretch: a voice becomes shorter or longer, keeps its pitch and does not click") {
  for (const std::uint32_t rate_hz : {8'000U, 16'000U, 48'000U}) {
    for (const double pitch_hz : {110.0, 180.0, 310.0}) {
      for (const bool longer : {false, true}) {
        CAPTURE(rate_hz);
        CAPTURE(pitch_hz);
        CAPTURE(longer);
        TimeStretch stretch{rate_hz};
        const std::size_t frame = rate_hz / 50;
        Samples in = tests::sine(pitch_hz, rate_hz, rate_hz, 6'000);
        const Samples second = tests::sine(2 * pitch_hz, rate_hz, rate_hz, 3'000);
        for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::int16_t>(in[i] + second[i]);
        const int steepest = tests::largest_step(in);
        Samples out;
        Samples room(frame + stretch.growth_max());
        std::size_t changed = 0;
        for (std::size_t at = 0; at < in.size(); at += frame) {
          std::copy_n(in.data() + at, frame, room.data());
          std::size_t samples = frame;
          if (at / frame % 5 == 4) samples = longer ? stretch.lengthen(room, frame) : stretch.shorten({room.data(), frame});
          if (samples != frame) ++changed;
          if (samples != frame) CHECK(std::abs(static_cast<std::ptrdiff_t>(samples) - static_cast<std::ptrdiff_t>(frame)) <= rate_hz / 100);
          out.insert(out.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(samples));
        }
        CHECK(changed >= 8);
        CHECK((longer ? out.size() > in.size() : out.size() < in.size()));
        CHECK(tests::largest_step(out) <= steepest * 5 / 4);
        CHECK(tests::rms(out) == doctest::Approx(tests::rms(in)).epsilon(0.06));
      }
    }
  }
}

TEST_CASE("time stretch: silence is cut by as much as may be, noise that is loud is left alone") {
  TimeStretch stretch{8'000};
  Samples silence(160, 3);
  CHECK(stretch.shorten(silence) == 80);
  std::mt19937 dice{8};
  Samples noise = tests::noise(dice, 160, 5'000);
  const Samples before = noise;
  CHECK(stretch.shorten(noise) == 160);
  CHECK(noise == before);
}

TEST_CASE("time stretch: frames that are too short or too long, or without room, stay as they are") {
  TimeStretch stretch{8'000};
  Samples tiny(30);
  CHECK(stretch.shorten(tiny) == 30);
  Samples huge(2'000);
  CHECK(stretch.shorten(huge) == 2'000);
  Samples frame = tests::sine(200, 8'000, 160);
  CHECK(stretch.lengthen(frame, 160) == 160);
  Samples ten_ms = tests::sine(300, 8'000, 80);
  CHECK(stretch.shorten(ten_ms) < 80);
}

TEST_CASE("joins: audio begins and ceases without a click, and in between is as it was") {
  audio::Joins joins{8'000};
  Samples all;
  const Samples tone = tests::sine(400, 8'000, 1'600, 12'000);
  for (int i = 0; i < 30; ++i) {
    Samples frame(160);
    if (i % 10 < 5) {
      std::copy_n(tone.data() + 20 + i % 5 * 160, 160, frame.data());  // in the middle of a period
      joins.audio(frame);
    } else {
      joins.pause(frame);
    }
    if (i % 10 == 2) CHECK(std::equal(frame.begin(), frame.end(), tone.data() + 20 + 320));
    if (i % 10 == 6) CHECK(tests::rms(frame) == 0.0);
    all.insert(all.end(), frame.begin(), frame.end());
  }
  CHECK(tests::largest_step(all) <= tests::largest_step(tone) + 400);
}
