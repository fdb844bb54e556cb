#include "audio/resampler.hpp"

#include <doctest/doctest.h>

#include "tone_probe.hpp"

using namespace sipfarm;
using audio::Resampler;
using tests::peak_at;
using tests::Samples;

namespace {

/// In frames of 20 ms.
Samples resample(const Samples& in, std::uint32_t from_hz, std::uint32_t to_hz) {
  Resampler resampler{from_hz, to_hz};
  const std::size_t frame = from_hz / 50;
  Samples out;
  Samples made(resampler.out_samples(frame));
  for (std::size_t at = 0; at + frame <= in.size(); at += frame) {
    const std::size_t count = resampler.process({in.data() + at, frame}, made);
    CHECK(count == to_hz / 50);
    out.insert(out.end(), made.begin(), made.begin() + static_cast<std::ptrdiff_t>(count));
  }
  return out;
}

}  // namespace

TEST_CASE("resampler: between all rates a tone keeps its frequency and level, and 20 ms stay 20 ms") {
  for (const std::uint32_t from_hz : {8'000U, 16'000U, 24'000U, 44'100U, 48'000U}) {
    for (const std::uint32_t to_hz : {8'000U, 16'000U, 24'000U, 48'000U}) {
      CAPTURE(from_hz);
      CAPTURE(to_hz);
      const Samples out = resample(tests::sine(1'000, from_hz, from_hz), from_hz, to_hz);
      REQUIRE(out.size() == to_hz);
      const std::span settled{out.data() + to_hz / 10, out.size() - to_hz / 10};
      CHECK(peak_at(settled, 1'000, to_hz) == doctest::Approx(10'000).epsilon(0.01));
      CHECK(tests::rms(settled) == doctest::Approx(7'071).epsilon(0.01));  // and there is nothing else
    }
  }
}

TEST_CASE("resampler: 5 to 7 kHz survive between 16 and 48 kHz, and do not come back as something else at 8") {
  for (const double hz : {5'000.0, 6'000.0, 7'000.0}) {
    CAPTURE(hz);
    const Samples wide = tests::sine(hz, 16'000, 16'000);
    const Samples full = resample(wide, 16'000, 48'000);
    CHECK(peak_at({full.data() + 4'800, 43'200}, hz, 48'000) == doctest::Approx(10'000).epsilon(0.01));
    const Samples back = resample(full, 48'000, 16'000);
    CHECK(peak_at({back.data() + 1'600, 14'400}, hz, 16'000) == doctest::Approx(10'000).epsilon(0.06));  // half a decibel at 7 kHz
    for (const auto& [pcm, rate_hz] : {std::pair{&wide, 16'000U}, std::pair{&full, 48'000U}}) {
      const Samples narrow = resample(*pcm, rate_hz, 8'000);
      CHECK(tests::db(tests::rms({narrow.data() + 800, narrow.size() - 800}) / 7'071.0) < -75.0);
    }
  }
}

TEST_CASE("resampler: what comes out is behind by the delay it tells") {
  for (const auto& rates : {std::pair{8'000U, 16'000U}, {16'000U, 8'000U}, {8'000U, 48'000U}, {48'000U, 8'000U}, {44'100U, 16'000U}}) {
    const std::uint32_t from_hz = rates.first;
    const std::uint32_t to_hz = rates.second;
    CAPTURE(from_hz);
    CAPTURE(to_hz);
    Samples in(from_hz / 5);
    const std::size_t at = from_hz / 50 * 3;
    in[at] = 30'000;
    const Samples out = resample(in, from_hz, to_hz);
    const auto highest = std::max_element(out.begin(), out.end()) - out.begin();
    const auto expected = static_cast<std::ptrdiff_t>(at * to_hz / from_hz + Resampler{from_hz, to_hz}.delay_samples());
    CHECK(std::abs(highest - expected) <= 1);
    CHECK(Resampler{from_hz, to_hz}.delay_samples() * 1'000 <= to_hz * 5);  // at most 5 ms
  }
}

TEST_CASE("resampler: the same rate is a copy, and reset forgets") {
  Resampler same{16'000, 16'000};
  const Samples in = tests::sine(440, 16'000, 320);
  Samples out(same.out_samples(320));
  CHECK(same.process(in, out) == 320);
  CHECK(std::equal(in.begin(), in.end(), out.begin()));
  CHECK(same.delay_samples() == 0);

  Resampler up{8'000, 16'000};
  Samples made(up.out_samples(160));
  up.process(tests::sine(440, 8'000, 160), made);
  up.reset();
  CHECK(up.process(Samples(160), made) == 320);
  CHECK(tests::rms({made.data(), 320}) == 0.0);
}
