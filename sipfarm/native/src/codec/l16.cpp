#include <bit>
#include <cstring>

#include "codec/concealment.hpp"
#include "codec/makers.hpp"

namespace sipfarm::codec {

namespace {

/// To network order and back (RFC 3551 §4.5.11).
constexpr std::uint16_t swapped(std::uint16_t value) noexcept {
  if constexpr (std::endian::native == std::endian::big) return value;
  return static_cast<std::uint16_t>(value << 8 | value >> 8);
}

std::int16_t sample_at(const std::uint8_t* bytes) noexcept {
  std::uint16_t value;
  std::memcpy(&value, bytes, sizeof value);
  return static_cast<std::int16_t>(swapped(value));
}

void put_sample(std::uint8_t* bytes, std::int16_t sample) noexcept {
  const std::uint16_t value = swapped(static_cast<std::uint16_t>(sample));
  std::memcpy(bytes, &value, sizeof value);
}

class L16Encoder final : public Encoder {
 public:
  explicit L16Encoder(const Format& format) noexcept : channels_{format.channels} {}
  std::size_t quantum() const noexcept override { return 1; }
  std::size_t encode(ConstPcm pcm, Payload out) noexcept override {
    const std::size_t size = pcm.size() * 2 * channels_;
    if (size > out.size()) return 0;
    std::uint8_t* to = out.data();
    if (channels_ == 1) {
      for (std::size_t i = 0; i < pcm.size(); ++i) put_sample(to + 2 * i, pcm[i]);
      return size;
    }
    for (std::size_t i = 0; i < pcm.size(); ++i) {
      put_sample(to + 4 * i, pcm[i]);
      put_sample(to + 4 * i + 2, pcm[i]);
    }
    return size;
  }

 private:
  std::size_t channels_;
};

class L16Decoder final : public Decoder {
 public:
  explicit L16Decoder(const Format& format)
      : channels_{format.channels}, samples_max_{samples_of(k_frame_ms_max, format.sample_rate_hz)}, concealer_{format.sample_rate_hz} {}
  std::size_t duration(ConstPayload payload) const noexcept override {
    const std::size_t samples = payload.size() / (2 * channels_);
    return payload.size() % (2 * channels_) == 0 && samples <= samples_max_ ? samples : 0;
  }
  std::size_t decode(ConstPayload payload, Pcm out) noexcept override {
    const std::size_t samples = duration(payload);
    if (samples == 0 || samples > out.size()) return 0;
    const std::uint8_t* from = payload.data();
    if (channels_ == 1) {
      for (std::size_t i = 0; i < samples; ++i) out[i] = sample_at(from + 2 * i);
    } else {
      for (std::size_t i = 0; i < samples; ++i) {
        out[i] = static_cast<std::int16_t>((sample_at(from + 4 * i) + sample_at(from + 4 * i + 2)) >> 1);
      }
    }
    concealer_.heard(out.first(samples));
    return samples;
  }
  void conceal(Pcm out) noexcept override { concealer_.fill(out); }

 private:
  std::size_t channels_;
  std::size_t samples_max_;
  Concealer concealer_;
};

const char* objection_to(const Format& format) noexcept {
  if (format.clock_rate_hz != format.sample_rate_hz) return "L16 is heard at its clock rate";
  if (format.sample_rate_hz < 8'000 || format.sample_rate_hz > 48'000) return "L16 is done from 8 kHz to 48 kHz";
  if (format.channels != 1 && format.channels != 2) return "L16 is done with one or two channels";
  return ptime_ms_max(format) < 10 ? "10 ms do not fit into a packet" : nullptr;
}

}  // namespace

const Maker k_l16 = {
    objection_to,
    [](const Format& format) -> std::unique_ptr<Encoder> { return std::make_unique<L16Encoder>(format); },
    [](const Format& format) -> std::unique_ptr<Decoder> { return std::make_unique<L16Decoder>(format); },
};

}  // namespace sipfarm::codec
