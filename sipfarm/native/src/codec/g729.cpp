#ifdef SIPFARM_G729

#include <algorithm>
#include <array>

extern "C" {
#include <bcg729/decoder.h>
#include <bcg729/encoder.h>
}

#include "codec/makers.hpp"

namespace sipfarm::codec {

namespace {

constexpr std::uint32_t k_rate_hz = 8'000;
constexpr std::size_t k_frame_samples = 80;
constexpr std::size_t k_frame_bytes = 10;
constexpr std::size_t k_sid_bytes = 2;
constexpr std::size_t k_frames_max = k_frame_ms_max / 10;

struct CloseEncoder {
  void operator()(bcg729EncoderChannelContextStruct* state) const noexcept { closeBcg729EncoderChannel(state); }
};
struct CloseDecoder {
  void operator()(bcg729DecoderChannelContextStruct* state) const noexcept { closeBcg729DecoderChannel(state); }
};

class G729Encoder final : public Encoder {
 public:
  explicit G729Encoder(bool dtx) noexcept : state_{initBcg729EncoderChannel(dtx ? 1 : 0)} {}

  std::size_t quantum() const noexcept override { return k_frame_samples; }

  /// A packet holds frames without a gap and then at most one SID frame (RFC 3551 §4.5.6): of speech that begins in mid-packet
  /// the silence before it is skipped.
  std::size_t encode(ConstPcm pcm, Payload out) noexcept override {
    const std::size_t frames = pcm.size() / k_frame_samples;
    skipped_ = 0;
    if (frames * k_frame_samples != pcm.size() || frames > k_frames_max || frames * k_frame_bytes > out.size()) return 0;
    std::size_t size = 0;
    bool is_ended = false;
    for (std::size_t i = 0; i < frames; ++i) {
      std::array<std::uint8_t, k_frame_bytes> bits{};
      std::uint8_t length = 0;
      bcg729Encoder(state_.get(), pcm.data() + i * k_frame_samples, bits.data(), &length);
      if (is_ended && length != 0) size = 0;
      if (size == 0 && length != 0) skipped_ = i * k_frame_samples;
      std::copy_n(bits.begin(), length, out.begin() + static_cast<std::ptrdiff_t>(size));
      size += length;
      is_ended = size != 0 && length != k_frame_bytes;
    }
    return size;
  }

  std::size_t skipped() const noexcept override { return skipped_; }

 private:
  std::unique_ptr<bcg729EncoderChannelContextStruct, CloseEncoder> state_;
  std::size_t skipped_ = 0;
};

class G729Decoder final : public Decoder {
 public:
  std::size_t duration(ConstPayload payload) const noexcept override {
    const std::size_t frames = payload.size() / k_frame_bytes;
    const std::size_t rest = payload.size() % k_frame_bytes;
    if ((rest != 0 && rest != k_sid_bytes) || frames + (rest != 0 ? 1 : 0) > k_frames_max) return 0;
    return (frames + (rest != 0 ? 1 : 0)) * k_frame_samples;
  }

  std::size_t decode(ConstPayload payload, Pcm out) noexcept override {
    const std::size_t samples = duration(payload);
    if (samples == 0 || samples > out.size()) return 0;
    for (std::size_t i = 0; i < samples / k_frame_samples; ++i) {
      const ConstPayload rest = payload.subspan(i * k_frame_bytes);
      const bool is_sid = rest.size() < k_frame_bytes;
      std::array<std::uint8_t, k_frame_bytes> bits{};
      const std::size_t length = is_sid ? k_sid_bytes : k_frame_bytes;
      std::copy_n(rest.begin(), length, bits.begin());
      bcg729Decoder(state_.get(), bits.data(), static_cast<std::uint8_t>(length), 0, is_sid ? 1 : 0, 0, out.data() + i * k_frame_samples);
    }
    return samples;
  }

  /// The library knows a gap after a SID frame, and goes on with its noise, from a loss.
  void conceal(Pcm out) noexcept override {
    while (!out.empty()) {
      std::array<std::int16_t, k_frame_samples> frame{};
      const std::array<std::uint8_t, k_frame_bytes> nothing{};
      bcg729Decoder(state_.get(), nothing.data(), 0, 1, 0, 0, frame.data());
      const std::size_t samples = std::min(out.size(), frame.size());
      std::copy_n(frame.begin(), samples, out.begin());
      out = out.subspan(samples);
    }
  }

 private:
  std::unique_ptr<bcg729DecoderChannelContextStruct, CloseDecoder> state_{initBcg729DecoderChannel()};
};

}  // namespace

const Maker k_g729 = {
    [](const Format& format) noexcept { return objection_unless(format, k_rate_hz, k_rate_hz); },
    [](const Format& format) -> std::unique_ptr<Encoder> { return std::make_unique<G729Encoder>(format.dtx && format.annexb); },
    [](const Format&) -> std::unique_ptr<Decoder> { return std::make_unique<G729Decoder>(); },
};

}  // namespace sipfarm::codec

#endif
