#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <random>
#include <vector>

#include "codec/codec.hpp"
#include "codec/g711.hpp"
#include "codec/g722_core.hpp"

#include <spandsp/telephony.h>  // before the others of spandsp, which take it for granted

#include <spandsp/bit_operations.h>
#include <spandsp/g711.h>
#include <spandsp/g722.h>

namespace {

using namespace sipfarm::codec;

using Samples = std::vector<std::int16_t>;

Samples every_sample() {
  Samples all;
  for (int value = -32'768; value <= 32'767; ++value) all.push_back(static_cast<std::int16_t>(value));
  return all;
}

std::int16_t cut(double value) { return static_cast<std::int16_t>(std::clamp(value, -32'768.0, 32'767.0)); }

/// A minute of each: noise, a chord with noise, square waves at full level, and next to nothing.
std::vector<Samples> signals_16k() {
  std::mt19937 random{7};
  const auto noise = [&](int most) { return static_cast<int>(random() % static_cast<unsigned>(2 * most + 1)) - most; };
  std::vector<Samples> signals(4, Samples(std::size_t{16'000} * 60));
  for (std::size_t i = 0; i < signals[0].size(); ++i) {
    const auto t = static_cast<double>(i);
    signals[0][i] = cut(noise(32'768));
    signals[1][i] = cut((8'000 * std::sin(t * 0.2) + 3'000 * std::sin(t * 1.1)) * (1.2 + std::sin(t * 0.0007)) + noise(200));
    signals[2][i] = i / (20 + i / 1'000 % 200) % 2 == 0 ? std::int16_t{32'767} : std::int16_t{-32'768};
    signals[3][i] = cut(noise(4));
  }
  return signals;
}

template <class Kernel>
std::vector<std::uint8_t> encoded(const Samples& pcm, std::size_t pairs_at_once) {
  g722::EncoderCore<Kernel> core;
  std::vector<std::uint8_t> out(pcm.size() / 2);
  for (std::size_t at = 0; at < out.size(); at += pairs_at_once) {
    core.encode(pcm.data() + 2 * at, std::min(pairs_at_once, out.size() - at), out.data() + at);
  }
  return out;
}

template <class Kernel>
Samples decoded(const std::vector<std::uint8_t>& payload, std::size_t bytes_at_once) {
  g722::DecoderCore<Kernel> core;
  Samples out(payload.size() * 2);
  for (std::size_t at = 0; at < payload.size(); at += bytes_at_once) {
    core.decode(payload.data() + at, std::min(bytes_at_once, payload.size() - at), out.data() + 2 * at);
  }
  return out;
}

TEST_CASE("G.711 is what spandsp has, for every sample and every code") {
  const Samples all = every_sample();
  std::vector<std::uint8_t> ulaw(all.size());
  std::vector<std::uint8_t> alaw(all.size());
  compress_ulaw(all, ulaw);
  compress_alaw(all, alaw);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    wrong += ulaw[i] != linear_to_ulaw(all[i]);
    wrong += alaw[i] != linear_to_alaw(all[i]);
  }
  CHECK(wrong == 0);
  std::array<std::uint8_t, 256> codes;
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>(i);
  std::array<std::int16_t, 256> from_ulaw;
  std::array<std::int16_t, 256> from_alaw;
  expand_ulaw(codes, from_ulaw);
  expand_alaw(codes, from_alaw);
  for (std::size_t i = 0; i < codes.size(); ++i) {
    CHECK(from_ulaw[i] == ulaw_to_linear(codes[i]));
    CHECK(from_alaw[i] == alaw_to_linear(codes[i]));
  }
}

TEST_CASE("G.711 of any length ends where it should") {
  Samples pcm(50, 1'000);
  for (std::size_t size = 0; size < pcm.size(); ++size) {
    std::vector<std::uint8_t> out(pcm.size(), 1);
    compress_ulaw(ConstPcm{pcm}.first(size), Payload{out}.first(size));
    CHECK(std::count(out.begin(), out.end(), std::uint8_t{1}) == static_cast<std::ptrdiff_t>(pcm.size() - size));
  }
}

TEST_CASE("G.722 encodes bit for bit as spandsp does, and so with vectors as without") {
  for (const Samples& pcm : signals_16k()) {
    std::vector<std::uint8_t> theirs(pcm.size() / 2);
    g722_encode_state_t* state = g722_encode_init(nullptr, 64'000, 0);
    g722_encode(state, theirs.data(), pcm.data(), static_cast<int>(pcm.size()));
    g722_encode_free(state);
    CHECK(encoded<g722::Kernel>(pcm, 160) == theirs);
    CHECK(encoded<g722::Kernel>(pcm, 477) == theirs);
    CHECK(encoded<g722::PlainKernel>(pcm, 80) == theirs);
  }
}

TEST_CASE("G.722 decodes bit for bit as spandsp does, but for what spandsp wraps where G.722 limits") {
  std::vector<std::vector<std::uint8_t>> payloads;
  for (const Samples& pcm : signals_16k()) payloads.push_back(encoded<g722::Kernel>(pcm, 160));
  std::mt19937 random{8};
  payloads.emplace_back(480'000);
  std::generate(payloads.back().begin(), payloads.back().end(), [&] { return static_cast<std::uint8_t>(random()); });
  for (const auto& payload : payloads) {
    Samples theirs(payload.size() * 2);
    g722_decode_state_t* state = g722_decode_init(nullptr, 64'000, 0);
    g722_decode(state, theirs.data(), payload.data(), static_cast<int>(payload.size()));
    g722_decode_free(state);
    const Samples ours = decoded<g722::Kernel>(payload, 160);
    CHECK(decoded<g722::Kernel>(payload, 3) == ours);
    CHECK(decoded<g722::PlainKernel>(payload, 80) == ours);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < ours.size(); ++i) wrong += ours[i] != theirs[i] && ours[i] != 32'767 && ours[i] != -32'768;
    CHECK(wrong == 0);
  }
}

constexpr std::array k_all_ids = {Id::pcmu, Id::pcma, Id::g722, Id::opus, Id::l16, Id::g726_32, Id::gsm, Id::amr, Id::amr_wb, Id::g729, Id::speex};

Format format_of(Id id) {
  Format format;
  format.id = id;
  if (id == Id::g722 || id == Id::amr_wb) format.sample_rate_hz = 16'000;
  if (id == Id::amr_wb) format.clock_rate_hz = 16'000;
  if (id == Id::opus) {
    format.clock_rate_hz = 48'000;
    format.channels = 2;
  }
  return format;
}

TEST_CASE("what is built in is made, and what cannot be done says why") {
  for (const Id id : k_all_ids) {
    CAPTURE(name_of(id));
    Format format = format_of(id);
    CHECK((objection(format) == nullptr) == is_built_in(id));
    CHECK((make_encoder(format) != nullptr) == is_built_in(id));
    CHECK((make_decoder(format) != nullptr) == is_built_in(id));
    format.sample_rate_hz = 11'025;
    format.clock_rate_hz = 22'050;
    CHECK(objection(format) != nullptr);
    CHECK(make_encoder(format) == nullptr);
    CHECK(make_decoder(format) == nullptr);
  }
}

TEST_CASE("a call of the wrong size is refused and writes nothing") {
  for (const Id id : k_all_ids) {
    const Format format = format_of(id);
    if (!is_built_in(id)) continue;
    CAPTURE(name_of(id));
    const auto encoder = make_encoder(format);
    const auto decoder = make_decoder(format);
    const std::size_t frame = format.sample_rate_hz / 50;
    Samples pcm(frame + 1);
    std::vector<std::uint8_t> payload(k_payload_bytes_max);
    if (encoder->quantum() > 1) CHECK(encoder->encode(pcm, payload) == 0);
    pcm.pop_back();
    CHECK(encoder->encode(pcm, Payload{}) == 0);
    payload.resize(encoder->encode(pcm, payload));
    CHECK(decoder->duration(payload) == frame);
    Samples too_short(frame - 1, 77);
    CHECK(decoder->decode(payload, too_short) == 0);
    CHECK(std::all_of(too_short.begin(), too_short.end(), [](std::int16_t sample) { return sample == 77; }));
    CHECK(decoder->decode({}, pcm) == 0);
  }
}

TEST_CASE("a gap is filled to its last sample whatever its length, and is silent when it lasts") {
  for (const Id id : k_all_ids) {
    const Format format = format_of(id);
    if (!is_built_in(id)) continue;
    CAPTURE(name_of(id));
    const auto encoder = make_encoder(format);
    const auto decoder = make_decoder(format);
    const std::size_t frame = format.sample_rate_hz / 50;
    Samples pcm(frame);
    std::vector<std::uint8_t> payload(k_payload_bytes_max);
    for (std::size_t n = 0; n < 20; ++n) {
      for (std::size_t i = 0; i < frame; ++i) {
        const auto t = static_cast<double>(n * frame + i) / format.sample_rate_hz;
        pcm[i] = cut(8'000 * std::sin(2 * std::numbers::pi * 150 * t) + 4'000 * std::sin(2 * std::numbers::pi * 450 * t));
      }
      const std::size_t size = encoder->encode(pcm, payload);
      REQUIRE(decoder->decode(ConstPayload{payload}.first(size), pcm) == frame);
    }
    const auto level = [](const Samples& of) {
      double sum = 0;
      for (const std::int16_t sample : of) sum += static_cast<double>(sample) * sample;
      return std::sqrt(sum / static_cast<double>(of.size()));
    };
    const double heard = level(pcm);
    for (std::size_t size : {std::size_t{1}, std::size_t{7}, frame / 3, frame}) {
      Samples gap(size, 12'345);
      decoder->conceal(gap);
      CHECK(gap.back() != 12'345);
    }
    Samples gap(format.sample_rate_hz);
    decoder->conceal(gap);
    CHECK(level(Samples(gap.end() - static_cast<std::ptrdiff_t>(frame), gap.end())) < heard / 30);
  }
}

}  // namespace
