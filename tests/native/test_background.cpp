#include <vector>

#include <doctest/doctest.h>

#include "audio/comfort_noise.hpp"
#include "audio/gain.hpp"
#include "audio/voice_activity.hpp"
#include "tone_probe.hpp"

using namespace sipfarm;
using audio::NoiseDescription;
using tests::Samples;

namespace {

/// Noise with most of its power below 1 kHz.
Samples dull_noise(std::mt19937& dice, std::size_t count) {
  Samples out = tests::noise(dice, count, 1'500);
  double last = 0.0;
  for (auto& sample : out) {
    last = 0.85 * last + 0.15 * static_cast<double>(sample);
    sample = static_cast<std::int16_t>(last);
  }
  return out;
}

/// The power of its differences against its own: small where it is dull.
double brightness(std::span<const std::int16_t> pcm) {
  Samples differences(pcm.size() - 1);
  for (std::size_t i = 1; i < pcm.size(); ++i) differences[i - 1] = static_cast<std::int16_t>((pcm[i] - pcm[i - 1]) / 2);
  return tests::rms(differences) / tests::rms(pcm);
}

Samples say(audio::ComfortNoise& noise, std::size_t count) {
  Samples out(count);
  for (std::size_t at = 0; at < count; at += 160) noise.fill({out.data() + at, std::min<std::size_t>(160, count - at)});
  return out;
}

}  // namespace

TEST_CASE("comfort noise: a payload is read as it was written, and an empty one is silence") {
  NoiseDescription noise;
  noise.dbov = -47.0F;
  noise.order = 3;
  noise.reflection = {-0.8F, 0.3F, 0.05F};
  std::array<std::uint8_t, 16> bytes{};
  REQUIRE(noise.write(bytes) == 4);
  CHECK(bytes[0] == 47);
  const auto read = NoiseDescription::parse({bytes.data(), 4});
  CHECK(read.dbov == -47.0F);
  REQUIRE(read.order == 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK(read.reflection[i] == doctest::Approx(noise.reflection[i]).epsilon(0.02));
  CHECK(NoiseDescription::parse({}).dbov == audio::k_silence_dbov);
  CHECK(NoiseDescription::parse({bytes.data(), 1}).order == 0);
}

TEST_CASE("comfort noise: it has the level that was asked for, white or not, and changes without a step") {
  audio::ComfortNoise noise{7};
  for (const float dbov : {-60.0F, -40.0F, -30.0F}) {
    for (const std::size_t order : {0U, 1U, 4U}) {
      NoiseDescription wanted;
      wanted.dbov = dbov;
      wanted.order = order;
      wanted.reflection = {-0.85F, 0.4F, -0.2F, 0.3F};
      noise.receive(wanted);
      say(noise, 1'600);
      const Samples pcm = say(noise, 32'000);
      CHECK(audio::level_dbov(pcm) == doctest::Approx(dbov).epsilon(0.02));
    }
  }
  noise.receive({});
  say(noise, 160);
  CHECK(tests::rms(say(noise, 800)) == 0.0);
}

TEST_CASE("comfort noise: whatever the payload, what is heard stays bounded") {
  std::mt19937 dice{2};
  audio::ComfortNoise noise{9};
  for (int round = 0; round < 500; ++round) {
    std::array<std::uint8_t, 32> bytes{};
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(round % 3 == 0 ? (dice() % 2) * 255 : dice());
    const auto described = NoiseDescription::parse({bytes.data(), dice() % 33});
    noise.receive(described);
    const Samples pcm = say(noise, 1'600);
    if (described.dbov < -30.0F) CHECK(tests::rms({pcm.data() + 800, 800}) < 12'000.0);
  }
}

TEST_CASE("comfort noise: what is described of a background sounds like it") {
  std::mt19937 dice{4};
  for (const bool dull : {false, true}) {
    CAPTURE(dull);
    const Samples background = dull ? dull_noise(dice, 16'000) : tests::noise(dice, 16'000, 100);
    audio::NoiseEstimate estimate{8};
    for (std::size_t at = 0; at < background.size(); at += 160) estimate.process({background.data() + at, 160});
    std::array<std::uint8_t, 16> bytes{};
    const std::size_t size = estimate.describe().write(bytes);
    CHECK(size == 9);
    audio::ComfortNoise noise{7};
    noise.receive(NoiseDescription::parse({bytes.data(), size}));
    say(noise, 800);
    const Samples pcm = say(noise, 16'000);
    CHECK(std::abs(audio::level_dbov(pcm) - audio::level_dbov(background)) < 1.5F);
    CHECK(brightness(pcm) == doctest::Approx(brightness(background)).epsilon(0.15));
  }
  audio::NoiseEstimate level_only;
  level_only.process(Samples(160, 1'000));
  CHECK(level_only.describe().order == 0);
  CHECK(level_only.describe().dbov == doctest::Approx(-30.3).epsilon(0.01));
}

TEST_CASE("voice activity: speech over a background is found, and the background is not") {
  std::mt19937 dice{6};
  for (const double background : {3.0, 30.0, 200.0}) {
    CAPTURE(background);
    audio::VoiceActivity voice{8'000};
    const auto share = [&](bool speaking, int frames) {
      int active = 0;
      for (int i = 0; i < frames; ++i) {
        Samples pcm = tests::noise(dice, 160, background);
        if (speaking) {
          const Samples tone = tests::sine(300, 8'000, 160, 8'000);
          for (std::size_t k = 0; k < 160; ++k) pcm[k] = static_cast<std::int16_t>(pcm[k] + tone[k]);
        }
        active += voice.process(pcm) ? 1 : 0;
      }
      return static_cast<double>(active) / frames;
    };
    share(false, 400);  // the floor finds the background
    CHECK(share(false, 200) <= 0.02);
    CHECK(share(true, 50) == 1.0);
    CHECK(share(false, 10) >= 0.9);  // hangover
    share(false, 20);
    CHECK(share(false, 200) <= 0.02);
  }
}

TEST_CASE("gain: it is what was set, saturates, and changes evenly over a frame") {
  audio::Gain gain;
  Samples pcm(160, 1'000);
  gain.apply(pcm);
  CHECK(pcm[0] == 1'000);
  gain.set(6.0206F);
  gain.apply(pcm);
  CHECK(pcm.front() < 1'010);
  CHECK(pcm.back() == 2'000);
  CHECK(tests::largest_step(pcm) <= 8);
  Samples loud(160, 30'000);
  gain.apply(loud);
  CHECK(loud.back() == 32'767);
}

TEST_CASE("automatic gain: off it changes nothing, on it brings speech of any level to one") {
  const auto run = [](double peak, bool on) {
    audio::AutomaticGain gain{8'000};
    gain.enable(on);
    float level = 0.0F;
    for (int i = 0; i < 1'000; ++i) {
      // Syllables of 300 ms with pauses of 200: what a floor needs to be found.
      Samples pcm = tests::sine(400, 8'000, 160, i % 25 < 15 ? peak : 5.0);
      gain.apply(pcm);
      if (i % 25 == 10) level = audio::level_dbov(pcm);
    }
    return level;
  };
  CHECK(run(1'000, false) == doctest::Approx(-33.3).epsilon(0.01));
  for (const double peak : {1'000.0, 5'000.0, 12'000.0}) CHECK(run(peak, true) == doctest::Approx(audio::AutomaticGain::k_target_dbov).epsilon(0.03));
  CHECK(run(100, true) == doctest::Approx(-53.3 + 18.0).epsilon(0.03));  // not more than it may
}
