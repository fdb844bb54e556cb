#include "codec/concealment.hpp"
#include "codec/g722_core.hpp"
#include "codec/makers.hpp"

namespace sipfarm::codec {

namespace {

constexpr std::uint32_t k_clock_rate_hz = 8'000;  // an error of RFC 1890 that stayed (RFC 3551 §4.5.2)
constexpr std::uint32_t k_rate_hz = 16'000;
constexpr std::size_t k_samples_per_byte = 2;
constexpr std::size_t k_samples_max = samples_of(k_frame_ms_max, k_rate_hz);

class G722Encoder final : public Encoder {
 public:
  std::size_t quantum() const noexcept override { return k_samples_per_byte; }
  std::size_t encode(ConstPcm pcm, Payload out) noexcept override {
    const std::size_t bytes = pcm.size() / k_samples_per_byte;
    if (pcm.size() % k_samples_per_byte != 0 || bytes > out.size()) return 0;
    core_.encode(pcm.data(), bytes, out.data());
    return bytes;
  }

 private:
  g722::EncoderCore<g722::Kernel> core_;
};

class G722Decoder final : public Decoder {
 public:
  std::size_t duration(ConstPayload payload) const noexcept override {
    const std::size_t samples = payload.size() * k_samples_per_byte;
    return samples <= k_samples_max ? samples : 0;
  }
  std::size_t decode(ConstPayload payload, Pcm out) noexcept override {
    const std::size_t samples = duration(payload);
    if (samples == 0 || samples > out.size()) return 0;
    core_.decode(payload.data(), payload.size(), out.data());
    concealer_.heard(out.first(samples));
    return samples;
  }
  /// The predictors are held as they are: the far end's went on, but a guess takes them farther away than the last that is known.
  void conceal(Pcm out) noexcept override { concealer_.fill(out); }

 private:
  g722::DecoderCore<g722::Kernel> core_;
  Concealer concealer_{k_rate_hz};
};

}  // namespace

const Maker k_g722 = {
    [](const Format& format) noexcept { return objection_unless(format, k_clock_rate_hz, k_rate_hz); },
    [](const Format&) -> std::unique_ptr<Encoder> { return std::make_unique<G722Encoder>(); },
    [](const Format&) -> std::unique_ptr<Decoder> { return std::make_unique<G722Decoder>(); },
};

}  // namespace sipfarm::codec
