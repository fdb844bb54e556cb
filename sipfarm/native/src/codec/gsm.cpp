#ifdef SIPFARM_GSM

#include <gsm/gsm.h>

#include <algorithm>
#include <array>

#include "codec/concealment.hpp"
#include "codec/makers.hpp"

namespace sipfarm::codec {

namespace {

constexpr std::uint32_t k_rate_hz = 8'000;
constexpr std::size_t k_frame_samples = 160;
constexpr std::size_t k_frame_bytes = sizeof(gsm_frame);  // 33 (RFC 3551 §4.5.8)
constexpr std::size_t k_frames_max = k_frame_ms_max / 20;
constexpr std::uint8_t k_signature = 0xd0;

struct FreeState {
  void operator()(gsm state) const noexcept { gsm_destroy(state); }
};
using State = std::unique_ptr<gsm_state, FreeState>;

class GsmEncoder final : public Encoder {
 public:
  explicit GsmEncoder(State state) noexcept : state_{std::move(state)} {}
  std::size_t quantum() const noexcept override { return k_frame_samples; }
  std::size_t encode(ConstPcm pcm, Payload out) noexcept override {
    const std::size_t frames = pcm.size() / k_frame_samples;
    if (pcm.size() % k_frame_samples != 0 || frames > k_frames_max || frames * k_frame_bytes > out.size()) return 0;
    for (std::size_t i = 0; i < frames; ++i) {
      std::array<gsm_signal, k_frame_samples> frame;  // the library's argument is not const
      std::copy_n(pcm.begin() + static_cast<std::ptrdiff_t>(i * k_frame_samples), k_frame_samples, frame.begin());
      gsm_encode(state_.get(), frame.data(), out.data() + i * k_frame_bytes);
    }
    return frames * k_frame_bytes;
  }

 private:
  State state_;
};

class GsmDecoder final : public Decoder {
 public:
  explicit GsmDecoder(State state) : state_{std::move(state)} {}
  std::size_t duration(ConstPayload payload) const noexcept override {
    const std::size_t frames = payload.size() / k_frame_bytes;
    if (payload.size() % k_frame_bytes != 0 || frames > k_frames_max) return 0;
    for (std::size_t i = 0; i < frames; ++i) {
      if ((payload[i * k_frame_bytes] & 0xf0) != k_signature) return 0;
    }
    return frames * k_frame_samples;
  }
  std::size_t decode(ConstPayload payload, Pcm out) noexcept override {
    const std::size_t samples = duration(payload);
    if (samples == 0 || samples > out.size()) return 0;
    for (std::size_t i = 0; i < samples / k_frame_samples; ++i) {
      std::array<gsm_byte, k_frame_bytes> frame;
      std::copy_n(payload.begin() + static_cast<std::ptrdiff_t>(i * k_frame_bytes), k_frame_bytes, frame.begin());
      gsm_decode(state_.get(), frame.data(), out.data() + i * k_frame_samples);
    }
    concealer_.heard(out.first(samples));
    return samples;
  }
  void conceal(Pcm out) noexcept override { concealer_.fill(out); }

 private:
  State state_;
  Concealer concealer_{k_rate_hz};
};

}  // namespace

const Maker k_gsm = {
    [](const Format& format) noexcept { return objection_unless(format, k_rate_hz, k_rate_hz); },
    [](const Format&) -> std::unique_ptr<Encoder> {
      State state{gsm_create()};
      return state ? std::make_unique<GsmEncoder>(std::move(state)) : nullptr;
    },
    [](const Format&) -> std::unique_ptr<Decoder> {
      State state{gsm_create()};
      return state ? std::make_unique<GsmDecoder>(std::move(state)) : nullptr;
    },
};

}  // namespace sipfarm::codec

#endif
