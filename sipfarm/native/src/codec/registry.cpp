#include "codec/makers.hpp"

namespace sipfarm::codec {

namespace {

/// nullptr: its library was missing.
const Maker* maker_of(Id id) noexcept {
  switch (id) {
    case Id::pcmu:
    case Id::pcma: return &k_g711;
    case Id::g722: return &k_g722;
    case Id::g726_32: return &k_g726;
    case Id::l16: return &k_l16;
#ifdef SIPFARM_OPUS
    case Id::opus: return &k_opus;
#endif
#ifdef SIPFARM_GSM
    case Id::gsm: return &k_gsm;
#endif
#ifdef SIPFARM_AMR
    case Id::amr: return &k_amr;
#endif
#ifdef SIPFARM_AMR_WB
    case Id::amr_wb: return &k_amr_wb;
#endif
#ifdef SIPFARM_G729
    case Id::g729: return &k_g729;
#endif
#ifdef SIPFARM_SPEEX
    case Id::speex: return &k_speex;
#endif
    default: return nullptr;
  }
}

}  // namespace

std::string_view name_of(Id id) noexcept {
  switch (id) {
    case Id::pcmu: return "PCMU";
    case Id::pcma: return "PCMA";
    case Id::g722: return "G722";
    case Id::opus: return "opus";
    case Id::l16: return "L16";
    case Id::g726_32: return "G726-32";
    case Id::gsm: return "GSM";
    case Id::amr: return "AMR";
    case Id::amr_wb: return "AMR-WB";
    case Id::g729: return "G729";
    case Id::speex: return "speex";
  }
  return "";
}

bool is_built_in(Id id) noexcept { return maker_of(id) != nullptr; }

const char* objection(const Format& format) noexcept {
  const Maker* maker = maker_of(format.id);
  return maker == nullptr ? "the codec's library was missing when this was built" : maker->objection(format);
}

std::size_t ptime_ms_max(const Format& format) noexcept {
  if (format.id != Id::l16) return k_frame_ms_max;
  const std::size_t bytes_per_s = std::size_t{2} * format.sample_rate_hz * format.channels;
  const std::size_t fitting_ms = bytes_per_s == 0 ? 0 : k_payload_bytes_max * 1'000 / bytes_per_s;
  return fitting_ms < k_frame_ms_max ? fitting_ms : k_frame_ms_max;
}

std::unique_ptr<Encoder> make_encoder(const Format& format) {
  return objection(format) == nullptr ? maker_of(format.id)->encoder(format) : nullptr;
}

std::unique_ptr<Decoder> make_decoder(const Format& format) {
  return objection(format) == nullptr ? maker_of(format.id)->decoder(format) : nullptr;
}

}  // namespace sipfarm::codec
