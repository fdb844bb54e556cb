#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "rtp/rtcp.hpp"

namespace sipfarm::rtp {

/// The way to an end and back, from the reports that pass here towards it and its answers (RFC 3550 §6.4.1, figure 2).
/// What passes may be our own report or one that is relayed: all that counts is when it left here.
class RoundTrip {
 public:
  /// A report left towards the end: the middle of its NTP timestamp.
  void left(std::uint32_t ntp_middle, std::int64_t now_us) noexcept {
    sent_[next_++ % sent_.size()] = {ntp_middle, now_us};
  }

  /// A block (or DLRR) of the end came: nothing if it answers none of the last four reports.
  std::optional<std::int64_t> answered(std::uint32_t last, std::uint32_t delay_since, std::int64_t now_us) noexcept {
    if (last == 0) return std::nullopt;
    for (const Sent& sent : sent_) {
      if (sent.at_us < 0 || sent.ntp_middle != last) continue;
      const auto held_us = static_cast<std::int64_t>(std::uint64_t{delay_since} * 1'000'000U >> 16U);
      const std::int64_t round_trip_us = now_us - sent.at_us - held_us;
      if (round_trip_us < -k_slack_us || round_trip_us > k_longest_us) return std::nullopt;  // clocks that run apart, or a lie
      latest_us_ = round_trip_us < 0 ? 0 : round_trip_us;
      smooth_us_ = count_++ == 0 ? *latest_us_ : smooth_us_ + (*latest_us_ - smooth_us_) / 8;
      return latest_us_;
    }
    return std::nullopt;
  }

  std::optional<std::int64_t> latest_us() const noexcept { return latest_us_; }
  std::int64_t smooth_us() const noexcept { return smooth_us_; }  // 0 before the first
  std::uint64_t count() const noexcept { return count_; }

 private:
  struct Sent {
    std::uint32_t ntp_middle = 0;
    std::int64_t at_us = -1;
  };
  static constexpr std::int64_t k_slack_us = 1'000;  // DLSR and LSR are of 15 us, a loopback's way is shorter
  static constexpr std::int64_t k_longest_us = 30'000'000;

  std::array<Sent, 4> sent_{};
  std::size_t next_ = 0;
  std::optional<std::int64_t> latest_us_;
  std::int64_t smooth_us_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace sipfarm::rtp
