#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace sipfarm::audio {

/// How late packets come compared to the fastest of the last seconds, and the delay that would have let nearly all of them
/// be in time. Transit is arrival minus media time: its zero means nothing, only differences count.
class DelayEstimate {
 public:
  static constexpr std::int64_t k_window_us = 4'000'000;  // the fastest packet is remembered for one to two of these
  static constexpr std::int64_t k_bin_us = 5'000;
  static constexpr double k_in_time = 0.98;
  static constexpr double k_half_life_packets = 250;
  static constexpr int k_shifted = 5;  // as many packets in a row beyond the maximum: the path has become longer

  DelayEstimate(std::int64_t max_us, std::int64_t initial_us)
      : max_us_{max_us}, initial_us_{initial_us}, bins_(static_cast<std::size_t>(max_us / k_bin_us) + 1) {}

  void receive(std::int64_t transit_us, std::int64_t arrival_us) noexcept {
    find_base(transit_us, arrival_us);
    const std::int64_t late_us = transit_us - base_us();
    if (late_us > max_us_ && ++shifted_ >= k_shifted) {
      restart_base(transit_us, arrival_us);
    } else if (late_us <= max_us_) {
      shifted_ = 0;
    }
    count(late_us);
  }

  /// The fastest transit.
  std::int64_t base_us() const noexcept { return std::min(now_us_, before_us_); }
  std::int64_t needed_us() const noexcept { return needed_us_; }
  std::int64_t max_us() const noexcept { return max_us_; }

  /// Another source: its media time starts anywhere, the path is most likely as it was.
  void restart() noexcept { now_us_ = before_us_ = k_unknown; }
  void reset() noexcept {
    restart();
    std::fill(bins_.begin(), bins_.end(), 0.0);
    weight_ = 1.0;
    total_ = 0.0;
    packets_ = 0;
    needed_us_ = initial_us_;
  }

 private:
  static constexpr std::int64_t k_unknown = std::numeric_limits<std::int64_t>::max();
  static constexpr std::int64_t k_settled_packets = 50;  // until then it is not taken below the initial one

  void find_base(std::int64_t transit_us, std::int64_t arrival_us) noexcept {
    if (now_us_ == k_unknown) return restart_base(transit_us, arrival_us);
    if (arrival_us - window_since_us_ > k_window_us) {
      before_us_ = now_us_;
      now_us_ = transit_us;
      window_since_us_ = arrival_us;
    }
    now_us_ = std::min(now_us_, transit_us);
  }

  void restart_base(std::int64_t transit_us, std::int64_t arrival_us) noexcept {
    now_us_ = before_us_ = transit_us;
    window_since_us_ = arrival_us;
    shifted_ = 0;
  }

  /// A histogram that forgets: instead of all bins shrinking, what is added grows.
  void count(std::int64_t late_us) noexcept {
    const auto bin = static_cast<std::size_t>(std::clamp<std::int64_t>(late_us, 0, max_us_) / k_bin_us);
    bins_[bin] += weight_;
    total_ += weight_;
    weight_ *= k_growth;
    ++packets_;
    if (weight_ > 1e12) rescale();
    std::size_t above = bins_.size();
    for (double later = 0.0; above > 1 && later + bins_[above - 1] <= total_ * (1.0 - k_in_time);) later += bins_[--above];
    needed_us_ = static_cast<std::int64_t>(above) * k_bin_us;
    if (packets_ < k_settled_packets) needed_us_ = std::max(needed_us_, initial_us_);
  }

  void rescale() noexcept {
    for (double& bin : bins_) bin /= weight_;
    total_ /= weight_;
    weight_ = 1.0;
  }

  static constexpr double k_growth = 1.0 + 0.693 / k_half_life_packets;

  std::int64_t max_us_;
  std::int64_t initial_us_;
  std::int64_t now_us_ = k_unknown;     // of this window
  std::int64_t before_us_ = k_unknown;  // of the one before
  std::int64_t window_since_us_ = 0;
  int shifted_ = 0;
  std::vector<double> bins_;
  double weight_ = 1.0;
  double total_ = 0.0;
  std::int64_t packets_ = 0;
  std::int64_t needed_us_ = initial_us_;
};

}  // namespace sipfarm::audio
