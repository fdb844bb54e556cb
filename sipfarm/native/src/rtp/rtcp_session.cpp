#include "rtp/rtcp_session.hpp"

#include <algorithm>
#include <cstring>

namespace sipfarm::rtp {
namespace {

constexpr std::int64_t k_second_us = 1'000'000;
constexpr std::int64_t k_interval_min_us = 5 * k_second_us;  // RFC 3550 §6.2
constexpr double k_compensation = 2.718281828459045 - 1.5;   // §6.3.1: reconsideration lets fewer pass
constexpr std::uint32_t k_udp_bytes = 28;
constexpr std::size_t k_members = 2;

}  // namespace

RtcpSession::RtcpSession(const RtcpConfig& config, const PayloadClocks& clocks, std::int64_t now_us, double random) noexcept
    : config_{config}, reception_{clocks}, last_report_us_{now_us}, report_before_us_{now_us}, next_us_{now_us + interval_us(random)} {}

void RtcpSession::set_clocks(const PayloadClocks& clocks, std::uint32_t own_clock_rate_hz) noexcept {
  reception_.set_clocks(clocks);
  config_.clock_rate_hz = own_clock_rate_hz;
}

void RtcpSession::sent(std::uint32_t rtp_timestamp, std::size_t octets, std::int64_t now_us) noexcept {
  ++packets_sent_;
  octets_sent_ += octets;
  last_timestamp_ = rtp_timestamp;
  last_sent_us_ = now_us;
}

std::uint64_t RtcpSession::ntp(std::int64_t now_us) const noexcept {
  const auto us = static_cast<std::uint64_t>(now_us);
  const std::uint64_t fraction = (us % k_second_us << 32U) / k_second_us;
  return config_.ntp_origin + ((us / k_second_us << 32U) | fraction);
}

/// In 1/65536 s.
std::uint32_t RtcpSession::since(const Echo& echo, std::int64_t now_us) noexcept {
  if (echo.at_us < 0 || now_us <= echo.at_us) return 0;
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(now_us - echo.at_us) << 16U) / k_second_us);
}

/// RFC 3550 §6.3.1 for the two members that a call has: what is fewer than five seconds, its bandwidth never asks for.
std::int64_t RtcpSession::interval_us(double random) const noexcept {
  const double octets_per_s = std::max(1.0, static_cast<double>(config_.bandwidth_bits_per_s) / 8.0);
  const double by_bandwidth_us = static_cast<double>(k_second_us) * k_members * mean_bytes_scaled_ / 16.0 / octets_per_s;
  double minimum_us = static_cast<double>(k_interval_min_us);
  if (config_.reduced_minimum) {
    const double session_kbit_per_s = static_cast<double>(config_.bandwidth_bits_per_s) * 20.0 / 1'000.0;
    minimum_us = std::min(minimum_us, 360.0 / std::max(session_kbit_per_s, 1.0) * static_cast<double>(k_second_us));
  }
  if (initial_) minimum_us /= 2;
  return static_cast<std::int64_t>(std::max(minimum_us, by_bandwidth_us) * (0.5 + std::clamp(random, 0.0, 1.0)) / k_compensation);
}

RtcpSession::Heard RtcpSession::received(std::span<const std::uint8_t> compound, std::int64_t now_us) noexcept {
  Heard heard;
  if (!is_rtcp(compound)) return heard;
  heard.valid = true;
  mean_bytes_scaled_ += static_cast<std::uint32_t>(compound.size()) + k_udp_bytes - mean_bytes_scaled_ / 16;
  RtcpReader reader{compound};
  while (const std::optional<RtcpPacket> packet = reader.next()) {
    if (packet->ssrc() == config_.ssrc) continue;  // our own, come back
    if (const std::optional<SenderInfo> info = packet->sender_info()) last_sr_ = {*packet->ssrc(), ntp_middle(info->ntp), now_us};
    hear_blocks(*packet, now_us, heard);
    hear_extended(*packet, now_us, heard);
    for (std::size_t i = 0; i < packet->bye_count(); ++i) heard.bye |= !reception_.heard() || packet->bye_ssrc(i) == reception_.ssrc();
  }
  return heard;
}

void RtcpSession::hear_blocks(const RtcpPacket& packet, std::int64_t now_us, Heard& heard) noexcept {
  for (std::size_t i = 0; i < packet.report_count(); ++i) {
    const ReportBlock block = packet.report(i);
    if (block.ssrc != config_.ssrc) continue;
    remote_report_ = {now_us, block};
    heard.reported = true;
    if (const auto round_trip = round_trip_.answered(block.last_sr, block.delay_since_last_sr, now_us)) heard.round_trip_us = round_trip;
  }
}

void RtcpSession::hear_extended(const RtcpPacket& packet, std::int64_t now_us, Heard& heard) noexcept {
  XrReader reader = packet.xr();
  while (const std::optional<XrBlock> block = reader.next()) {
    if (const auto reference = block->reference_time()) last_rr_ = {packet.ssrc().value_or(0), ntp_middle(*reference), now_us};
    for (std::size_t i = 0; i < block->dlrr_count(); ++i) {
      const Dlrr dlrr = block->dlrr(i);
      if (dlrr.ssrc != config_.ssrc) continue;
      if (const auto round_trip = round_trip_.answered(dlrr.last_rr, dlrr.delay_since_last_rr, now_us)) heard.round_trip_us = round_trip;
    }
    const std::optional<VoipMetrics> metrics = block->voip_metrics();
    if (metrics && metrics->ssrc == config_.ssrc) heard.voip_metrics = metrics;
  }
}

void RtcpSession::write_report(RtcpWriter& writer, std::int64_t now_us) noexcept {
  std::optional<SenderInfo> info;
  if (last_sent_us_ >= 0 && last_sent_us_ >= report_before_us_) {  // RTP time of now, not of the last packet (§6.4.1)
    const auto ticks = static_cast<std::uint32_t>(static_cast<std::uint64_t>(now_us - last_sent_us_) * config_.clock_rate_hz / k_second_us);
    info = SenderInfo{ntp(now_us), last_timestamp_ + ticks, static_cast<std::uint32_t>(packets_sent_), static_cast<std::uint32_t>(octets_sent_)};
    round_trip_.left(ntp_middle(info->ntp), now_us);
  }
  std::array<ReportBlock, 1> blocks;
  const std::uint64_t total = reception_.totals().received;
  const bool heard = total != reported_received_;  // since the last report (§6.4)
  reported_received_ = total;
  if (heard) {
    blocks[0] = reception_.report();
    if (last_sr_.at_us >= 0 && last_sr_.ssrc == blocks[0].ssrc) {
      blocks[0].last_sr = last_sr_.ntp_middle;
      blocks[0].delay_since_last_sr = since(last_sr_, now_us);
    }
  }
  writer.report(config_.ssrc, info, std::span{blocks}.first(heard ? 1 : 0));
  writer.sdes_cname(config_.ssrc, std::string_view{config_.cname.data(), ::strnlen(config_.cname.data(), config_.cname.size())});
  if (!config_.extended) return;
  if (!info) {  // who does not send learns the round trip by its own reference time
    writer.xr_reference_time(config_.ssrc, ntp(now_us));
    round_trip_.left(ntp_middle(ntp(now_us)), now_us);
  }
  if (last_rr_.at_us >= 0) writer.xr_dlrr(config_.ssrc, {last_rr_.ssrc, last_rr_.ntp_middle, since(last_rr_, now_us)});
}

std::size_t RtcpSession::expire(std::int64_t now_us, double random, std::span<std::uint8_t> out, const VoipMetrics* metrics) noexcept {
  if (now_us < next_us_) return 0;
  const std::int64_t reconsidered_us = last_report_us_ + interval_us(random);  // §6.3.6
  if (now_us < reconsidered_us) {
    next_us_ = reconsidered_us;
    return 0;
  }
  RtcpWriter writer{out};
  write_report(writer, now_us);
  if (config_.extended && metrics != nullptr) writer.xr_voip_metrics(config_.ssrc, *metrics);
  mean_bytes_scaled_ += static_cast<std::uint32_t>(writer.size()) + k_udp_bytes - mean_bytes_scaled_ / 16;
  initial_ = false;
  report_before_us_ = last_report_us_;
  last_report_us_ = now_us;
  next_us_ = now_us + interval_us(random);
  return writer.size();
}

std::size_t RtcpSession::bye(std::int64_t now_us, std::string_view reason, std::span<std::uint8_t> out) noexcept {
  RtcpWriter writer{out};
  write_report(writer, now_us);
  writer.bye(config_.ssrc, reason);
  return writer.size();
}

}  // namespace sipfarm::rtp
