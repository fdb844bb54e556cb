#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "rtp/quality.hpp"
#include "rtp/reception.hpp"

namespace sipfarm::rtp {

/// How good one direction of a call was over a while.
struct QualitySlice {
  std::uint32_t start_ms = 0;      // of the call
  std::uint32_t length_ms = 0;
  float rating_mean = 0;
  float rating_min = 0;
  float loss = 0;                  // 0..1
  std::uint32_t jitter_us_max = 0;
  std::uint32_t round_trip_us_max = 0;

  /// The two as one, the earlier being this.
  QualitySlice joined(const QualitySlice& next) const noexcept;
};

/// The whole call in at most 64 slices: of five seconds at first; whenever they are full, neighbours become one and the next are twice
/// as long. So a call of an hour has slices of 80 s, and costs what one of five minutes does. Its worst five seconds are kept.
class QualityHistory {
 public:
  static constexpr std::size_t k_slices = 64;
  static constexpr std::uint32_t k_rated_ms = 5'000;

  void begin(std::int64_t now_us) noexcept { begun_us_ = rated_us_ = now_us; }

  std::int64_t next_deadline_us() const noexcept { return rated_us_ + std::int64_t{k_rated_ms} * 1'000; }
  /// At the deadline, or at the end of the call: what has come since the last time is rated. A while without packets is none.
  void take(const Reception& reception, const Impairment& codec, double packet_ms, std::uint32_t round_trip_us, std::int64_t now_us) noexcept;

  std::span<const QualitySlice> slices() const noexcept { return {slices_.data(), count_}; }
  /// Of the scale for MOS: wide as soon as a slice was. Ratings themselves stand on one axis, G.711 having 93 on both scales.
  Band band() const noexcept { return band_; }
  /// Over the whole call, each slice by its length; 0 before the first.
  double rating_mean() const noexcept;
  double rating_min() const noexcept;
  double mos_mean() const noexcept { return count_ == 0 ? 0 : mos(rating_mean(), band_); }
  double mos_min() const noexcept { return count_ == 0 ? 0 : mos(rating_min(), band_); }

 private:
  void append(const QualitySlice& rated) noexcept;
  void halve() noexcept;

  std::array<QualitySlice, k_slices> slices_{};
  std::size_t count_ = 0;
  std::uint32_t slice_ms_ = k_rated_ms;
  std::int64_t begun_us_ = 0;
  std::int64_t rated_us_ = 0;
  BurstGap::Sums before_;
  Band band_ = Band::narrow;
};

inline QualitySlice QualitySlice::joined(const QualitySlice& next) const noexcept {
  const float total = static_cast<float>(length_ms + next.length_ms);
  const float first = total > 0 ? static_cast<float>(length_ms) / total : 0.5F;
  const auto mixed = [first](float a, float b) { return a * first + b * (1 - first); };
  return {start_ms, length_ms + next.length_ms, mixed(rating_mean, next.rating_mean), std::min(rating_min, next.rating_min),
          mixed(loss, next.loss), std::max(jitter_us_max, next.jitter_us_max), std::max(round_trip_us_max, next.round_trip_us_max)};
}

inline void QualityHistory::take(const Reception& reception, const Impairment& codec, double packet_ms, std::uint32_t round_trip_us,
                                 std::int64_t now_us) noexcept {
  const auto start_ms = static_cast<std::uint32_t>((rated_us_ - begun_us_) / 1'000);
  const auto length_ms = static_cast<std::uint32_t>((now_us - begun_us_) / 1'000) - start_ms;
  rated_us_ = now_us;
  const BurstGap::Sums sums = reception.bursts();
  BurstGap::Sums since;  // the last 64 packets were counted as they were then: a late one makes a slice better, by one packet
  since.packets = sums.packets - std::min(sums.packets, before_.packets);
  since.lost = sums.lost - std::min(sums.lost, before_.lost);
  since.runs = sums.runs - std::min(sums.runs, before_.runs);
  before_ = sums;
  if (since.packets == 0) return;
  const double loss = static_cast<double>(since.lost) / static_cast<double>(since.packets);
  const double jitter_ms = reception.jitter_us() / 1'000.0;
  const double delay_ms = round_trip_us / 2'000.0 + assumed_buffer_ms(jitter_ms, packet_ms) + packet_ms;
  const auto rated = static_cast<float>(rating({codec, loss, since.burst_ratio(), delay_ms, 0}));
  if (codec.band == Band::wide) band_ = Band::wide;
  append({start_ms, length_ms, rated, rated, static_cast<float>(loss), reception.jitter_us(), round_trip_us});
}

inline void QualityHistory::append(const QualitySlice& rated) noexcept {
  if (count_ > 0) {
    QualitySlice& last = slices_[count_ - 1];
    if (last.start_ms + last.length_ms == rated.start_ms && last.length_ms + rated.length_ms / 2 <= slice_ms_) {
      last = last.joined(rated);
      return;
    }
  }
  if (count_ == k_slices) halve();
  slices_[count_++] = rated;
}

inline void QualityHistory::halve() noexcept {
  for (std::size_t i = 0; i < k_slices / 2; ++i) slices_[i] = slices_[2 * i].joined(slices_[2 * i + 1]);
  count_ = k_slices / 2;
  slice_ms_ *= 2;
}

inline double QualityHistory::rating_mean() const noexcept {
  double sum = 0;
  double length = 0;
  for (const QualitySlice& slice : slices()) {
    sum += static_cast<double>(slice.rating_mean) * slice.length_ms;
    length += slice.length_ms;
  }
  return length > 0 ? sum / length : 0;
}

inline double QualityHistory::rating_min() const noexcept {
  const auto worse = [](const QualitySlice& a, const QualitySlice& b) { return a.rating_min < b.rating_min; };
  return count_ == 0 ? 0 : static_cast<double>(std::min_element(slices_.begin(), slices_.begin() + static_cast<std::ptrdiff_t>(count_), worse)->rating_min);
}

}  // namespace sipfarm::rtp
