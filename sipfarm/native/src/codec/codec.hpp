#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace sipfarm::codec {

/// Encodings of the audio registry that the plane can turn into PCM and back (RFC 3551 §6 and their own RFCs).
enum class Id : std::uint8_t { pcmu, pcma, g722, opus, l16, g726_32, gsm, amr, amr_wb, g729, speex };

using Pcm = std::span<std::int16_t>;             // mono, 16 bit, native order, at the rate of its encoder or decoder
using ConstPcm = std::span<const std::int16_t>;
using Payload = std::span<std::uint8_t>;
using ConstPayload = std::span<const std::uint8_t>;

inline constexpr std::size_t k_frame_ms_max = 120;       // what one packet may carry (RFC 6716 §2.1.4)
inline constexpr std::size_t k_payload_bytes_max = 1'500;
inline constexpr std::uint8_t k_no_mode = 0xff;

/// One encoding as offer and answer left it. Trivially copyable: it crosses the ring to the worker.
struct Format {
  Id id = Id::pcmu;
  std::uint32_t clock_rate_hz = 8'000;   // what RTP timestamps count; of G.722 8,000 (RFC 3551 §4.5.2), of Opus 48,000
  std::uint32_t sample_rate_hz = 8'000;  // of the PCM; Opus and Speex can be asked for less than they carry
  std::uint8_t channels = 1;             // on the wire; PCM is mono, two channels are mixed down

  // fmtp, as far as the encoder or decoder needs it; 0 or false: the codec's default
  std::uint32_t bitrate = 0;             // bits/s, of Opus: maxaveragebitrate (RFC 7587 §6.1)
  std::uint32_t max_playback_rate_hz = 0;
  std::uint16_t mode_set = 0;            // AMR: bit per allowed mode (RFC 4867 §8.1); 0: all
  std::uint8_t mode = k_no_mode;         // AMR: to begin with, of mode_set; Speex (RFC 5574 §3.1)
  std::uint8_t complexity = 0;           // Opus 0..10 plus one: 0 is the library's default; the same for Speex
  bool octet_aligned = false;            // AMR; else bandwidth-efficient
  bool fec = false;                      // useinbandfec
  bool dtx = false;                      // usedtx; AMR, G.729 annex B; cng of Speex
  bool cbr = false;                      // Opus
  bool vbr = false;                      // Speex
  bool stereo = false;                   // the far end would like two channels
  bool annexb = true;                    // G.729

  friend bool operator==(const Format&, const Format&) = default;
};

/// PCM to payloads. One per direction of a stream; state of the stream is inside.
class Encoder {
 public:
  virtual ~Encoder() = default;
  /// Samples that one call takes: a whole multiple of this, at most k_frame_ms_max.
  virtual std::size_t quantum() const noexcept = 0;
  /// Bytes written to `out` (k_payload_bytes_max is always enough); 0: nothing is to be sent now (DTX).
  virtual std::size_t encode(ConstPcm pcm, Payload out) noexcept = 0;
  /// Samples at the start of the last call that its payload leaves out (DTX in mid-packet): the packet's timestamp is later by them.
  virtual std::size_t skipped() const noexcept { return 0; }
  /// The far end asks for a mode: what Decoder::requested_mode() of the way back says (RFC 4867 §3.4).
  virtual void request_mode(std::uint8_t mode) noexcept { static_cast<void>(mode); }
  /// Per cent of packets that do not arrive, from reports: how much FEC is worth.
  virtual void expect_loss(unsigned percent) noexcept { static_cast<void>(percent); }
};

/// Payloads to PCM. Bytes come from the network: any may be garbage, none does harm.
class Decoder {
 public:
  virtual ~Decoder() = default;
  /// Samples that the payload stands for, at the decoder's rate; 0: not a payload of this codec.
  virtual std::size_t duration(ConstPayload payload) const noexcept = 0;
  /// Samples written to `out` (room for k_frame_ms_max is always enough); 0: undecodable, `out` is as it was.
  virtual std::size_t decode(ConstPayload payload, Pcm out) noexcept = 0;
  /// Fills all of `out` in place of packets that never came: the codec's own concealment, or the past repeated and faded out.
  virtual void conceal(Pcm out) noexcept = 0;
  /// The packet before `next` is lost: what `next` carries of it (in-band FEC) goes to the end of `out`, concealment before that.
  virtual void recover(ConstPayload next, Pcm out) noexcept {
    static_cast<void>(next);
    conceal(out);
  }
  /// The mode that the last payload asks us to send (the CMR of RFC 4867); k_no_mode: any.
  virtual std::uint8_t requested_mode() const noexcept { return k_no_mode; }
};

/// The registry's name, as build_info() has it.
std::string_view name_of(Id id) noexcept;
/// Whether the codec's library was there when this was built.
bool is_built_in(Id id) noexcept;
/// Why a format cannot be done, in words; nullptr: it can.
const char* objection(const Format& format) noexcept;
/// How much of it fits into one payload; less than k_frame_ms_max for L16 only.
std::size_t ptime_ms_max(const Format& format) noexcept;
/// Made by the control thread; nullptr where there is an objection or the library refuses.
std::unique_ptr<Encoder> make_encoder(const Format& format);
std::unique_ptr<Decoder> make_decoder(const Format& format);

}  // namespace sipfarm::codec
