#pragma once

#include <cstring>

#include "codec/codec.hpp"
#include "codec/g722_kernel.hpp"

// ITU-T G.722 at 64 kbit/s in its own fixed point, bit for bit. Names of blocks are those of §6.
namespace sipfarm::codec::g722 {

// Inverse quantisers: of four bits for the predictor (INVQAL), of six for the listener (INVQBL), of two for the high band (INVQAH).
inline constexpr std::array<std::int16_t, 16> k_qm4 = {0,      -20'456, -12'896, -8'968, -6'288, -4'240, -2'584, -1'200,
                                                       20'456, 12'896,  8'968,   6'288,  4'240,  2'584,  1'200,  0};
inline constexpr std::array<std::int16_t, 64> k_qm6 = {
    -136,   -136,   -136,   -136,   -24'808, -21'904, -19'008, -16'704, -14'984, -13'512, -12'280, -11'192, -10'232, -9'360, -8'576, -7'856,
    -7'192, -6'576, -6'000, -5'456, -4'944,  -4'464,  -4'008,  -3'576,  -3'168,  -2'776,  -2'400,  -2'032,  -1'688,  -1'360, -1'040, -728,
    24'808, 21'904, 19'008, 16'704, 14'984,  13'512,  12'280,  11'192,  10'232,  9'360,   8'576,   7'856,   7'192,   6'576,  6'000,  5'456,
    4'944,  4'464,  4'008,  3'576,  3'168,   2'776,   2'400,   2'032,   1'688,   1'360,   1'040,   728,     432,     136,    -432,   -136};
inline constexpr std::array<std::int16_t, 4> k_qm2 = {-7'408, -1'616, 7'408, 1'616};

// What a code does to the logarithm of the step (W and RL42 of LOGSCL, WH and RH2 of LOGSCH).
inline constexpr std::array<std::int16_t, 16> k_log_low = {-60, 3'042, 1'198, 538, 334, 172, 58, -30, 3'042, 1'198, 538, 334, 172, 58, -30, -60};
inline constexpr std::array<std::int16_t, 4> k_log_high = {798, -214, 798, -214};
inline constexpr std::array<std::uint16_t, 32> k_ilb = {2'048, 2'093, 2'139, 2'186, 2'233, 2'282, 2'332, 2'383, 2'435, 2'489, 2'543,
                                                        2'599, 2'656, 2'714, 2'774, 2'834, 2'896, 2'960, 3'025, 3'091, 3'158, 3'228,
                                                        3'298, 3'371, 3'444, 3'520, 3'597, 3'676, 3'756, 3'838, 3'922, 4'008};

/// What the low band's quantiser gives for a sign and the levels reached (ILN and ILP of QUANTL).
inline constexpr std::array<std::array<std::uint8_t, 32>, 2> k_low_codes = [] {
  std::array<std::array<std::uint8_t, 32>, 2> codes{};
  for (int reached = 0; reached <= k_levels_reached_max; ++reached) {
    const auto i = static_cast<std::size_t>(reached);
    codes[0][i] = static_cast<std::uint8_t>(61 - reached);
    codes[1][i] = static_cast<std::uint8_t>(reached < 2 ? 63 - reached : 33 - reached);
  }
  return codes;
}();
inline constexpr int k_high_level = 564;

/// The step size of a band: LOGSCL and SCALEL, LOGSCH and SCALEH.
template <int log_max, int shift>
class Step {
 public:
  int size() const noexcept { return size_; }
  void adapt(int change) noexcept {
    log_ = std::clamp((log_ * 127 >> 7) + change, 0, log_max);
    size_ = k_ilb[static_cast<std::size_t>(log_ >> 6 & 31)] << (log_ >> 11) >> shift << 2;
  }

 private:
  int log_ = 0;
  int size_ = (2'048 >> shift) << 2;
};

/// Predicts one band: block 4, the same in both bands and both directions.
template <class Kernel>
class Predictor {
 public:
  int predicted() const noexcept { return s_; }

  /// Takes the quantised difference from what was predicted.
  void advance(int dx) noexcept {
    const int r = saturated(s_ + dx);  // RECONS
    const int p = sz_ + dx;            // PARREC: only its sign matters, so it need not be limited
    // UPPOL2
    const int slope = saturated(4 * a1_);
    const int turned = std::min((p ^ p1_) < 0 ? slope : -slope, 32'767);
    const int a2 = std::clamp(((p ^ p2_) < 0 ? -128 : 128) + (turned >> 7) + (a2_ * 32'512 >> 15), -12'288, 12'288);
    // UPPOL1
    const int bound = 15'360 - a2;
    const int a1 = std::clamp(((p ^ p1_) < 0 ? -192 : 192) + (a1_ * 32'640 >> 15), -bound, bound);
    // FILTEP
    const int poles = saturated((a1 * saturated(2 * r) >> 15) + (a2 * saturated(2 * r1_) >> 15));
    a1_ = a1;
    a2_ = a2;
    r1_ = r;
    p2_ = p1_;
    p1_ = p;
    sz_ = zeros_.advance(dx);
    s_ = saturated(poles + sz_);  // PREDIC
  }

 private:
  typename Kernel::Zeros zeros_;
  int s_ = 0;
  int sz_ = 0;
  int r1_ = 0;
  int p1_ = 0;
  int p2_ = 0;
  int a1_ = 0;
  int a2_ = 0;
};

template <class Kernel>
struct Bands {
  Predictor<Kernel> low;
  Predictor<Kernel> high;
  Step<18'432, 8> low_step;
  Step<22'528, 10> high_step;
};

inline constexpr std::size_t k_history = 2 * 11;    // samples that the filters look back on
inline constexpr std::size_t k_chunk_pairs = 160;   // 20 ms
using Chunk = std::array<std::int16_t, k_history + 2 * k_chunk_pairs>;

/// 16 kHz PCM, two samples a byte.
template <class Kernel>
class EncoderCore {
 public:
  void encode(const std::int16_t* pcm, std::size_t pairs, std::uint8_t* out) noexcept {
    for (; pairs > k_chunk_pairs; pairs -= k_chunk_pairs, pcm += 2 * k_chunk_pairs, out += k_chunk_pairs) encode_chunk(pcm, k_chunk_pairs, out);
    encode_chunk(pcm, pairs, out);
  }

 private:
  void encode_chunk(const std::int16_t* pcm, std::size_t pairs, std::uint8_t* out) noexcept {
    std::copy_n(pcm, 2 * pairs, samples_.begin() + k_history);
    for (std::size_t n = 0; n < pairs; n += k_filtered) {
      Filtered low;
      Filtered high;
      Kernel::template filter<14>(k_analysis, samples_.data() + 2 * n, low, high);
      const std::size_t count = std::min(k_filtered, pairs - n);
      for (std::size_t i = 0; i < count; ++i) out[n + i] = static_cast<std::uint8_t>(encode_high(high[i]) << 6 | encode_low(low[i]));
    }
    std::memmove(samples_.data(), samples_.data() + 2 * pairs, k_history * sizeof(std::int16_t));
  }

  unsigned encode_low(int sample) noexcept {
    const int difference = saturated(sample - bands_.low.predicted());
    const int sign = difference >> 31;
    const int step = bands_.low_step.size();
    const auto reached = static_cast<std::size_t>(Kernel::levels_reached(difference ^ sign, step));
    const unsigned code = k_low_codes[sign & 1][reached];
    bands_.low_step.adapt(k_log_low[code >> 2]);
    bands_.low.advance(step * k_qm4[code >> 2] >> 15);
    return code;
  }

  unsigned encode_high(int sample) noexcept {
    const int difference = saturated(sample - bands_.high.predicted());
    const int sign = difference >> 31;
    const int step = bands_.high_step.size();
    const unsigned code = ((difference ^ sign) >= (k_high_level * step >> 12) ? 0U : 1U) | (sign == 0 ? 2U : 0U);
    bands_.high_step.adapt(k_log_high[code]);
    bands_.high.advance(step * k_qm2[code] >> 15);
    return code;
  }

  Bands<Kernel> bands_;
  Chunk samples_{};
};

template <class Kernel>
class DecoderCore {
 public:
  void decode(const std::uint8_t* payload, std::size_t bytes, std::int16_t* out) noexcept {
    for (; bytes > k_chunk_pairs; bytes -= k_chunk_pairs, payload += k_chunk_pairs, out += 2 * k_chunk_pairs) decode_chunk(payload, k_chunk_pairs, out);
    decode_chunk(payload, bytes, out);
  }

 private:
  void decode_chunk(const std::uint8_t* payload, std::size_t bytes, std::int16_t* out) noexcept {
    for (std::size_t n = 0; n < bytes; ++n) {
      const int low = decode_low(payload[n] & 0x3fU);
      const int high = decode_high(payload[n] >> 6);
      samples_[k_history + 2 * n] = static_cast<std::int16_t>(low + high);
      samples_[k_history + 2 * n + 1] = static_cast<std::int16_t>(low - high);
    }
    for (std::size_t n = 0; n < bytes; n += k_filtered) {
      Filtered even;
      Filtered odd;
      Kernel::template filter<11>(k_synthesis, samples_.data() + 2 * n, even, odd);
      const std::size_t count = std::min(k_filtered, bytes - n);
      for (std::size_t i = 0; i < count; ++i) {
        out[2 * (n + i)] = even[i];
        out[2 * (n + i) + 1] = odd[i];
      }
    }
    std::memmove(samples_.data(), samples_.data() + 2 * bytes, k_history * sizeof(std::int16_t));
  }

  static int limited(int sample) noexcept { return std::clamp(sample, -16'384, 16'383); }  // LIMIT

  int decode_low(unsigned code) noexcept {
    const int step = bands_.low_step.size();
    const int heard = limited(bands_.low.predicted() + (step * k_qm6[code] >> 15));
    bands_.low_step.adapt(k_log_low[code >> 2]);
    bands_.low.advance(step * k_qm4[code >> 2] >> 15);
    return heard;
  }

  int decode_high(unsigned code) noexcept {
    const int step = bands_.high_step.size();
    const int dx = step * k_qm2[code] >> 15;
    const int heard = limited(bands_.high.predicted() + dx);
    bands_.high_step.adapt(k_log_high[code]);
    bands_.high.advance(dx);
    return heard;
  }

  Bands<Kernel> bands_;
  Chunk samples_{};
};

}  // namespace sipfarm::codec::g722
