#pragma once

#include <cstdint>

namespace sipfarm::rtp {

/// Losses shared out to bursts and gaps (RFC 3611 §4.7.2): a burst begins and ends with a loss and has no Gmin packets in a row
/// between that came; a loss alone between such rows belongs to a gap.
class BurstGap {
 public:
  static constexpr std::uint32_t k_gap_threshold = 16;  // Gmin

  struct Sums {
    std::uint64_t packets = 0;
    std::uint64_t lost = 0;
    std::uint64_t bursts = 0;
    std::uint64_t burst_packets = 0;
    std::uint64_t burst_lost = 0;

    std::uint64_t gap_packets() const noexcept { return packets - burst_packets; }
    std::uint64_t gap_lost() const noexcept { return lost - burst_lost; }
    /// Stretches before, between and after the bursts.
    std::uint64_t gaps() const noexcept { return bursts + 1; }
    /// How much longer losses last in a row than they would by chance (BurstR of G.107).
    double burst_ratio() const noexcept;

    std::uint64_t runs = 0;  // of losses in a row
  };

  void came(std::uint32_t count = 1) noexcept {
    sums_.packets += count;
    came_in_row_ += count;
    lost_last_ = false;
    if (came_in_row_ >= k_gap_threshold) end_burst();
  }

  void lost(std::uint32_t count = 1) noexcept {
    if (count == 0) return;
    sums_.packets += count;
    sums_.lost += count;
    if (!lost_last_) ++sums_.runs;
    lost_last_ = true;
    open_packets_ += count + (open_lost_ == 0 ? 0 : came_in_row_);
    open_lost_ += count;
    came_in_row_ = 0;
  }

  /// As if the stream ended here.
  Sums sums() const noexcept {
    BurstGap ended = *this;
    ended.end_burst();
    return ended.sums_;
  }

 private:
  void end_burst() noexcept {
    if (open_lost_ > 1) {
      ++sums_.bursts;
      sums_.burst_packets += open_packets_;
      sums_.burst_lost += open_lost_;
    }
    open_packets_ = open_lost_ = 0;
  }

  Sums sums_;
  std::uint64_t open_packets_ = 0;  // of what may become a burst: from its first loss to its last
  std::uint64_t open_lost_ = 0;
  std::uint64_t came_in_row_ = 0;
  bool lost_last_ = false;
};

inline double BurstGap::Sums::burst_ratio() const noexcept {
  if (runs == 0 || lost >= packets) return 1.0;
  const double mean_run = static_cast<double>(lost) / static_cast<double>(runs);
  const double by_chance = 1.0 / (1.0 - static_cast<double>(lost) / static_cast<double>(packets));
  return mean_run > by_chance ? mean_run / by_chance : 1.0;
}

}  // namespace sipfarm::rtp
