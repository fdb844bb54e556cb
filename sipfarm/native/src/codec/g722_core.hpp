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

/// What follows from a code: the inverse quantiser's weight and the change of the step's logarithm.
struct Meaning {
  std::int16_t weight;
  std::int16_t log_change;
  std::uint8_t code;
};

/// By sign and the levels reached (ILN and ILP of QUANTL).
inline constexpr std::array<std::array<Meaning, 32>, 2> k_low_meaning = [] {
  std::array<std::array<Meaning, 32>, 2> meaning{};
  for (int reached = 0; reached <= k_levels_reached_max; ++reached) {
    for (std::size_t negative = 0; negative < 2; ++negative) {
      const int code = negative == 0 ? 61 - reached : reached < 2 ? 63 - reached : 33 - reached;
      const auto four = static_cast<std::size_t>(code) >> 2;
      meaning[negative][static_cast<std::size_t>(reached)] = {k_qm4[four], k_log_low[four], static_cast<std::uint8_t>(code)};
    }
  }
  return meaning;
}();

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

template <class Kernel>
struct Bands {
  typename Kernel::Predictors predictors;
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
      for (std::size_t i = 0; i < count; ++i) out[n + i] = encode_pair(low[i], high[i]);
    }
    std::memmove(samples_.data(), samples_.data() + 2 * pairs, k_history * sizeof(std::int16_t));
  }

  std::uint8_t encode_pair(int low, int high) noexcept {
    const int low_step = bands_.low_step.size();
    const int high_step = bands_.high_step.size();
    const Quantised quantised = bands_.predictors.quantised(low, high, low_step, high_step);
    const Meaning& meaning = k_low_meaning[quantised.low_negative][quantised.low_levels];
    const std::size_t high_code = (3 - 2 * quantised.high_negative) - quantised.high_levels;  // IHN and IHP of QUANTH
    bands_.predictors.advance(low_step * meaning.weight >> 15, high_step * k_qm2[high_code] >> 15);
    bands_.low_step.adapt(meaning.log_change);
    bands_.high_step.adapt(k_log_high[high_code]);
    return static_cast<std::uint8_t>(high_code << 6 | meaning.code);
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
      decode_pair(payload[n], samples_.data() + k_history + 2 * n);
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

  /// The sum and the difference of the bands.
  void decode_pair(std::uint8_t code, std::int16_t* to) noexcept {
    const std::size_t low_code = code & 0x3fU;
    const std::size_t high_code = code >> 6;
    const int low_step = bands_.low_step.size();
    const int high_step = bands_.high_step.size();
    const int high_dx = high_step * k_qm2[high_code] >> 15;
    const int low = limited(bands_.predictors.low() + (low_step * k_qm6[low_code] >> 15));
    const int high = limited(bands_.predictors.high() + high_dx);
    bands_.low_step.adapt(k_log_low[low_code >> 2]);
    bands_.high_step.adapt(k_log_high[high_code]);
    bands_.predictors.advance(low_step * k_qm4[low_code >> 2] >> 15, high_dx);
    to[0] = static_cast<std::int16_t>(low + high);
    to[1] = static_cast<std::int16_t>(low - high);
  }

  Bands<Kernel> bands_;
  Chunk samples_{};
};

}  // namespace sipfarm::codec::g722
