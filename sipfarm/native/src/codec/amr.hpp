#pragma once

#include <algorithm>
#include <array>
#include <bit>

#include "codec/amr_payload.hpp"
#include "codec/makers.hpp"

namespace sipfarm::codec {

inline constexpr std::uint32_t k_amr_frames_per_s = 50;

/// The highest of the modes allowed; a mode that was asked for, or the nearest below it that is allowed, else the lowest.
class AmrModes {
 public:
  AmrModes(const AmrKind& kind, const Format& format) noexcept
      : allowed_{static_cast<std::uint16_t>(format.mode_set & ((1U << kind.modes) - 1))} {
    if (allowed_ == 0) allowed_ = static_cast<std::uint16_t>((1U << kind.modes) - 1);
    request(format.mode < kind.modes ? format.mode : static_cast<std::uint8_t>(kind.modes - 1));
  }
  std::uint8_t mode() const noexcept { return mode_; }
  void request(std::uint8_t mode) noexcept {
    if (mode > 8) return;  // any, or reserved
    const auto below = static_cast<std::uint16_t>(allowed_ & ((2U << mode) - 1));
    mode_ = static_cast<std::uint8_t>(below != 0 ? std::bit_width(below) - 1 : std::countr_zero(allowed_));
  }

 private:
  std::uint16_t allowed_;
  std::uint8_t mode_ = 0;
};

/// The library's frames are those of the storage format: a byte with type and quality, then the bits (RFC 4867 §5.3).
template <class Library>
class AmrEncoder final : public Encoder {
 public:
  explicit AmrEncoder(const Format& format) noexcept
      : octet_aligned_{format.octet_aligned}, modes_{Library::k_kind, format}, library_{format.dtx} {}

  std::size_t quantum() const noexcept override { return Library::k_rate_hz / k_amr_frames_per_s; }

  std::size_t encode(ConstPcm pcm, Payload out) noexcept override {
    const std::size_t count = pcm.size() / quantum();
    if (count == 0 || count * quantum() != pcm.size() || count > k_amr_frames_max) return 0;
    AmrPacket packet;
    packet.count = count;
    bool is_worth_sending = false;
    for (std::size_t i = 0; i < count; ++i) {
      std::array<std::uint8_t, 1 + k_amr_frame_bytes_max + 3> stored{};
      library_.encode(modes_.mode(), pcm.data() + i * quantum(), stored.data());
      AmrFrame& frame = packet.frames[i];
      frame.type = stored[0] >> 3 & 0x0f;
      frame.is_good = (stored[0] & 0x04) != 0;
      if (!Library::k_kind.bits_of(frame.type)) return 0;
      std::copy_n(stored.begin() + 1, frame.bits.size(), frame.bits.begin());
      is_worth_sending |= frame.type != AmrKind::k_no_data;
    }
    return is_worth_sending ? write_amr(Library::k_kind, octet_aligned_, packet, out) : 0;
  }

  void request_mode(std::uint8_t mode) noexcept override { modes_.request(mode); }

 private:
  bool octet_aligned_;
  AmrModes modes_;
  typename Library::Encoding library_;
};

template <class Library>
class AmrDecoder final : public Decoder {
 public:
  explicit AmrDecoder(const Format& format) noexcept : octet_aligned_{format.octet_aligned} {}

  std::size_t duration(ConstPayload payload) const noexcept override {
    return count_amr_frames(Library::k_kind, octet_aligned_, payload) * k_frame_samples;
  }

  std::size_t decode(ConstPayload payload, Pcm out) noexcept override {
    const auto packet = read_amr(Library::k_kind, octet_aligned_, payload);
    if (!packet || packet->count * k_frame_samples > out.size()) return 0;
    requested_mode_ = Library::k_kind.is_mode(packet->requested_mode) ? packet->requested_mode : k_no_mode;
    for (std::size_t i = 0; i < packet->count; ++i) decode_frame(packet->frames[i], out.data() + i * k_frame_samples);
    return packet->count * k_frame_samples;
  }

  void conceal(Pcm out) noexcept override {
    while (!out.empty()) {
      std::array<std::int16_t, k_frame_samples> frame;
      conceal_frame(frame.data());
      const std::size_t samples = std::min(out.size(), frame.size());
      std::copy_n(frame.begin(), samples, out.begin());
      out = out.subspan(samples);
    }
  }

  std::uint8_t requested_mode() const noexcept override { return requested_mode_; }

 private:
  using Stored = std::array<std::uint8_t, 1 + k_amr_frame_bytes_max + 3>;
  static constexpr std::size_t k_frame_samples = Library::k_rate_hz / k_amr_frames_per_s;
  // A frame of no data: the library conceals, or goes on with its noise after a SID frame.
  static constexpr Stored k_nothing = {AmrKind::k_no_data << 3};

  /// What is marked as damaged is concealed (RFC 4867 §4.3.2), as is what was lost on the way to the sender.
  void decode_frame(const AmrFrame& frame, std::int16_t* to) noexcept {
    is_begun_ |= frame.is_good && Library::k_kind.is_mode(frame.type);
    if (!is_begun_ || !frame.is_good || frame.type > Library::k_kind.modes) return conceal_frame(to);
    Stored stored{};
    stored[0] = static_cast<std::uint8_t>(frame.type << 3 | 0x04);
    std::copy(frame.bits.begin(), frame.bits.end(), stored.begin() + 1);
    library_.decode(stored.data(), to);
  }

  /// Before the first speech there is nothing to go on from, and opencore's memory of it is not initialised.
  void conceal_frame(std::int16_t* to) noexcept {
    if (is_begun_) return library_.decode(k_nothing.data(), to);
    std::fill_n(to, k_frame_samples, std::int16_t{0});
  }

  bool octet_aligned_;
  bool is_begun_ = false;
  std::uint8_t requested_mode_ = k_no_mode;
  typename Library::Decoding library_;
};

}  // namespace sipfarm::codec
