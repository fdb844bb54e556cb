#include "codec/g711.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "codec/concealment.hpp"
#include "codec/makers.hpp"

namespace sipfarm::codec {

namespace {

constexpr std::size_t k_block = 16;  // a loop of known length is one that the compiler vectorises

// A float of a magnitude is exact, and its exponent and first four bits of mantissa are segment and step: no search, no table.
constexpr std::int32_t k_mantissa_shift = 19;
constexpr std::int32_t k_segment_zero = (127 + 7) << 4;

inline std::uint8_t ulaw_of(std::int32_t sample) noexcept {
  const std::int32_t sign = sample >> 31;
  const std::int32_t magnitude = std::min((sample ^ sign) - sign + 132, 32'767);
  const std::int32_t step = (std::bit_cast<std::int32_t>(static_cast<float>(magnitude)) >> k_mantissa_shift) - k_segment_zero;
  return static_cast<std::uint8_t>((step ^ 0xff) & ~(sign & 0x80));
}

inline std::uint8_t alaw_of(std::int32_t sample) noexcept {
  const std::int32_t sign = sample >> 31;
  const std::int32_t magnitude = sample ^ sign;
  const std::int32_t step = (std::bit_cast<std::int32_t>(static_cast<float>(magnitude)) >> k_mantissa_shift) - k_segment_zero;
  const std::int32_t linear = magnitude >> 4;
  return static_cast<std::uint8_t>((magnitude < 256 ? linear : step) ^ (0xd5 & ~(sign & 0x80)));
}

constexpr std::int16_t linear_of_ulaw(std::uint8_t code) {
  const int bits = code ^ 0xff;
  const int magnitude = ((((bits & 0x0f) << 3) + 132) << ((bits & 0x70) >> 4)) - 132;
  return static_cast<std::int16_t>((bits & 0x80) != 0 ? -magnitude : magnitude);
}

constexpr std::int16_t linear_of_alaw(std::uint8_t code) {
  const int bits = code ^ 0x55;
  const int segment = (bits & 0x70) >> 4;
  const int step = ((bits & 0x0f) << 4) + 8;
  const int magnitude = segment == 0 ? step : (step + 256) << (segment - 1);
  return static_cast<std::int16_t>((bits & 0x80) != 0 ? magnitude : -magnitude);
}

using Expansion = std::array<std::int16_t, 256>;

template <std::int16_t (*linear_of)(std::uint8_t)>
constexpr Expansion expansion() {
  Expansion table{};
  for (std::size_t code = 0; code < table.size(); ++code) table[code] = linear_of(static_cast<std::uint8_t>(code));
  return table;
}

constexpr Expansion k_ulaw = expansion<linear_of_ulaw>();
constexpr Expansion k_alaw = expansion<linear_of_alaw>();

template <std::uint8_t (*code_of)(std::int32_t)>
inline void compress(ConstPcm pcm, Payload out) noexcept {
  const std::int16_t* from = pcm.data();
  std::uint8_t* to = out.data();
  std::size_t left = pcm.size();
  for (; left >= k_block; left -= k_block, from += k_block, to += k_block) {
    for (std::size_t i = 0; i < k_block; ++i) to[i] = code_of(from[i]);
  }
  for (std::size_t i = 0; i < left; ++i) to[i] = code_of(from[i]);
}

inline void expand(const Expansion& table, ConstPayload payload, Pcm out) noexcept {
  for (std::size_t i = 0; i < payload.size(); ++i) out[i] = table[payload[i]];
}

constexpr std::uint32_t k_rate_hz = 8'000;
constexpr std::size_t k_samples_max = samples_of(k_frame_ms_max, k_rate_hz);

class G711Encoder final : public Encoder {
 public:
  explicit G711Encoder(Id law) noexcept : law_{law} {}
  std::size_t quantum() const noexcept override { return 1; }
  std::size_t encode(ConstPcm pcm, Payload out) noexcept override {
    if (pcm.size() > out.size()) return 0;
    law_ == Id::pcmu ? compress_ulaw(pcm, out) : compress_alaw(pcm, out);
    return pcm.size();
  }

 private:
  Id law_;
};

class G711Decoder final : public Decoder {
 public:
  explicit G711Decoder(Id law) : law_{law} {}
  std::size_t duration(ConstPayload payload) const noexcept override { return payload.size() <= k_samples_max ? payload.size() : 0; }
  std::size_t decode(ConstPayload payload, Pcm out) noexcept override {
    const std::size_t samples = duration(payload);
    if (samples == 0 || samples > out.size()) return 0;
    out = out.first(samples);
    law_ == Id::pcmu ? expand_ulaw(payload, out) : expand_alaw(payload, out);
    concealer_.heard(out);
    return samples;
  }
  void conceal(Pcm out) noexcept override { concealer_.fill(out); }

 private:
  Id law_;
  Concealer concealer_{k_rate_hz};
};

}  // namespace

void compress_ulaw(ConstPcm pcm, Payload out) noexcept { compress<ulaw_of>(pcm, out); }
void compress_alaw(ConstPcm pcm, Payload out) noexcept { compress<alaw_of>(pcm, out); }
void expand_ulaw(ConstPayload payload, Pcm out) noexcept { expand(k_ulaw, payload, out); }
void expand_alaw(ConstPayload payload, Pcm out) noexcept { expand(k_alaw, payload, out); }

const Maker k_g711 = {
    [](const Format& format) noexcept { return objection_unless(format, k_rate_hz, k_rate_hz); },
    [](const Format& format) -> std::unique_ptr<Encoder> { return std::make_unique<G711Encoder>(format.id); },
    [](const Format& format) -> std::unique_ptr<Decoder> { return std::make_unique<G711Decoder>(format.id); },
};

}  // namespace sipfarm::codec
