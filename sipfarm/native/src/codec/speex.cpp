#ifdef SIPFARM_SPEEX

#include <speex/speex.h>

#include <algorithm>
#include <array>
#include <optional>

#include "codec/makers.hpp"

namespace sipfarm::codec {

namespace {

constexpr std::size_t k_frame_ms = 20;
constexpr std::size_t k_frames_max = k_frame_ms_max / k_frame_ms;
constexpr unsigned k_terminator = 15;
constexpr unsigned k_in_band = 14;
constexpr unsigned k_user = 13;
constexpr int k_quality_max = 10;

// Bits of a frame by its submode, with its header (the Speex manual, tables 9.1 and 10.1).
constexpr std::array<unsigned, 9> k_narrow_bits = {5, 43, 119, 160, 220, 300, 364, 492, 79};
constexpr std::array<unsigned, 5> k_wide_bits = {4, 36, 112, 192, 352};

/// Walks over the frames of a payload as the library does: it is given nothing that it would stumble over, since it complains on
/// stderr.
class Walk {
 public:
  /// `layers`: those above 4 kHz that the decoder takes; it leaves out two more.
  Walk(ConstPayload payload, unsigned layers) noexcept : payload_{payload}, layers_{layers} {}

  /// Frames that are whole; nothing where a frame is cut off or of an unknown submode.
  std::optional<std::size_t> frames() noexcept {
    std::size_t found = 0;
    while (skip_foreign_layers() && left() >= 5) {
      at_ += 1;
      const unsigned submode = read(4);
      if (submode == k_terminator) return found;
      if (submode == k_in_band || submode == k_user) {
        if (!skip_message(submode)) return std::nullopt;
        continue;
      }
      if (submode >= k_narrow_bits.size() || !skip(k_narrow_bits[submode] - 5)) return std::nullopt;
      if (!skip_own_layers() || ++found > k_frames_max) return std::nullopt;
    }
    return is_broken_ ? std::nullopt : std::optional{found};
  }

 private:
  std::size_t left() const noexcept { return payload_.size() * 8 - at_; }

  unsigned read(unsigned bits) noexcept {
    unsigned value = 0;
    for (; bits > 0; --bits, ++at_) value = value << 1 | (payload_[at_ / 8] >> (7 - at_ % 8) & 1U);
    return value;
  }

  bool is_layer_next() const noexcept { return left() >= 4 && (payload_[at_ / 8] >> (7 - at_ % 8) & 1) != 0; }

  bool skip_layer(unsigned lowest, unsigned highest) noexcept {
    at_ += 1;
    const unsigned submode = read(3);
    return submode >= lowest && submode <= highest && skip(k_wide_bits[submode] - 4);
  }

  bool skip_foreign_layers() noexcept {
    for (int skipped = 0; is_layer_next(); ++skipped) {
      is_broken_ = skipped == 2 || !skip_layer(1, 4);
      if (is_broken_) return false;
    }
    return true;
  }

  bool skip_own_layers() noexcept {
    for (unsigned layer = 0; layer < layers_ && is_layer_next(); ++layer) {
      if (!skip_layer(0, layer == 0 ? 4 : 1)) return false;  // the uppermost has one submode
    }
    return true;
  }

  bool skip(std::size_t bits) noexcept {
    if (bits > left()) return false;
    at_ += bits;
    return true;
  }

  bool skip_message(unsigned kind) noexcept {
    if (left() < 4) return false;
    const unsigned code = read(4);
    if (kind == k_user) return skip(5 + std::size_t{8} * code);
    constexpr std::array<std::uint8_t, 8> bits_of_pairs = {1, 4, 4, 4, 8, 16, 32, 64};
    return skip(bits_of_pairs[code / 2]);
  }

  ConstPayload payload_;
  unsigned layers_;
  std::size_t at_ = 0;
  bool is_broken_ = false;
};

unsigned layers_at(std::uint32_t rate_hz) noexcept { return rate_hz == 8'000 ? 0 : rate_hz == 16'000 ? 1 : 2; }

const SpeexMode* mode_of(std::uint32_t rate_hz) noexcept {
  return speex_lib_get_mode(rate_hz == 8'000 ? SPEEX_MODEID_NB : rate_hz == 16'000 ? SPEEX_MODEID_WB : SPEEX_MODEID_UWB);
}

struct FreeEncoder {
  void operator()(void* state) const noexcept { speex_encoder_destroy(state); }
};
struct FreeDecoder {
  void operator()(void* state) const noexcept { speex_decoder_destroy(state); }
};

/// Bits in a buffer of fixed size: the library never makes it longer.
class Bits {
 public:
  Bits() noexcept { speex_bits_init_buffer(&bits_, buffer_.data(), static_cast<int>(buffer_.size())); }
  Bits(const Bits&) = delete;
  Bits& operator=(const Bits&) = delete;
  ~Bits() { speex_bits_destroy(&bits_); }
  SpeexBits* get() noexcept { return &bits_; }

 private:
  std::array<char, k_payload_bytes_max + 4> buffer_{};
  SpeexBits bits_{};
};

class SpeexEncoder final : public Encoder {
 public:
  SpeexEncoder(const Format& format, std::unique_ptr<void, FreeEncoder> state) noexcept
      : frame_{samples_of(k_frame_ms, format.sample_rate_hz)}, state_{std::move(state)} {
    spx_int32_t quality = format.mode == k_no_mode ? 8 : std::min<spx_int32_t>(format.mode, k_quality_max);
    spx_int32_t submode = format.mode;
    spx_int32_t vbr = format.vbr ? 1 : 0;
    spx_int32_t dtx = format.dtx ? 1 : 0;
    spx_int32_t complexity = format.complexity - 1;
    auto vbr_quality = static_cast<float>(quality);
    if (format.complexity != 0) set(SPEEX_SET_COMPLEXITY, &complexity);
    set(SPEEX_SET_QUALITY, &quality);
    // RFC 5574 §3.1: at 8 kHz the number is a submode, above a quality.
    if (format.clock_rate_hz == 8'000 && format.mode < k_narrow_bits.size()) set(SPEEX_SET_MODE, &submode);
    set(SPEEX_SET_VBR, &vbr);
    if (format.vbr) set(SPEEX_SET_VBR_QUALITY, &vbr_quality);
    set(SPEEX_SET_VAD, &dtx);
    set(SPEEX_SET_DTX, &dtx);
  }

  std::size_t quantum() const noexcept override { return frame_; }

  std::size_t encode(ConstPcm pcm, Payload out) noexcept override {
    const std::size_t frames = pcm.size() / frame_;
    if (frames == 0 || frames * frame_ != pcm.size() || frames > k_frames_max) return 0;
    bool is_worth_sending = false;
    speex_bits_reset(bits_.get());
    for (std::size_t i = 0; i < frames; ++i) {
      std::array<spx_int16_t, samples_of(k_frame_ms, 32'000)> frame;  // the encoder changes it
      std::copy_n(pcm.begin() + static_cast<std::ptrdiff_t>(i * frame_), frame_, frame.begin());
      is_worth_sending |= speex_encode_int(state_.get(), frame.data(), bits_.get()) != 0;
    }
    if (!is_worth_sending) return 0;
    if (static_cast<std::size_t>(speex_bits_nbytes(bits_.get())) > out.size()) return 0;
    return static_cast<std::size_t>(speex_bits_write(bits_.get(), reinterpret_cast<char*>(out.data()), static_cast<int>(out.size())));
  }

 private:
  void set(int request, void* value) noexcept { speex_encoder_ctl(state_.get(), request, value); }

  std::size_t frame_;
  std::unique_ptr<void, FreeEncoder> state_;
  Bits bits_;
};

class SpeexDecoder final : public Decoder {
 public:
  SpeexDecoder(const Format& format, std::unique_ptr<void, FreeDecoder> state) noexcept
      : frame_{samples_of(k_frame_ms, format.sample_rate_hz)}, layers_{layers_at(format.sample_rate_hz)}, state_{std::move(state)} {
    spx_int32_t enhance = 1;
    speex_decoder_ctl(state_.get(), SPEEX_SET_ENH, &enhance);
  }

  std::size_t duration(ConstPayload payload) const noexcept override {
    if (payload.empty() || payload.size() > k_payload_bytes_max) return 0;
    return Walk{payload, layers_}.frames().value_or(0) * frame_;
  }

  std::size_t decode(ConstPayload payload, Pcm out) noexcept override {
    const std::size_t samples = duration(payload);
    if (samples == 0 || samples > out.size()) return 0;
    speex_bits_read_from(bits_.get(), reinterpret_cast<const char*>(payload.data()), static_cast<int>(payload.size()));
    std::size_t done = 0;
    for (; done < samples; done += frame_) {
      if (!decode_frame(bits_.get(), out.subspan(done, frame_))) break;
    }
    if (done != 0 && done < samples) conceal(out.subspan(done, samples - done));
    return done == 0 ? 0 : samples;
  }

  void conceal(Pcm out) noexcept override {
    while (!out.empty()) {
      const std::size_t samples = std::min(out.size(), frame_);
      decode_frame(nullptr, out.first(samples));
      out = out.subspan(samples);
    }
  }

 private:
  bool decode_frame(SpeexBits* bits, Pcm out) noexcept {
    std::array<spx_int16_t, samples_of(k_frame_ms, 32'000)> frame{};
    if (speex_decode_int(state_.get(), bits, frame.data()) != 0) return false;
    std::copy_n(frame.begin(), out.size(), out.begin());
    return true;
  }

  std::size_t frame_;
  unsigned layers_;
  std::unique_ptr<void, FreeDecoder> state_;
  Bits bits_;
};

/// A wider clock can be done at a lower rate: decoders leave out the upper layers, and take frames without them (RFC 5574 §3.3).
const char* objection_to(const Format& format) noexcept {
  const auto is_rate = [](std::uint32_t rate_hz) { return rate_hz == 8'000 || rate_hz == 16'000 || rate_hz == 32'000; };
  if (!is_rate(format.clock_rate_hz)) return "Speex has clocks of 8, 16 and 32 kHz";
  if (!is_rate(format.sample_rate_hz) || format.sample_rate_hz > format.clock_rate_hz) return "Speex is heard at 8, 16 or 32 kHz, up to its clock";
  if (format.channels != 1) return "the codec has one channel";
  return format.complexity > 11 ? "Speex knows complexities of 0 to 10" : nullptr;
}

}  // namespace

const Maker k_speex = {
    objection_to,
    [](const Format& format) -> std::unique_ptr<Encoder> {
      std::unique_ptr<void, FreeEncoder> state{speex_encoder_init(mode_of(format.sample_rate_hz))};
      return state ? std::make_unique<SpeexEncoder>(format, std::move(state)) : nullptr;
    },
    [](const Format& format) -> std::unique_ptr<Decoder> {
      std::unique_ptr<void, FreeDecoder> state{speex_decoder_init(mode_of(format.sample_rate_hz))};
      return state ? std::make_unique<SpeexDecoder>(format, std::move(state)) : nullptr;
    },
};

}  // namespace sipfarm::codec

#endif
