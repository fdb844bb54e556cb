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

struct PlainKernel {
  /// UPZERO, DELAYA and FILTEZ of block 4.
  class Zeros {
   public:
    /// Takes the quantised difference; what the six zeros predict then.
    int advance(int dx) noexcept {
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

   private:
    std::array<int, 6> b_{};
    std::array<int, 6> d_{};
  };

  /// How many decision levels a magnitude reaches at a step size.
  static int levels_reached(int magnitude, int step) noexcept {
    int reached = 0;
    for (std::size_t i = 0; i < k_levels_reached_max; ++i) reached += magnitude >= (k_levels[i] * step >> 16) ? 1 : 0;
    return reached;
  }

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
  /// The six zeros in lanes 0 to 5.
  class Zeros {
   public:
    int advance(int dx) noexcept {
      const __m128i all = _mm_set1_epi16(static_cast<short>(dx));
      const __m128i steps = _mm_andnot_si128(_mm_cmpeq_epi16(all, _mm_setzero_si128()), _mm_set_epi16(0, 0, 128, 128, 128, 128, 128, 128));
      const __m128i differ = _mm_srai_epi16(_mm_xor_si128(d_, all), 15);
      const __m128i change = _mm_sub_epi16(_mm_xor_si128(steps, differ), differ);
      // b * 32640 >> 15 is b less a 256th of it, rounded down
      const __m128i leaked = _mm_add_epi16(b_, _mm_mulhi_epi16(b_, _mm_set1_epi16(-256)));
      b_ = _mm_adds_epi16(leaked, change);
      d_ = _mm_insert_epi16(_mm_slli_si128(d_, 2), dx, 0);
      const __m128i twice = _mm_adds_epi16(d_, d_);
      const __m128i low = _mm_mullo_epi16(b_, twice);
      const __m128i high = _mm_mulhi_epi16(b_, twice);
      __m128i sum = _mm_add_epi32(_mm_srai_epi32(_mm_unpacklo_epi16(low, high), 15), _mm_srai_epi32(_mm_unpackhi_epi16(low, high), 15));
      sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
      sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
      return saturated(_mm_cvtsi128_si32(sum));
    }

   private:
    __m128i b_ = _mm_setzero_si128();
    __m128i d_ = _mm_setzero_si128();
  };

  static int levels_reached(int magnitude, int step) noexcept {
    const __m128i steps = _mm_set1_epi16(static_cast<short>(step));
    const __m128i all = _mm_set1_epi16(static_cast<short>(magnitude));
    const auto above = [&](std::size_t i) {
      const __m128i levels = _mm_load_si128(reinterpret_cast<const __m128i*>(k_levels.data() + 8 * i));
      return _mm_cmpgt_epi16(_mm_mulhi_epu16(levels, steps), all);
    };
    const auto lower = static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(above(0), above(1))));
    const auto upper = static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(above(2), above(3))));
    return std::countr_zero(lower | upper << 16 | 1U << k_levels_reached_max);
  }

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
