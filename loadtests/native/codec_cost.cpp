// CPU time of a frame of 20 ms, encoded and decoded, of each codec: one line of JSON each.
//   codec_cost [frames]
#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <numbers>
#include <random>
#include <string>
#include <vector>

#include "codec/codec.hpp"

#include <spandsp/telephony.h>  // before the others of spandsp, which take it for granted

#include <spandsp/bit_operations.h>
#include <spandsp/g711.h>
#include <spandsp/g722.h>

namespace {

std::atomic<std::size_t> allocations = 0;

}  // namespace

// Counted on the way to glibc: a codec that allocates for a frame must not run on a worker.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* block, std::size_t size);

void* malloc(std::size_t size) {
  ++allocations;
  return __libc_malloc(size);
}

void* calloc(std::size_t count, std::size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}

void* realloc(void* block, std::size_t size) {
  ++allocations;
  return __libc_realloc(block, size);
}
}

namespace {

using namespace sipfarm::codec;

constexpr std::size_t k_rounds = 7;

double cpu_us() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

/// Voiced sounds with a gliding pitch, syllables, and a little noise.
std::vector<std::int16_t> speech(std::uint32_t rate_hz, std::size_t samples) {
  std::mt19937 random{1};
  std::vector<std::int16_t> pcm(samples);
  double phase = 0;
  for (std::size_t i = 0; i < samples; ++i) {
    const double t = static_cast<double>(i) / rate_hz;
    phase += 2 * std::numbers::pi * (130 + 30 * std::sin(4.4 * t)) / rate_hz;
    double voice = 0;
    for (int harmonic = 1; harmonic < 24 && harmonic * 160 < static_cast<int>(rate_hz) * 2 / 5; ++harmonic) {
      voice += std::sin(harmonic * phase) / (1 + std::abs(harmonic - 4));
    }
    const double syllable = std::clamp(std::sin(19.5 * t) + 0.7, 0.0, 1.0);
    pcm[i] = static_cast<std::int16_t>(5'000 * voice * syllable + static_cast<double>(random() % 41) - 20);
  }
  return pcm;
}

/// The least of some rounds over the same frames, by frame: what the machine does beside only adds.
template <class Work>
double cost_us(std::size_t frames, Work work) {
  double least = 1e12;
  for (std::size_t round = 0; round < k_rounds; ++round) {
    const double begun = cpu_us();
    for (std::size_t frame = 0; frame < frames; ++frame) work(frame);
    least = std::min(least, cpu_us() - begun);
  }
  return least / static_cast<double>(frames);
}

struct Measured {
  std::string name;
  std::uint32_t rate_hz = 0;
  double encode_us = 0;
  double decode_us = 0;
  double bytes = 0;
  std::size_t allocations = 0;
};

void print(const Measured& measured) {
  std::printf("{\"name\": \"%s\", \"rate_hz\": %u, \"encode_us\": %.3f, \"decode_us\": %.3f, \"bytes\": %.1f, \"allocations\": %zu}\n",
              measured.name.c_str(), measured.rate_hz, measured.encode_us, measured.decode_us, measured.bytes, measured.allocations);
}

void measure(const std::string& name, const Format& format, std::size_t frames) {
  if (objection(format) != nullptr) return;
  const auto encoder = make_encoder(format);
  const auto decoder = make_decoder(format);
  const std::size_t size = format.sample_rate_hz / 50;
  const auto pcm = speech(format.sample_rate_hz, size * frames);
  std::vector<std::array<std::uint8_t, k_payload_bytes_max>> payloads(frames);
  std::vector<std::size_t> sizes(frames);
  std::vector<std::int16_t> out(size);
  Measured measured{name, format.sample_rate_hz, 0, 0, 0, 0};
  const std::size_t before = allocations;
  measured.encode_us = cost_us(frames, [&](std::size_t frame) { sizes[frame] = encoder->encode(ConstPcm{pcm}.subspan(frame * size, size), payloads[frame]); });
  measured.decode_us = cost_us(frames, [&](std::size_t frame) { decoder->decode(ConstPayload{payloads[frame]}.first(sizes[frame]), out); });
  for (std::size_t frame = 0; frame < 10; ++frame) {
    decoder->conceal(out);
    decoder->recover(ConstPayload{payloads[frame % frames]}.first(sizes[frame % frames]), out);
  }
  measured.allocations = allocations - before;
  for (const std::size_t bytes : sizes) measured.bytes += static_cast<double>(bytes) / static_cast<double>(frames);
  print(measured);
}

void measure_spandsp(std::size_t frames) {
  const auto pcm = speech(16'000, 320 * frames);
  std::vector<std::array<std::uint8_t, 160>> payloads(frames);
  std::array<std::int16_t, 320> out;
  g722_encode_state_t* encoder = g722_encode_init(nullptr, 64'000, 0);
  g722_decode_state_t* decoder = g722_decode_init(nullptr, 64'000, 0);
  Measured g722{"G722 of spandsp", 16'000, 0, 0, 160, 0};
  g722.encode_us = cost_us(frames, [&](std::size_t frame) { g722_encode(encoder, payloads[frame].data(), pcm.data() + frame * 320, 320); });
  g722.decode_us = cost_us(frames, [&](std::size_t frame) { g722_decode(decoder, out.data(), payloads[frame].data(), 160); });
  g722_encode_free(encoder);
  g722_decode_free(decoder);
  print(g722);
  Measured pcmu{"PCMU of spandsp", 8'000, 0, 0, 160, 0};
  pcmu.encode_us = cost_us(frames, [&](std::size_t frame) {
    for (std::size_t i = 0; i < 160; ++i) payloads[frame][i] = linear_to_ulaw(pcm[frame * 160 + i]);
  });
  pcmu.decode_us = cost_us(frames, [&](std::size_t frame) {
    for (std::size_t i = 0; i < 160; ++i) out[i] = ulaw_to_linear(payloads[frame][i]);
  });
  print(pcmu);
}

Format format_of(Id id, std::uint32_t clock_rate_hz, std::uint32_t sample_rate_hz) {
  Format format;
  format.id = id;
  format.clock_rate_hz = clock_rate_hz;
  format.sample_rate_hz = sample_rate_hz;
  if (id == Id::opus) format.channels = 2;
  return format;
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t frames = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1'000;
  if (frames == 0 || frames > 100'000) return 2;
  measure("PCMU", format_of(Id::pcmu, 8'000, 8'000), frames);
  measure("PCMA", format_of(Id::pcma, 8'000, 8'000), frames);
  measure("L16", format_of(Id::l16, 16'000, 16'000), frames);
  measure("G722", format_of(Id::g722, 8'000, 16'000), frames);
  measure("G726-32", format_of(Id::g726_32, 8'000, 8'000), frames);
  measure("GSM", format_of(Id::gsm, 8'000, 8'000), frames);
  measure("AMR", format_of(Id::amr, 8'000, 8'000), frames);
  measure("AMR-WB", format_of(Id::amr_wb, 16'000, 16'000), frames);
  measure("G729", format_of(Id::g729, 8'000, 8'000), frames);
  for (const std::uint32_t rate_hz : {8'000U, 16'000U, 32'000U}) measure("speex", format_of(Id::speex, rate_hz, rate_hz), frames);
  for (const std::uint32_t rate_hz : {8'000U, 16'000U, 48'000U}) {
    Format format = format_of(Id::opus, 48'000, rate_hz);
    measure("opus", format, frames);
    format.complexity = 1 + 5;
    measure("opus at complexity 5", format, frames);
    format.complexity = 0;
    format.fec = true;
    measure("opus with FEC", format, frames);
  }
  measure_spandsp(frames);
  return 0;
}
