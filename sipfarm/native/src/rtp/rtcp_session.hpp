#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "rtp/reception.hpp"
#include "rtp/round_trip.hpp"
#include "rtp/rtcp.hpp"

namespace sipfarm::rtp {

struct RtcpConfig {
  std::uint32_t ssrc = 0;
  std::array<char, 64> cname{};            // up to its first zero
  std::uint32_t bandwidth_bits_per_s = 4'000;  // of RTCP: 5 % of the session's (RFC 3550 §6.2)
  std::uint32_t clock_rate_hz = 8'000;     // of what we send
  std::uint64_t ntp_origin = 0;            // what the wall clock showed when now_us was 0; later steps of it are not heeded
  bool reduced_minimum = false;            // 360 s over the session's kbit/s in place of five seconds (RFC 3550 §6.2)
  bool extended = false;                   // a=rtcp-xr: voip-metrics and rcvr-rtt (RFC 3611 §5)
};

/// What a far end last said of what it hears from us.
struct RemoteReport {
  std::int64_t at_us = -1;                 // -1: never
  ReportBlock block;
};

/// RTCP of one end of a stream that we ourselves send to and hear: when to report, what, and what was reported (RFC 3550 §6). No clock and
/// no socket; times are of one monotonic clock. Allocates nothing.
class RtcpSession {
 public:
  static constexpr std::size_t k_compound_bytes_max = 512;

  /// Of a compound that came.
  struct Heard {
    bool valid = false;
    bool bye = false;                      // of the source that we hear, or all we know
    std::optional<std::int64_t> round_trip_us;
    bool reported = false;                 // remote_report() is new
    std::optional<VoipMetrics> voip_metrics;  // of what it hears from us
  };

  /// `random` is in 0..1, as everywhere below: it spreads reports of many streams (RFC 3550 §6.3.1).
  RtcpSession(const RtcpConfig& config, const PayloadClocks& clocks, std::int64_t now_us, double random) noexcept;

  /// A packet of RTP was sent. `octets` are those of its payload.
  void sent(std::uint32_t rtp_timestamp, std::size_t octets, std::int64_t now_us) noexcept;
  /// A packet of RTP came.
  Reception::Verdict received(const Reception::Packet& packet, std::int64_t now_us) noexcept { return reception_.receive(packet, now_us); }
  /// A compound came.
  Heard received(std::span<const std::uint8_t> compound, std::int64_t now_us) noexcept;

  std::int64_t next_deadline_us() const noexcept { return next_us_; }
  /// Bytes of the compound that is due, written to `out` (k_compound_bytes_max is always enough); 0: nothing is due.
  std::size_t expire(std::int64_t now_us, double random, std::span<std::uint8_t> out, const VoipMetrics* metrics = nullptr) noexcept;
  /// The last compound: a report and a BYE.
  std::size_t bye(std::int64_t now_us, std::string_view reason, std::span<std::uint8_t> out) noexcept;

  void set_clocks(const PayloadClocks& clocks, std::uint32_t own_clock_rate_hz) noexcept;

  const Reception& reception() const noexcept { return reception_; }
  const RoundTrip& round_trip() const noexcept { return round_trip_; }
  const RemoteReport& remote_report() const noexcept { return remote_report_; }
  std::uint32_t ssrc() const noexcept { return config_.ssrc; }
  std::uint64_t packets_sent() const noexcept { return packets_sent_; }

 private:
  /// What the far end said about its own clock, to be told back to it.
  struct Echo {
    std::uint32_t ssrc = 0;
    std::uint32_t ntp_middle = 0;
    std::int64_t at_us = -1;
  };

  std::uint64_t ntp(std::int64_t now_us) const noexcept;
  static std::uint32_t since(const Echo& echo, std::int64_t now_us) noexcept;
  std::int64_t interval_us(double random) const noexcept;
  void write_report(RtcpWriter& writer, std::int64_t now_us) noexcept;
  void hear_blocks(const RtcpPacket& packet, std::int64_t now_us, Heard& heard) noexcept;
  void hear_extended(const RtcpPacket& packet, std::int64_t now_us, Heard& heard) noexcept;

  RtcpConfig config_;
  Reception reception_;
  RoundTrip round_trip_;
  RemoteReport remote_report_;
  Echo last_sr_;
  Echo last_rr_;                           // receiver reference time (RFC 3611 §4.4)
  std::uint64_t packets_sent_ = 0;
  std::uint64_t octets_sent_ = 0;
  std::uint32_t last_timestamp_ = 0;
  std::int64_t last_sent_us_ = -1;
  std::uint64_t reported_received_ = 0;    // by the last report
  std::int64_t last_report_us_;
  std::int64_t report_before_us_;          // the one before the last: who sent since then is a sender (RFC 3550 §6.3.8)
  bool initial_ = true;
  std::uint32_t mean_bytes_scaled_ = 16 * 128;  // avg_rtcp_size with UDP and IP, times 16
  std::int64_t next_us_;                   // last: what is above says when
};

}  // namespace sipfarm::rtp
