#ifdef SIPFARM_AMR_WB

#include "codec/amr.hpp"

extern "C" {
#include <opencore-amrwb/dec_if.h>
#include <vo-amrwbenc/enc_if.h>
}

namespace sipfarm::codec {

namespace {

struct OpencoreWide {
  static constexpr const AmrKind& k_kind = k_amr_wb_kind;
  static constexpr std::uint32_t k_rate_hz = 16'000;

  class Encoding {
   public:
    explicit Encoding(bool dtx) noexcept : state_{E_IF_init()}, dtx_{dtx ? 1 : 0} {}
    Encoding(const Encoding&) = delete;
    Encoding& operator=(const Encoding&) = delete;
    ~Encoding() { E_IF_exit(state_); }
    void encode(std::uint8_t mode, const std::int16_t* pcm, std::uint8_t* stored) noexcept { E_IF_encode(state_, mode, pcm, stored, dtx_); }

   private:
    void* state_;
    int dtx_;
  };

  class Decoding {
   public:
    Decoding() noexcept : state_{D_IF_init()} {}
    Decoding(const Decoding&) = delete;
    Decoding& operator=(const Decoding&) = delete;
    ~Decoding() { D_IF_exit(state_); }
    void decode(const std::uint8_t* stored, std::int16_t* pcm) noexcept { D_IF_decode(state_, stored, pcm, _good_frame); }

   private:
    void* state_;
  };
};

}  // namespace

const Maker k_amr_wb = {
    [](const Format& format) noexcept { return objection_unless(format, OpencoreWide::k_rate_hz, OpencoreWide::k_rate_hz); },
    [](const Format& format) -> std::unique_ptr<Encoder> { return std::make_unique<AmrEncoder<OpencoreWide>>(format); },
    [](const Format& format) -> std::unique_ptr<Decoder> { return std::make_unique<AmrDecoder<OpencoreWide>>(format); },
};

}  // namespace sipfarm::codec

#endif
