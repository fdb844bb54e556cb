#include "audio/tones.hpp"

#include <array>
#include <set>

#include <doctest/doctest.h>

#include "tone_probe.hpp"

using namespace sipfarm;
using audio::Cadence;
using audio::CallProgress;
using audio::ToneGenerator;
using tests::Samples;

namespace {

Samples generate(ToneGenerator& generator, std::uint32_t rate_hz, double seconds, std::size_t frame) {
  Samples out(static_cast<std::size_t>(seconds * rate_hz));
  for (std::size_t at = 0; at < out.size(); at += frame) generator.fill({out.data() + at, std::min(frame, out.size() - at)});
  return out;
}

}  // namespace

TEST_CASE("tones: a cadence is read, and nothing else is") {
  const Cadence cadence = Cadence::parse("400+450/400,0/200,400*25/500,350").value();
  REQUIRE(cadence.count == 4);
  CHECK(cadence.segments[0].second_hz == 450);
  CHECK_FALSE(cadence.segments[0].modulated);
  CHECK(cadence.segments[1].first_hz == 0);
  CHECK(cadence.segments[1].ms == 200);
  CHECK(cadence.segments[2].modulated);
  CHECK(cadence.segments[3].ms == 0);
  for (const char* wrong : {"", ",", "400,", "400/", "400/0", "a", "400+", "400/5x", "99999", "400/9999999", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"}) {
    CAPTURE(wrong);
    CHECK_FALSE(Cadence::parse(wrong).has_value());
  }
}

TEST_CASE("tones: all countries have all tones, of frequencies that are heard") {
  CHECK(audio::countries_with_tones().size() >= 20);
  for (const auto country : audio::countries_with_tones()) {
    for (const auto tone : {CallProgress::dial, CallProgress::ring_back, CallProgress::busy, CallProgress::congestion, CallProgress::special_information}) {
      CAPTURE(country);
      const auto cadence = audio::call_progress_tone(country, tone);
      REQUIRE(cadence.has_value());
      for (std::size_t i = 0; i < cadence->count; ++i) {
        const auto& segment = cadence->segments[i];
        if (segment.first_hz != 0) CHECK((segment.first_hz >= 300 && segment.first_hz <= 1'800));
        else CHECK(segment.ms > 0);
      }
    }
  }
  CHECK_FALSE(audio::call_progress_tone("xx", CallProgress::busy).has_value());
  CHECK_FALSE(audio::call_progress_tone("", CallProgress::busy).has_value());
}

TEST_CASE("tones: each rate plays the frequencies, the level and the cadence of the table") {
  for (const std::uint32_t rate_hz : {8'000U, 16'000U, 48'000U}) {
    CAPTURE(rate_hz);
    ToneGenerator generator{rate_hz};
    generator.start(audio::call_progress_tone("us", CallProgress::busy).value());
    const Samples pcm = generate(generator, rate_hz, 2.0, rate_hz / 50);
    const double full = 32'767.0 * std::pow(10.0, -3.14 / 20.0);
    for (std::uint32_t half = 0; half < 4; ++half) {
      const std::span part{pcm.data() + half * rate_hz / 2 + rate_hz / 50, rate_hz / 2 - rate_hz / 25};
      if (half % 2 == 1) {
        CHECK(tests::rms(part) == 0.0);
        continue;
      }
      CHECK(tests::db(tests::peak_at(part, 480, rate_hz) / full) == doctest::Approx(-13.0).epsilon(0.02));
      CHECK(tests::db(tests::peak_at(part, 620, rate_hz) / full) == doctest::Approx(-13.0).epsilon(0.02));
      CHECK(tests::db(tests::peak_at(part, 550, rate_hz) / full) < -50.0);
    }
  }
}

TEST_CASE("tones: frames of any length make the same samples, and no border clicks") {
  for (const char* text : {"425", "425/480,0/480", "950/330,1400/330,1800/330,0/1000", "400*25/400,0/200"}) {
    CAPTURE(text);
    Samples whole;
    for (const std::size_t frame : {160U, 80U, 7U, 40'000U}) {
      ToneGenerator generator{8'000};
      generator.start(Cadence::parse(text).value());
      const Samples pcm = generate(generator, 8'000, 3.0, frame);
      if (whole.empty()) whole = pcm;
      int different = 0;
      for (std::size_t i = 0; i < pcm.size(); ++i) different = std::max(different, std::abs(pcm[i] - whole[i]));
      CHECK(different <= 1);
      // A sine's steepest step; a click would be up to twice its peak.
      const double peak = 32'767.0 * std::pow(10.0, (-13.0 - 3.14) / 20.0) * ((std::string_view{text}.find('*') != std::string_view::npos) ? 2.0 : 1.0);
      const double steepest = 2.0 * peak * std::sin(3.14159265 * (std::string_view{text}.starts_with("950") ? 1'800.0 : 450.0) / 8'000.0);
      CHECK(tests::largest_step(pcm) <= steepest * 1.05 + 2.0);
    }
  }
}

TEST_CASE("tones: a tone that is modulated has its two side bands") {
  ToneGenerator generator{8'000};
  generator.start(audio::call_progress_tone("in", CallProgress::dial).value());
  const Samples pcm = generate(generator, 8'000, 2.0, 160);
  const std::span part{pcm.data() + 800, 12'000};
  const double carrier = tests::peak_at(part, 400, 8'000);
  CHECK(tests::peak_at(part, 375, 8'000) == doctest::Approx(carrier / 2).epsilon(0.02));
  CHECK(tests::peak_at(part, 425, 8'000) == doctest::Approx(carrier / 2).epsilon(0.02));
}

TEST_CASE("tones: a milliwatt is 0 dBm0 for hours, and fades out when stopped") {
  ToneGenerator generator{8'000};
  generator.start_milliwatt();
  Samples pcm = generate(generator, 8'000, 60.0 * 10, 160);
  const std::span last{pcm.data() + pcm.size() - 8'000, 8'000};
  const double full = 32'767.0 * std::pow(10.0, -3.14 / 20.0);
  CHECK(tests::peak_at(last, 1'004, 8'000) == doctest::Approx(full).epsilon(0.001));
  CHECK_FALSE(generator.done());
  generator.stop();
  pcm = generate(generator, 8'000, 0.02, 160);
  CHECK(generator.done());
  CHECK(pcm.back() == 0);
}

TEST_CASE("tones: another tone takes over without a click") {
  ToneGenerator generator{8'000};
  generator.start(Cadence::parse("425").value());
  Samples pcm = generate(generator, 8'000, 0.0875, 100);
  generator.start(Cadence::parse("440").value());
  const Samples after = generate(generator, 8'000, 0.1, 160);
  const int steepest = tests::largest_step(pcm);
  pcm.insert(pcm.end(), after.begin(), after.end());
  CHECK(tests::largest_step(pcm) <= steepest * 11 / 10);
  CHECK(tests::rms({after.data() + 200, 400}) > 2'000);
}
