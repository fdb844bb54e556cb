// Decoders with whatever comes as payloads, between gaps that are concealed or recovered; encoders with whatever comes as PCM.
// Seeds: tests/vectors/codecs
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "codec/codec.hpp"

namespace {

using namespace sipfarm::codec;

constexpr std::int16_t k_untouched = 0x5a5a;

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_{data}, left_{size} {}
  bool empty() const { return left_ == 0; }
  std::uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  /// Of exactly the size, so that a read past the end is seen.
  std::vector<std::uint8_t> bytes(std::size_t count) {
    count = std::min(count, left_);
    std::vector<std::uint8_t> taken(data_, data_ + count);
    data_ += count;
    left_ -= count;
    return taken;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

Format format_from(Input& input) {
  constexpr std::array<std::uint32_t, 8> rates = {8'000, 12'000, 16'000, 24'000, 32'000, 44'100, 48'000, 8'000};
  Format format;
  format.id = static_cast<Id>(input.byte() % 11);
  const std::uint8_t rate = input.byte();
  format.sample_rate_hz = rates[rate % 8];
  format.clock_rate_hz = format.sample_rate_hz;
  const std::uint8_t flags = input.byte();
  format.octet_aligned = (flags & 1) != 0;
  format.fec = (flags & 2) != 0;
  format.dtx = (flags & 4) != 0;
  format.vbr = (flags & 8) != 0;
  format.cbr = (flags & 16) != 0;
  format.complexity = static_cast<std::uint8_t>((flags >> 5) + 1);
  format.mode_set = input.byte();
  switch (format.id) {
    case Id::opus: format.clock_rate_hz = 48'000; format.channels = 2; break;
    case Id::l16: format.channels = (flags & 1) != 0 ? 2 : 1; break;
    case Id::g722: format.clock_rate_hz = 8'000; format.sample_rate_hz = 16'000; break;
    case Id::speex: format.clock_rate_hz = rates[rate / 8 % 8]; break;
    case Id::amr_wb: format.clock_rate_hz = format.sample_rate_hz = 16'000; break;
    default: format.clock_rate_hz = format.sample_rate_hz = 8'000; break;
  }
  return format;
}

void check(bool holds) {
  if (!holds) std::abort();
}

void decode(Decoder& decoder, const std::vector<std::uint8_t>& payload, std::size_t samples_max) {
  const std::size_t announced = decoder.duration(payload);
  check(announced <= samples_max);
  std::vector<std::int16_t> out(samples_max, k_untouched);
  const std::size_t samples = decoder.decode(payload, out);
  check(samples == 0 || samples == announced);
  check(std::all_of(out.begin() + static_cast<std::ptrdiff_t>(samples), out.end(), [](std::int16_t sample) { return sample == k_untouched; }));
  if (announced == 0) return;
  std::vector<std::int16_t> too_short(announced - 1);
  check(decoder.decode(payload, too_short) == 0);
}

void encode(Encoder& encoder, Decoder& decoder, Input& input, std::uint8_t kind, const Format& format) {
  const std::size_t quantum = encoder.quantum();
  const std::size_t most = std::min(k_frame_ms_max, ptime_ms_max(format)) * format.sample_rate_hz / 1'000 / quantum;
  std::vector<std::int16_t> pcm((1 + (kind >> 3) % most) * quantum);
  const auto seed = input.bytes(64);
  for (std::size_t i = 0; i < pcm.size() && !seed.empty(); ++i) {
    pcm[i] = static_cast<std::int16_t>(seed[i % seed.size()] << 8 | seed[i / 3 % seed.size()]);
  }
  std::vector<std::uint8_t> payload(k_payload_bytes_max);
  const std::size_t size = encoder.encode(pcm, payload);
  check(size <= payload.size() && encoder.skipped() <= pcm.size());
  if (size == 0) return;
  payload.resize(size);
  check(decoder.duration(payload) + encoder.skipped() <= pcm.size());
  decode(decoder, payload, k_frame_ms_max * format.sample_rate_hz / 1'000);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input{data, size};
  const Format format = format_from(input);
  if (objection(format) != nullptr) return 0;
  const auto decoder = make_decoder(format);
  const auto encoder = make_encoder(format);
  check(decoder != nullptr && encoder != nullptr);
  const std::size_t samples_max = k_frame_ms_max * format.sample_rate_hz / 1'000;
  for (int steps = 0; !input.empty() && steps < 64; ++steps) {
    const std::uint8_t kind = input.byte();
    const std::size_t length = input.byte();
    switch (kind & 7) {
      case 0: {
        std::vector<std::int16_t> gap(length * samples_max / 255);
        decoder->conceal(gap);
        break;
      }
      case 1: {
        std::vector<std::int16_t> gap(length * samples_max / 255);
        decoder->recover(input.bytes(kind), gap);
        break;
      }
      case 2: encode(*encoder, *decoder, input, kind, format); break;
      case 3:
        encoder->request_mode(static_cast<std::uint8_t>(length));
        encoder->expect_loss(static_cast<unsigned>(length));
        break;
      case 4: decode(*decoder, input.bytes(length * 6), samples_max); break;
      default: decode(*decoder, input.bytes(length), samples_max); break;
    }
  }
  return 0;
}
