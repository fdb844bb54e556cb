#pragma once

#include "codec/codec.hpp"

namespace sipfarm::codec {

/// What the registry needs of a codec; each file of a codec has one.
struct Maker {
  const char* (*objection)(const Format& format) noexcept;
  std::unique_ptr<Encoder> (*encoder)(const Format& format);
  std::unique_ptr<Decoder> (*decoder)(const Format& format);
};

extern const Maker k_g711;
extern const Maker k_g722;
extern const Maker k_g726;
extern const Maker k_l16;
#ifdef SIPFARM_OPUS
extern const Maker k_opus;
#endif
#ifdef SIPFARM_GSM
extern const Maker k_gsm;
#endif
#ifdef SIPFARM_AMR
extern const Maker k_amr;
#endif
#ifdef SIPFARM_AMR_WB
extern const Maker k_amr_wb;
#endif
#ifdef SIPFARM_G729
extern const Maker k_g729;
#endif
#ifdef SIPFARM_SPEEX
extern const Maker k_speex;
#endif

constexpr std::size_t samples_of(std::size_t ms, std::uint32_t rate_hz) { return ms * rate_hz / 1'000; }

/// The objection of a codec with one clock, one rate and one channel.
constexpr const char* objection_unless(const Format& format, std::uint32_t clock_rate_hz, std::uint32_t sample_rate_hz) noexcept {
  if (format.clock_rate_hz != clock_rate_hz) return "the codec has another clock rate";
  if (format.sample_rate_hz != sample_rate_hz) return "the codec has another sample rate";
  return format.channels == 1 ? nullptr : "the codec has one channel";
}

}  // namespace sipfarm::codec
