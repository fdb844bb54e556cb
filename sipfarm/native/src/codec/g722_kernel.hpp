#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// The loops of ITU-T G.722 that are worth vectors: once for any machine, once for x86. Both give the same bits.
namespace sipfarm::codec::g722 {

constexpr int saturated(int value) noexcept { return std::clamp(value, -32'768, 32'767); }

/// Decision levels of the low band (QUANTL, table 14) times 16.
alignas(16) inline constexpr std::array<std::uint16_t, 32> k_levels = [] {
  constexpr std::array<std::uint16_t, 29> q6 = {35,  72,  110, 150, 190, 233,   276,   323,   370,   422,   473,   530,   587,   650,  714,
                                                786, 858, 940, 1'023, 1'121, 1'219, 1'339, 1'458, 1'612, 1'765, 1'980, 2'195, 2'557, 2'919};
  std::array<std::uint16_t, 32> levels{};
  for (std::size_t i = 0; i < q6.size(); ++i) levels[i] = static_cast<std::uint16_t>(q6[i] << 4);
  return levels;
}();
inline constexpr int k_levels_reached_max = 29;
inline constexpr int k_high_level = 564;  // of QUANTH

/// What the quantisers make of the differences between samples and what was predicted.
struct Quantised {
  std::size_t low_negative;   // 0 or 1
  std::size_t low_levels;     // reached by the magnitude, 0 to 29
  std::size_t high_negative;  // 0 or 1
  std::size_t high_levels;    // 0 or 1
};

/// A pair of filters over pairs of samples: tap i of one takes {first, second} of pair i.
struct FilterPair {
  struct Tap {
    std::int16_t first;
    std::int16_t second;
  };
  std::array<Tap, 12> one;
  std::array<Tap, 12> other;
};

inline constexpr std::array<std::int16_t, 12> k_qmf = {3, -11, 12, 32, -210, 951, 3'876, -805, 362, -156, 53, -11};

/// Sums and differences of the two halves (TRANSMIT QMF), and what puts them together again (RECEIVE QMF).
inline constexpr FilterPair k_analysis = [] {
  FilterPair filters{};
  for (std::size_t i = 0; i < 12; ++i) {
    filters.one[i] = {k_qmf[i], k_qmf[11 - i]};
    filters.other[i] = {static_cast<std::int16_t>(-k_qmf[i]), k_qmf[11 - i]};
  }
  return filters;
}();
inline constexpr FilterPair k_synthesis = [] {
  FilterPair filters{};
  for (std::size_t i = 0; i < 12; ++i) {
    filters.one[i] = {0, k_qmf[11 - i]};
    filters.other[i] = {k_qmf[i], 0};
  }
  return filters;
}();

inline constexpr std::size_t k_filtered = 4;  // results of one step of filter()
using Filtered = std::array<std::int16_t, k_filtered>;

/// Predicts one band: block 4, the same in both bands and both directions.
class PlainPredictor {
 public:
  int predicted() const noexcept { return s_; }

  /// Takes the quantised difference from what was predicted.
  void advance(int dx) noexcept {
    const int r = saturated(s_ + dx);   // RECONS
    const int p = saturated(sz_ + dx);  // PARREC
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
    sz_ = zeros(dx);
    s_ = saturated(poles + sz_);  // PREDIC
  }

 private:
  /// UPZERO, DELAYA and FILTEZ.
  int zeros(int dx) noexcept {
    const int step = dx == 0 ? 0 : 128;
    int sum = 0;
    for (std::size_t i = 6; i-- > 0;) {
      const int change = (d_[i] ^ dx) < 0 ? -step : step;
      b_[i] = saturated(change + (b_[i] * 32'640 >> 15));
      d_[i] = i == 0 ? dx : d_[i - 1];
    }
    for (std::size_t i = 0; i < 6; ++i) sum += b_[i] * saturated(2 * d_[i]) >> 15;
    return saturated(sum);
  }

  std::array<int, 6> b_{};
  std::array<int, 6> d_{};
  int s_ = 0;
  int sz_ = 0;
  int r1_ = 0;
  int p1_ = 0;
  int p2_ = 0;
  int a1_ = 0;
  int a2_ = 0;
};

struct PlainKernel {
  class Predictors {
   public:
    int low() const noexcept { return low_.predicted(); }
    int high() const noexcept { return high_.predicted(); }
    /// SUBTRA, QUANTL and QUANTH.
    Quantised quantised(int low, int high, int low_step, int high_step) const noexcept {
      const int low_difference = saturated(low - low_.predicted());
      const int high_difference = saturated(high - high_.predicted());
      const int low_magnitude = low_difference < 0 ? ~low_difference : low_difference;
      const int high_magnitude = high_difference < 0 ? ~high_difference : high_difference;
      std::size_t reached = 0;
      for (std::size_t i = 0; i < k_levels_reached_max; ++i) reached += low_magnitude >= (k_levels[i] * low_step >> 16) ? 1 : 0;
      return {low_difference < 0 ? 1U : 0U, reached, high_difference < 0 ? 1U : 0U, high_magnitude >= (k_high_level * high_step >> 12) ? 1U : 0U};
    }
    void advance(int low_dx, int high_dx) noexcept {
      low_.advance(low_dx);
      high_.advance(high_dx);
    }

   private:
    PlainPredictor low_;
    PlainPredictor high_;
  };

  /// Four results of each filter, from pairs of samples on.
  template <int shift>
  static void filter(const FilterPair& filters, const std::int16_t* pairs, Filtered& one, Filtered& other) noexcept {
    for (std::size_t n = 0; n < k_filtered; ++n) {
      int first = 0;
      int second = 0;
      for (std::size_t i = 0; i < 12; ++i) {
        const std::int16_t* pair = pairs + 2 * (n + i);
        first += pair[0] * filters.one[i].first + pair[1] * filters.one[i].second;
        second += pair[0] * filters.other[i].first + pair[1] * filters.other[i].second;
      }
      one[n] = static_cast<std::int16_t>(saturated(first >> shift));
      other[n] = static_cast<std::int16_t>(saturated(second >> shift));
    }
  }
};

#if defined(__SSE2__)

struct VectorKernel {
  /// Both bands at once: lane 0 is of the low band, lane 1 of the high band; the zeros of each have lanes 0 to 5 of their own.
  class Predictors {
   public:
    int low() const noexcept { return static_cast<std::int16_t>(_mm_extract_epi16(s_, 0)); }
    int high() const noexcept { return static_cast<std::int16_t>(_mm_extract_epi16(s_, 1)); }

    Quantised quantised(int low, int high, int low_step, int high_step) const noexcept {
      const __m128i difference = _mm_subs_epi16(pair_of(low, high), s_);
      const __m128i sign = negative(difference);
      const __m128i magnitude = _mm_xor_si128(difference, sign);
      const __m128i all = broadcast<0>(magnitude);
      const __m128i steps = _mm_set1_epi16(static_cast<short>(low_step));
      const auto above = [&](std::size_t i) {
        const __m128i levels = _mm_load_si128(reinterpret_cast<const __m128i*>(k_levels.data() + 8 * i));
        return _mm_cmpgt_epi16(_mm_mulhi_epu16(levels, steps), all);
      };
      const auto lower = static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(above(0), above(1))));
      const auto upper = static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(above(2), above(3))));
      const auto signs = static_cast<unsigned>(_mm_movemask_epi8(sign));
      const int high_magnitude = _mm_extract_epi16(magnitude, 1);
      return {signs & 1, static_cast<std::size_t>(std::countr_zero(lower | upper << 16 | 1U << k_levels_reached_max)), signs >> 2 & 1,
              high_magnitude >= (k_high_level * high_step >> 12) ? 1U : 0U};
    }

    void advance(int low_dx, int high_dx) noexcept {
      const __m128i dx = pair_of(low_dx, high_dx);
      const __m128i r = _mm_adds_epi16(s_, dx);   // RECONS
      const __m128i p = _mm_adds_epi16(sz_, dx);  // PARREC
      const __m128i differ1 = negative(_mm_xor_si128(p, p1_));
      const __m128i differ2 = negative(_mm_xor_si128(p, p2_));
      // UPPOL2
      const __m128i twice_a1 = _mm_adds_epi16(a1_, a1_);
      const __m128i turned = signed_by(_mm_adds_epi16(twice_a1, twice_a1), _mm_xor_si128(differ1, _mm_set1_epi16(-1)));
      __m128i a2 = _mm_add_epi16(a2_, _mm_mulhi_epi16(a2_, _mm_set1_epi16(-512)));  // a2 * 32512 >> 15
      a2 = _mm_add_epi16(a2, _mm_add_epi16(signed_by(_mm_set1_epi16(128), differ2), _mm_srai_epi16(turned, 7)));
      a2 = clamped(a2, _mm_set1_epi16(12'288));
      // UPPOL1
      const __m128i a1 = _mm_add_epi16(leaked(a1_), signed_by(_mm_set1_epi16(192), differ1));
      a1_ = clamped(a1, _mm_sub_epi16(_mm_set1_epi16(15'360), a2));
      a2_ = a2;
      // FILTEP
      const __m128i twice_r = _mm_adds_epi16(r, r);
      const __m128i weights = _mm_unpacklo_epi32(a1_, a2_);
      const __m128i past = _mm_unpacklo_epi32(twice_r, twice_r1_);
      const __m128i products = _mm_or_si128(_mm_slli_epi16(_mm_mulhi_epi16(weights, past), 1), _mm_srli_epi16(_mm_mullo_epi16(weights, past), 15));
      const __m128i poles = _mm_adds_epi16(products, _mm_srli_si128(products, 4));
      twice_r1_ = twice_r;
      p2_ = p1_;
      p1_ = p;
      const __m128i low = low_.advance(broadcast<0>(dx));
      const __m128i high = high_.advance(broadcast<1>(dx));
      const __m128i halves = _mm_add_epi32(_mm_unpacklo_epi32(low, high), _mm_unpackhi_epi32(low, high));
      const __m128i sums = _mm_add_epi32(halves, _mm_shuffle_epi32(halves, 0x4e));
      sz_ = _mm_packs_epi32(sums, sums);
      s_ = _mm_adds_epi16(poles, sz_);  // PREDIC
    }

   private:
    static __m128i pair_of(int low, int high) noexcept {
      return _mm_cvtsi32_si128((low & 0xffff) | static_cast<int>(static_cast<unsigned>(high) << 16));
    }
    template <int lane>
    static __m128i broadcast(__m128i pair) noexcept {
      return _mm_shuffle_epi32(_mm_shufflelo_epi16(pair, lane * 0x55), 0);
    }
    static __m128i negative(__m128i value) noexcept { return _mm_srai_epi16(value, 15); }
    /// Negated where the mask is set; the least number becomes the greatest.
    static __m128i signed_by(__m128i value, __m128i mask) noexcept { return _mm_subs_epi16(_mm_xor_si128(value, mask), mask); }
    static __m128i clamped(__m128i value, __m128i bound) noexcept {
      return _mm_max_epi16(_mm_min_epi16(value, bound), _mm_sub_epi16(_mm_setzero_si128(), bound));
    }
    /// value * 32640 >> 15: less a 256th of it, rounded down
    static __m128i leaked(__m128i value) noexcept { return _mm_add_epi16(value, _mm_mulhi_epi16(value, _mm_set1_epi16(-256))); }

    class Zeros {
     public:
      /// UPZERO, DELAYA and FILTEZ; the sum is that of the four lanes.
      __m128i advance(__m128i dx) noexcept {
        const __m128i six = _mm_set_epi16(0, 0, 128, 128, 128, 128, 128, 128);
        const __m128i step = _mm_andnot_si128(_mm_cmpeq_epi16(dx, _mm_setzero_si128()), six);
        b_ = _mm_adds_epi16(leaked(b_), signed_by(step, negative(_mm_xor_si128(d_, dx))));
        d_ = _mm_or_si128(_mm_slli_si128(d_, 2), _mm_and_si128(dx, _mm_cvtsi32_si128(0xffff)));
        const __m128i twice = _mm_adds_epi16(d_, d_);
        const __m128i low = _mm_mullo_epi16(b_, twice);
        const __m128i high = _mm_mulhi_epi16(b_, twice);
        return _mm_add_epi32(_mm_srai_epi32(_mm_unpacklo_epi16(low, high), 15), _mm_srai_epi32(_mm_unpackhi_epi16(low, high), 15));
      }

     private:
      __m128i b_ = _mm_setzero_si128();
      __m128i d_ = _mm_setzero_si128();
    };

    Zeros low_;
    Zeros high_;
    __m128i s_ = _mm_setzero_si128();
    __m128i sz_ = _mm_setzero_si128();
    __m128i a1_ = _mm_setzero_si128();
    __m128i a2_ = _mm_setzero_si128();
    __m128i twice_r1_ = _mm_setzero_si128();
    __m128i p1_ = _mm_setzero_si128();
    __m128i p2_ = _mm_setzero_si128();
  };

  template <int shift>
  static void filter(const FilterPair& filters, const std::int16_t* pairs, Filtered& one, Filtered& other) noexcept {
    __m128i first = _mm_setzero_si128();
    __m128i second = _mm_setzero_si128();
    for (std::size_t i = 0; i < 12; ++i) {
      const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(pairs + 2 * i));
      first = _mm_add_epi32(first, _mm_madd_epi16(four, _mm_set1_epi32(std::bit_cast<int>(filters.one[i]))));
      second = _mm_add_epi32(second, _mm_madd_epi16(four, _mm_set1_epi32(std::bit_cast<int>(filters.other[i]))));
    }
    const __m128i both = _mm_packs_epi32(_mm_srai_epi32(first, shift), _mm_srai_epi32(second, shift));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(one.data()), both);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(other.data()), _mm_unpackhi_epi64(both, both));
  }
};

using Kernel = VectorKernel;

#else

using Kernel = PlainKernel;

#endif

}  // namespace sipfarm::codec::g722
