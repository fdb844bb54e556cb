#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "audio/dtmf_detector.hpp"
#include "audio/dtmf_tones.hpp"
#include "tone_probe.hpp"

using namespace sipfarm;
using audio::DtmfDetector;
using audio::DtmfTones;
using tests::Samples;

namespace {

constexpr std::string_view k_all = "0123456789*#ABCD";

Samples generate(DtmfTones& tones, std::uint32_t rate_hz) {
  Samples out;
  Samples frame(rate_hz / 50);
  while (tones.busy()) {
    tones.fill(frame);
    out.insert(out.end(), frame.begin(), frame.end());
  }
  return out;
}

struct Detected {
  std::string began;
  std::vector<std::uint32_t> durations_ms;
};

Detected detect(const Samples& pcm, std::uint32_t rate_hz) {
  DtmfDetector detector{rate_hz};
  Detected out;
  const std::size_t frame = rate_hz / 50;
  for (std::size_t at = 0; at < pcm.size(); at += frame) {
    for (const auto& digit : detector.process({pcm.data() + at, std::min(frame, pcm.size() - at)})) {
      if (digit.kind == DtmfDetector::Digit::Kind::began) out.began += digit.digit;
      else out.durations_ms.push_back(digit.duration_ms);
    }
  }
  return out;
}

void mix_in(Samples& pcm, const Samples& other) {
  for (std::size_t i = 0; i < pcm.size(); ++i) pcm[i] = static_cast<std::int16_t>(std::clamp(pcm[i] + other[i], -32'768, 32'767));
}

}  // namespace

TEST_CASE("dtmf: every digit that is played is heard once, at every rate, as long as it was") {
  for (const std::uint32_t rate_hz : {8'000U, 16'000U, 48'000U}) {
    CAPTURE(rate_hz);
    DtmfTones tones{rate_hz};
    for (const char digit : k_all) CHECK(tones.put(digit));
    const Samples pcm = generate(tones, rate_hz);
    CHECK(pcm.size() == doctest::Approx(16 * 0.18 * rate_hz).epsilon(0.02));
    const Detected heard = detect(pcm, rate_hz);
    CHECK(heard.began == k_all);
    REQUIRE(heard.durations_ms.size() == 16);
    for (const auto duration_ms : heard.durations_ms) {
      CHECK(duration_ms >= 70);
      CHECK(duration_ms <= 120);
    }
  }
}

TEST_CASE("dtmf: the shortest digits and pauses that are allowed are heard, the same one twice too") {
  DtmfTones tones{8'000};
  for (const char digit : std::string_view{"1155#"}) CHECK(tones.put(digit, 10, 10));  // becomes 40
  CHECK(detect(generate(tones, 8'000), 8'000).began == "1155#");
}

TEST_CASE("dtmf: a tone of less than 20 ms is no digit") {
  Samples pcm(1'600);
  const Samples low = tests::sine(770, 8'000, 144, 6'000);
  const Samples high = tests::sine(1'336, 8'000, 144, 6'000);
  for (std::size_t i = 0; i < low.size(); ++i) pcm[400 + i] = static_cast<std::int16_t>(low[i] + high[i]);
  CHECK(detect(pcm, 8'000).began.empty());
}

TEST_CASE("dtmf: digits are heard through noise 15 dB below them, and at -25 dBm0") {
  std::mt19937 dice{3};
  DtmfTones tones{8'000};
  for (const char digit : k_all) CHECK(tones.put(digit));
  Samples pcm = generate(tones, 8'000);
  const double level = tests::rms({pcm.data() + 80, 640});
  Samples noisy = pcm;
  mix_in(noisy, tests::noise(dice, noisy.size(), level / std::pow(10.0, 15.0 / 20.0)));
  CHECK(detect(noisy, 8'000).began == k_all);
  for (auto& sample : pcm) sample = static_cast<std::int16_t>(sample / 6);
  CHECK(detect(pcm, 8'000).began == k_all);
}

TEST_CASE("dtmf: speech is no digit") {
  std::mt19937 dice{17};
  const Detected heard = detect(tests::speech_like(dice, 8'000, 8'000 * 120), 8'000);
  CHECK(heard.began.size() <= 1);  // in two minutes of nothing but vowels
}

TEST_CASE("dtmf: a digit begins and ends without a click, and has the level of its standard") {
  DtmfTones tones{16'000};
  CHECK(tones.put('1', 500, 100));
  const Samples pcm = generate(tones, 16'000);
  const std::span sounding{pcm.data() + 800, 6'400};
  const double full = 32'767.0 * std::pow(10.0, -3.14 / 20.0);  // the peak of 0 dBm0
  CHECK(tests::db(tests::peak_at(sounding, 697, 16'000) / full) == doctest::Approx(-10.0).epsilon(0.01));
  CHECK(tests::db(tests::peak_at(sounding, 1'209, 16'000) / full) == doctest::Approx(-8.0).epsilon(0.01));
  CHECK(tests::largest_step({pcm.data(), 80}) <= tests::largest_step(sounding));
  CHECK(tests::largest_step(pcm) <= tests::largest_step(sounding) + 1);
}

TEST_CASE("dtmf: what is no digit is refused, what is too much as well, and stop empties the queue") {
  DtmfTones tones{8'000};
  CHECK_FALSE(tones.put('x'));
  for (std::size_t i = 0; i < DtmfTones::k_queue_max; ++i) CHECK(tones.put('1'));
  CHECK_FALSE(tones.put('1'));
  Samples frame(160);
  tones.fill(frame);
  tones.stop();
  tones.fill(frame);
  CHECK_FALSE(tones.busy());
}
