// What the conference mixer costs: nanoseconds of CPU per party and frame of 20 ms.
//
//   mixer_cost [PARTIES [SAMPLE_RATE_HZ [SECONDS]]]
// Frames are noise of speech level and lie in memory already; writing them is not counted. Three rooms: everybody talks and each
// hears its own mix; the loudest three of all who talk are heard; and everybody talks so loud that each mix is bent. One line of
// JSON each.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>

#include "audio/mixer.hpp"

using sipfarm::audio::Mixer;
using sipfarm::audio::PartyId;

namespace {

double cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

void run(const char* room, std::size_t parties, std::uint32_t rate_hz, double seconds, std::size_t loudest, int amplitude) {
  Mixer mixer{{.sample_rate_hz = rate_hz, .parties_max = parties, .delay_ticks_max = 0}};
  mixer.set_loudest(loudest);
  std::mt19937 dice{1};
  std::uniform_int_distribution<int> noise{-amplitude, amplitude};
  for (std::size_t i = 0; i < parties; ++i) {
    const auto party = mixer.join();
    for (auto& sample : mixer.input(*party)) sample = static_cast<std::int16_t>(noise(dice));
  }
  const auto tick = [&] {
    for (std::size_t i = 0; i < parties; ++i) mixer.arrived(static_cast<PartyId>(i));
    mixer.mix();
  };
  tick();
  tick();
  std::size_t ticks = 0;
  const double begun = cpu_ns();
  for (; cpu_ns() - begun < seconds * 1e9; ++ticks) tick();
  const double frame_ns = (cpu_ns() - begun) / static_cast<double>(ticks * parties);
  const double share = frame_ns * Mixer::k_ticks_per_s / 1e9;  // of a core, for one party
  std::printf("{\"room\": \"%s\", \"parties\": %zu, \"rate_hz\": %u, \"frame_ns\": %.1f, \"parties_per_core\": %.0f}\n", room, parties,
              rate_hz, frame_ns, 1.0 / share);
}

}  // namespace

int main(int count, char** arguments) {
  const auto argument = [&](int index, double otherwise) { return index < count ? std::atof(arguments[index]) : otherwise; };
  const auto parties = static_cast<std::size_t>(argument(1, 1'800));
  const auto rate_hz = static_cast<std::uint32_t>(argument(2, 8'000));
  const double seconds = argument(3, 2);
  run("all talk", parties, rate_hz, seconds, 0, 200);
  run("loudest three", parties, rate_hz, seconds, 3, 200);
  run("all shout", parties, rate_hz, seconds, 0, 30'000);
}
