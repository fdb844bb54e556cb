#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "rtp/round_trip.hpp"
#include "rtp/rtcp.hpp"

namespace sipfarm::rtp {

/// What of a compound goes on where media are encoded anew (RFC 3550 §7.2, a translator that changes the count of packets). Its reports are
/// about streams that end here: ours answer them, so SR, RR and XR go no further, nor what names `own_ssrc`. SDES, BYE, APP and feedback
/// go on behind an empty RR of `sender_ssrc`. Returns bytes written to `out`, which must have room for 8 more than came; 0: nothing goes on.
/// Where media are relayed as they are, so is RTCP: nothing is called then but RtcpWatch.
std::size_t translate_rtcp(std::span<const std::uint8_t> compound, std::uint32_t own_ssrc, std::uint32_t sender_ssrc,
                           std::span<std::uint8_t> out) noexcept;

/// Listens to RTCP that is relayed untouched, and learns from it what each end hears of the other and how far away each is.
class RtcpWatch {
 public:
  enum class From : std::uint8_t { a = 0, b = 1 };

  /// What an end says of what it hears from the other, through us.
  struct Reported {
    std::int64_t at_us = -1;  // -1: never
    ReportBlock block;
    std::optional<VoipMetrics> voip_metrics;
  };

  /// A compound passes. False: it is none, and nothing was learned.
  bool pass(From from, std::span<const std::uint8_t> compound, std::int64_t now_us) noexcept;

  const Reported& reported_by(From end) const noexcept { return ends_[static_cast<std::size_t>(end)].reported; }
  /// Between us and that end.
  const RoundTrip& round_trip_to(From end) const noexcept { return ends_[static_cast<std::size_t>(end)].round_trip; }

 private:
  struct End {
    Reported reported;
    RoundTrip round_trip;
  };

  std::array<End, 2> ends_;
};

}  // namespace sipfarm::rtp
