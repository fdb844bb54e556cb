#include "rtp/rtcp_relay.hpp"

namespace sipfarm::rtp {
namespace {

bool goes_on(const RtcpPacket& packet, std::uint32_t own_ssrc) noexcept {
  switch (packet.type()) {
    case RtcpType::sr:
    case RtcpType::rr:
    case RtcpType::xr:
      return false;
    case RtcpType::rtpfb:
    case RtcpType::psfb: {  // the source that it is about stands behind the sender (RFC 4585 §6.1)
      const std::span<const std::uint8_t> body = packet.body();
      if (body.size() < 8) return false;
      const std::uint32_t media = std::uint32_t{body[4]} << 24U | std::uint32_t{body[5]} << 16U | std::uint32_t{body[6]} << 8U | body[7];
      return media != own_ssrc;
    }
    default:
      return true;
  }
}

}  // namespace

std::size_t translate_rtcp(std::span<const std::uint8_t> compound, std::uint32_t own_ssrc, std::uint32_t sender_ssrc,
                           std::span<std::uint8_t> out) noexcept {
  if (!is_rtcp(compound)) return 0;
  RtcpWriter writer{out};
  writer.report(sender_ssrc, std::nullopt, {});
  const std::size_t nothing = writer.size();
  RtcpReader reader{compound};
  while (const std::optional<RtcpPacket> packet = reader.next()) {
    if (goes_on(*packet, own_ssrc)) writer.copy(packet->bytes());
  }
  return writer.size() == nothing || writer.full() ? 0 : writer.size();
}

bool RtcpWatch::pass(From from, std::span<const std::uint8_t> compound, std::int64_t now_us) noexcept {
  if (!is_rtcp(compound)) return false;
  End& sender = ends_[static_cast<std::size_t>(from)];
  End& receiver = ends_[1 - static_cast<std::size_t>(from)];
  RtcpReader reader{compound};
  while (const std::optional<RtcpPacket> packet = reader.next()) {
    if (const std::optional<SenderInfo> info = packet->sender_info()) receiver.round_trip.left(ntp_middle(info->ntp), now_us);
    for (std::size_t i = 0; i < packet->report_count(); ++i) {
      const ReportBlock block = packet->report(i);
      sender.reported.at_us = now_us;
      sender.reported.block = block;
      sender.round_trip.answered(block.last_sr, block.delay_since_last_sr, now_us);
    }
    XrReader blocks = packet->xr();
    while (const std::optional<XrBlock> block = blocks.next()) {
      if (const auto reference = block->reference_time()) receiver.round_trip.left(ntp_middle(*reference), now_us);
      for (std::size_t i = 0; i < block->dlrr_count(); ++i) {
        sender.round_trip.answered(block->dlrr(i).last_rr, block->dlrr(i).delay_since_last_rr, now_us);
      }
      if (const auto metrics = block->voip_metrics()) sender.reported.voip_metrics = metrics;
    }
  }
  return true;
}

}  // namespace sipfarm::rtp
