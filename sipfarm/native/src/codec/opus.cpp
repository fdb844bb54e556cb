#ifdef SIPFARM_OPUS

#include <opus.h>

#include <algorithm>
#include <array>

#include "codec/makers.hpp"

namespace sipfarm::codec {

namespace {

constexpr std::uint32_t k_clock_rate_hz = 48'000;  // whatever it carries (RFC 7587 §4.1)
constexpr std::uint32_t k_rate_hz_max = 48'000;
constexpr opus_int32 k_dtx_bytes = 2;              // libopus: so short a packet need not be sent
constexpr opus_int32 k_loss_percent_expected = 5;    // before reports come: FEC that was asked for is to be there
constexpr std::size_t k_unit_ms = 10;

/// Telephone speech at the rate it is heard; RFC 7587 §3.1.1 has 8 to 40 kbit/s.
opus_int32 default_bitrate(std::uint32_t rate_hz) noexcept {
  if (rate_hz <= 8'000) return 16'000;
  if (rate_hz <= 16'000) return 24'000;
  return rate_hz <= 24'000 ? 32'000 : 40'000;
}

opus_int32 bandwidth_of(std::uint32_t playback_rate_hz) noexcept {
  if (playback_rate_hz <= 8'000) return OPUS_BANDWIDTH_NARROWBAND;
  if (playback_rate_hz <= 12'000) return OPUS_BANDWIDTH_MEDIUMBAND;
  if (playback_rate_hz <= 16'000) return OPUS_BANDWIDTH_WIDEBAND;
  return playback_rate_hz <= 24'000 ? OPUS_BANDWIDTH_SUPERWIDEBAND : OPUS_BANDWIDTH_FULLBAND;
}

struct FreeEncoder {
  void operator()(OpusEncoder* encoder) const noexcept { opus_encoder_destroy(encoder); }
};
struct FreeDecoder {
  void operator()(OpusDecoder* decoder) const noexcept { opus_decoder_destroy(decoder); }
};
struct FreeRepacketizer {
  void operator()(OpusRepacketizer* repacketizer) const noexcept { opus_repacketizer_destroy(repacketizer); }
};

class Encoding final : public Encoder {
 public:
  Encoding(const Format& format, std::unique_ptr<OpusEncoder, FreeEncoder> encoder,
           std::unique_ptr<OpusRepacketizer, FreeRepacketizer> repacketizer) noexcept
      : unit_{samples_of(k_unit_ms, format.sample_rate_hz)},
        fec_{format.fec},
        encoder_{std::move(encoder)},
        repacketizer_{std::move(repacketizer)} {}

  std::size_t quantum() const noexcept override { return unit_; }

  std::size_t encode(ConstPcm pcm, Payload out) noexcept override {
    const std::size_t units = pcm.size() / unit_;
    skipped_ = 0;
    if (units == 0 || units * unit_ != pcm.size() || units > k_frame_ms_max / k_unit_ms || out.empty()) return 0;
    const bool is_one_frame = units == 1 || units % 2 == 0;  // Opus has no frame of 30, 50, 70, 90 or 110 ms
    return is_one_frame ? encode_frame(pcm, out) : encode_frames(pcm, units, out);
  }

  std::size_t skipped() const noexcept override { return skipped_; }

  void expect_loss(unsigned percent) noexcept override {
    if (fec_) opus_encoder_ctl(encoder_.get(), OPUS_SET_PACKET_LOSS_PERC(static_cast<opus_int32>(std::min(percent, 100U))));
  }

 private:
  std::size_t encode_frame(ConstPcm pcm, Payload out) noexcept {
    const auto room = static_cast<opus_int32>(std::min(out.size(), k_payload_bytes_max));
    const auto size = opus_encode(encoder_.get(), pcm.data(), static_cast<int>(pcm.size()), out.data(), room);
    return size > k_dtx_bytes ? static_cast<std::size_t>(size) : 0;
  }

  std::size_t encode_frames(ConstPcm pcm, std::size_t units, Payload out) noexcept {
    const std::size_t share = k_payload_bytes_max / units - 2;  // less two bytes for a frame's length (RFC 6716 §3.2.1)
    opus_int32 longest = 0;
    opus_repacketizer_init(repacketizer_.get());
    for (std::size_t i = 0; i < units; ++i) {
      std::uint8_t* to = frames_.data() + i * share;
      const auto size = opus_encode(encoder_.get(), pcm.data() + i * unit_, static_cast<int>(unit_), to, static_cast<opus_int32>(share));
      if (size <= 0) return 0;
      if (opus_repacketizer_cat(repacketizer_.get(), to, size) != OPUS_OK) {
        // Frames of one packet share mode and bandwidth; where the encoder has just changed them, what came before is left out.
        opus_repacketizer_init(repacketizer_.get());
        opus_repacketizer_cat(repacketizer_.get(), to, size);
        skipped_ = i * unit_;
      }
      longest = std::max(longest, size);
    }
    if (longest <= k_dtx_bytes) return 0;
    const auto size = opus_repacketizer_out(repacketizer_.get(), out.data(), static_cast<opus_int32>(out.size()));
    return size > 0 ? static_cast<std::size_t>(size) : 0;
  }

  std::size_t unit_;
  std::size_t skipped_ = 0;
  bool fec_;
  std::unique_ptr<OpusEncoder, FreeEncoder> encoder_;
  std::unique_ptr<OpusRepacketizer, FreeRepacketizer> repacketizer_;
  std::array<std::uint8_t, k_payload_bytes_max> frames_;
};

/// One channel is asked of libopus, which mixes two down.
class Decoding final : public Decoder {
 public:
  Decoding(const Format& format, std::unique_ptr<OpusDecoder, FreeDecoder> decoder) noexcept
      : rate_hz_{static_cast<opus_int32>(format.sample_rate_hz)}, step_{format.sample_rate_hz / 400}, decoder_{std::move(decoder)} {}

  std::size_t duration(ConstPayload payload) const noexcept override {
    if (payload.empty() || payload.size() > k_payload_bytes_max) return 0;
    const int samples = opus_packet_get_nb_samples(payload.data(), static_cast<opus_int32>(payload.size()), rate_hz_);
    return samples > 0 ? static_cast<std::size_t>(samples) : 0;
  }

  std::size_t decode(ConstPayload payload, Pcm out) noexcept override {
    const std::size_t samples = duration(payload);
    if (samples == 0 || samples > out.size()) return 0;
    return decoded(payload, out.first(samples), 0);
  }

  void conceal(Pcm out) noexcept override {
    while (out.size() >= step_) {
      const std::size_t samples = std::min(out.size() / step_ * step_, step_ * k_frame_ms_max * 2 / 5);
      if (decoded({}, out.first(samples), 0) != samples) std::fill_n(out.begin(), samples, std::int16_t{0});
      out = out.subspan(samples);
    }
    if (out.empty()) return;
    std::array<std::int16_t, k_rate_hz_max / 400> step{};
    decoded({}, Pcm{step}.first(step_), 0);
    std::copy_n(step.begin(), out.size(), out.begin());
  }

  void recover(ConstPayload next, Pcm out) noexcept override {
    if (out.empty() || duration(next) == 0 || out.size() % step_ != 0 || decoded(next, out, 1) != out.size()) conceal(out);
  }

 private:
  std::size_t decoded(ConstPayload payload, Pcm out, int fec) noexcept {
    const std::uint8_t* from = payload.empty() ? nullptr : payload.data();
    const auto size = static_cast<opus_int32>(payload.size());
    const int samples = opus_decode(decoder_.get(), from, size, out.data(), static_cast<int>(out.size()), fec);
    return samples > 0 ? static_cast<std::size_t>(samples) : 0;
  }

  opus_int32 rate_hz_;
  std::size_t step_;  // 2.5 ms: libopus fills gaps in these
  std::unique_ptr<OpusDecoder, FreeDecoder> decoder_;
};

const char* objection_to(const Format& format) noexcept {
  if (format.clock_rate_hz != k_clock_rate_hz) return "Opus counts time at 48,000 Hz (RFC 7587)";
  if (format.channels != 2) return "Opus is always signalled with two channels (RFC 7587)";
  if (format.complexity > 11) return "Opus knows complexities of 0 to 10";
  switch (format.sample_rate_hz) {
    case 8'000:
    case 12'000:
    case 16'000:
    case 24'000:
    case 48'000: return nullptr;
    default: return "Opus is heard at 8, 12, 16, 24 or 48 kHz";
  }
}

std::unique_ptr<Encoder> new_encoder(const Format& format) {
  int error = OPUS_OK;
  std::unique_ptr<OpusEncoder, FreeEncoder> encoder{
      opus_encoder_create(static_cast<opus_int32>(format.sample_rate_hz), 1, OPUS_APPLICATION_VOIP, &error)};
  std::unique_ptr<OpusRepacketizer, FreeRepacketizer> repacketizer{opus_repacketizer_create()};
  if (!encoder || !repacketizer || error != OPUS_OK) return nullptr;
  const auto set = [&](auto... request) { opus_encoder_ctl(encoder.get(), request...); };
  const std::uint32_t heard_hz =
      format.max_playback_rate_hz == 0 ? format.sample_rate_hz : std::min(format.max_playback_rate_hz, format.sample_rate_hz);
  const opus_int32 wanted = default_bitrate(heard_hz);
  const opus_int32 most = static_cast<opus_int32>(std::clamp<std::uint32_t>(format.bitrate, 6'000, 510'000));
  set(OPUS_SET_BITRATE(format.bitrate == 0 ? wanted : most));
  set(OPUS_SET_MAX_BANDWIDTH(bandwidth_of(heard_hz)));
  set(OPUS_SET_VBR(format.cbr ? 0 : 1));
  set(OPUS_SET_DTX(format.dtx ? 1 : 0));
  set(OPUS_SET_INBAND_FEC(format.fec ? 1 : 0));
  if (format.fec) set(OPUS_SET_PACKET_LOSS_PERC(k_loss_percent_expected));
  if (format.complexity != 0) set(OPUS_SET_COMPLEXITY(format.complexity - 1));
  return std::make_unique<Encoding>(format, std::move(encoder), std::move(repacketizer));
}

std::unique_ptr<Decoder> new_decoder(const Format& format) {
  int error = OPUS_OK;
  std::unique_ptr<OpusDecoder, FreeDecoder> decoder{opus_decoder_create(static_cast<opus_int32>(format.sample_rate_hz), 1, &error)};
  return decoder && error == OPUS_OK ? std::make_unique<Decoding>(format, std::move(decoder)) : nullptr;
}

}  // namespace

const Maker k_opus = {objection_to, new_encoder, new_decoder};

}  // namespace sipfarm::codec

#endif
