#ifdef SIPFARM_AMR

#include "codec/amr.hpp"

#include <opencore-amrnb/interf_dec.h>
#include <opencore-amrnb/interf_enc.h>

namespace sipfarm::codec {

namespace {

struct OpencoreNarrow {
  static constexpr const AmrKind& k_kind = k_amr_kind;
  static constexpr std::uint32_t k_rate_hz = 8'000;

  class Encoding {
   public:
    explicit Encoding(bool dtx) noexcept : state_{Encoder_Interface_init(dtx ? 1 : 0)} {}
    Encoding(const Encoding&) = delete;
    Encoding& operator=(const Encoding&) = delete;
    ~Encoding() { Encoder_Interface_exit(state_); }
    void encode(std::uint8_t mode, const std::int16_t* pcm, std::uint8_t* stored) noexcept {
      Encoder_Interface_Encode(state_, static_cast<Mode>(mode), pcm, stored, 0);
    }

   private:
    void* state_;
  };

  class Decoding {
   public:
    Decoding() noexcept : state_{Decoder_Interface_init()} {}
    Decoding(const Decoding&) = delete;
    Decoding& operator=(const Decoding&) = delete;
    ~Decoding() { Decoder_Interface_exit(state_); }
    void decode(const std::uint8_t* stored, std::int16_t* pcm) noexcept { Decoder_Interface_Decode(state_, stored, pcm, 0); }

   private:
    void* state_;
  };
};

}  // namespace

const Maker k_amr = {
    [](const Format& format) noexcept { return objection_unless(format, OpencoreNarrow::k_rate_hz, OpencoreNarrow::k_rate_hz); },
    [](const Format& format) -> std::unique_ptr<Encoder> { return std::make_unique<AmrEncoder<OpencoreNarrow>>(format); },
    [](const Format& format) -> std::unique_ptr<Decoder> { return std::make_unique<AmrDecoder<OpencoreNarrow>>(format); },
};

}  // namespace sipfarm::codec

#endif
