#include "rtp/rtcp.hpp"

#include <algorithm>
#include <array>

namespace sipfarm::rtp {
namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t k_header_bytes = 4;
constexpr std::size_t k_ssrc_bytes = 4;
constexpr std::size_t k_sender_info_bytes = 20;
constexpr std::size_t k_report_bytes = 24;
constexpr std::size_t k_reports_max = 31;
constexpr std::size_t k_text_max = 255;
constexpr std::size_t k_voip_metrics_bytes = 32;  // after the block's header
constexpr std::size_t k_dlrr_bytes = 12;
constexpr std::uint8_t k_cname = 1;

std::uint16_t read16(Bytes bytes, std::size_t at) noexcept { return static_cast<std::uint16_t>(bytes[at] << 8U | bytes[at + 1]); }

std::uint32_t read32(Bytes bytes, std::size_t at) noexcept {
  return std::uint32_t{read16(bytes, at)} << 16U | read16(bytes, at + 2);
}

std::uint64_t read64(Bytes bytes, std::size_t at) noexcept { return std::uint64_t{read32(bytes, at)} << 32U | read32(bytes, at + 4); }

std::string_view text(Bytes bytes) noexcept { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

/// Numbers in network order, one after another.
class Pen {
 public:
  explicit Pen(std::span<std::uint8_t> out) noexcept : out_{out} {}
  void u8(std::uint8_t value) noexcept { out_[at_++] = value; }
  void u16(std::uint16_t value) noexcept {
    u8(static_cast<std::uint8_t>(value >> 8U));
    u8(static_cast<std::uint8_t>(value));
  }
  void u32(std::uint32_t value) noexcept {
    u16(static_cast<std::uint16_t>(value >> 16U));
    u16(static_cast<std::uint16_t>(value));
  }
  void u64(std::uint64_t value) noexcept {
    u32(static_cast<std::uint32_t>(value >> 32U));
    u32(static_cast<std::uint32_t>(value));
  }
  void chars(std::string_view value) noexcept {
    for (const char each : value) u8(static_cast<std::uint8_t>(each));
  }

 private:
  std::span<std::uint8_t> out_;
  std::size_t at_ = 0;
};

constexpr std::size_t padded(std::size_t bytes) noexcept { return (bytes + 3) / 4 * 4; }

}  // namespace

// ---- reading

std::optional<RtcpPacket> RtcpReader::next() noexcept {
  if (rest_.empty() || malformed_) return std::nullopt;
  malformed_ = true;
  if (rest_.size() < k_header_bytes || rest_[0] >> 6U != 2 || rest_[1] < 192 || rest_[1] > 223) return std::nullopt;
  const std::size_t bytes = k_header_bytes * (std::size_t{read16(rest_, 2)} + 1);
  if (bytes > rest_.size()) return std::nullopt;
  std::size_t padding = 0;
  if ((rest_[0] & 0x20U) != 0) {  // on the last packet only (RFC 3550 §6.4.1)
    padding = rest_[bytes - 1];
    if (bytes != rest_.size() || padding == 0 || padding % 4 != 0 || padding > bytes - k_header_bytes) return std::nullopt;
  }
  malformed_ = false;
  const RtcpPacket packet{rest_.first(bytes), padding};
  rest_ = rest_.subspan(bytes);
  return packet;
}

bool is_rtcp(Bytes compound) noexcept {
  if (compound.empty()) return false;
  RtcpReader reader{compound};
  while (reader.next()) {
  }
  return !reader.malformed();
}

std::optional<std::uint32_t> RtcpPacket::ssrc() const noexcept {
  const bool nobody = type() == RtcpType::sdes || (type() == RtcpType::bye && count() == 0);
  if (nobody || body().size() < k_ssrc_bytes) return std::nullopt;
  return read32(body(), 0);
}

std::optional<SenderInfo> RtcpPacket::sender_info() const noexcept {
  if (type() != RtcpType::sr || body().size() < k_ssrc_bytes + k_sender_info_bytes) return std::nullopt;
  return SenderInfo{read64(body(), 4), read32(body(), 12), read32(body(), 16), read32(body(), 20)};
}

std::size_t RtcpPacket::report_count() const noexcept {
  if (type() != RtcpType::sr && type() != RtcpType::rr) return 0;
  const std::size_t before = k_ssrc_bytes + (type() == RtcpType::sr ? k_sender_info_bytes : 0);
  if (body().size() < before) return 0;
  return std::min<std::size_t>(count(), (body().size() - before) / k_report_bytes);
}

ReportBlock RtcpPacket::report(std::size_t index) const noexcept {
  const std::size_t before = k_ssrc_bytes + (type() == RtcpType::sr ? k_sender_info_bytes : 0);
  const Bytes block = body().subspan(before + index * k_report_bytes, k_report_bytes);
  const auto lost = static_cast<std::int32_t>(read32(block, 4) << 8U) >> 8;  // sign of 24 bit
  return {read32(block, 0), block[4], lost, read32(block, 8), read32(block, 12), read32(block, 16), read32(block, 20)};
}

std::size_t RtcpPacket::bye_count() const noexcept {
  return type() == RtcpType::bye ? std::min<std::size_t>(count(), body().size() / k_ssrc_bytes) : 0;
}

std::uint32_t RtcpPacket::bye_ssrc(std::size_t index) const noexcept { return read32(body(), index * k_ssrc_bytes); }

std::string_view RtcpPacket::bye_reason() const noexcept {
  const std::size_t at = std::size_t{count()} * k_ssrc_bytes;
  if (type() != RtcpType::bye || body().size() <= at) return {};
  const std::size_t length = body()[at];
  return at + 1 + length <= body().size() ? text(body().subspan(at + 1, length)) : std::string_view{};
}

SdesReader RtcpPacket::sdes() const noexcept {
  return type() == RtcpType::sdes ? SdesReader{body(), count()} : SdesReader{{}, 0};
}

XrReader RtcpPacket::xr() const noexcept {
  return XrReader{type() == RtcpType::xr && body().size() >= k_ssrc_bytes ? body().subspan(k_ssrc_bytes) : Bytes{}};
}

std::string_view RtcpPacket::app_name() const noexcept {
  return type() == RtcpType::app && body().size() >= 8 ? text(body().subspan(4, 4)) : std::string_view{};
}

bool SdesReader::begin_chunk() noexcept {
  if (chunks_left_ == 0 || rest_.size() < k_ssrc_bytes) return false;
  --chunks_left_;
  ssrc_ = read32(rest_, 0);
  rest_ = rest_.subspan(k_ssrc_bytes);
  in_chunk_ = k_ssrc_bytes;
  return true;
}

std::optional<SdesItem> SdesReader::next() noexcept {
  for (;;) {
    if (in_chunk_ == 0 && !begin_chunk()) return std::nullopt;
    if (rest_.empty()) return std::nullopt;
    if (rest_[0] == 0) {  // the end of the items, and padding to the next word (RFC 3550 §6.5)
      const std::size_t end = padded(in_chunk_ + 1) - in_chunk_;
      if (end > rest_.size()) return std::nullopt;
      rest_ = rest_.subspan(end);
      in_chunk_ = 0;
      continue;
    }
    if (rest_.size() < 2 || rest_.size() < 2 + std::size_t{rest_[1]}) return std::nullopt;
    const std::size_t bytes = 2 + std::size_t{rest_[1]};
    const SdesItem item{ssrc_, rest_[0], text(rest_.subspan(2, bytes - 2))};
    rest_ = rest_.subspan(bytes);
    in_chunk_ += bytes;
    return item;
  }
}

std::optional<XrBlock> XrReader::next() noexcept {
  if (rest_.size() < k_header_bytes) return std::nullopt;
  const std::size_t bytes = k_header_bytes * (std::size_t{read16(rest_, 2)} + 1);
  if (bytes > rest_.size()) return std::nullopt;
  const XrBlock block{rest_[0], rest_.subspan(k_header_bytes, bytes - k_header_bytes)};
  rest_ = rest_.subspan(bytes);
  return block;
}

std::optional<VoipMetrics> XrBlock::voip_metrics() const noexcept {
  if (type != static_cast<std::uint8_t>(XrType::voip_metrics) || body.size() != k_voip_metrics_bytes) return std::nullopt;
  VoipMetrics metrics;
  metrics.ssrc = read32(body, 0);
  metrics.loss_rate = body[4];
  metrics.discard_rate = body[5];
  metrics.burst_density = body[6];
  metrics.gap_density = body[7];
  metrics.burst_duration_ms = read16(body, 8);
  metrics.gap_duration_ms = read16(body, 10);
  metrics.round_trip_ms = read16(body, 12);
  metrics.end_system_delay_ms = read16(body, 14);
  metrics.signal_level_dbm = static_cast<std::int8_t>(body[16]);
  metrics.noise_level_dbm = static_cast<std::int8_t>(body[17]);
  metrics.residual_echo_return_loss_db = body[18];
  metrics.gap_threshold = body[19];
  metrics.r_factor = body[20];
  metrics.external_r_factor = body[21];
  metrics.mos_lq = body[22];
  metrics.mos_cq = body[23];
  metrics.receiver_config = body[24];
  metrics.jitter_buffer_nominal_ms = read16(body, 26);
  metrics.jitter_buffer_maximum_ms = read16(body, 28);
  metrics.jitter_buffer_absolute_maximum_ms = read16(body, 30);
  return metrics;
}

std::optional<std::uint64_t> XrBlock::reference_time() const noexcept {
  if (type != static_cast<std::uint8_t>(XrType::receiver_reference_time) || body.size() != 8) return std::nullopt;
  return read64(body, 0);
}

std::size_t XrBlock::dlrr_count() const noexcept {
  return type == static_cast<std::uint8_t>(XrType::dlrr) ? body.size() / k_dlrr_bytes : 0;
}

Dlrr XrBlock::dlrr(std::size_t index) const noexcept {
  const Bytes each = body.subspan(index * k_dlrr_bytes, k_dlrr_bytes);
  return {read32(each, 0), read32(each, 4), read32(each, 8)};
}

// ---- writing

std::span<std::uint8_t> RtcpWriter::begin(RtcpType type, std::size_t count, std::size_t bytes) noexcept {
  if (bytes > out_.size() - size_) {
    full_ = true;
    return {};
  }
  const std::span<std::uint8_t> packet = out_.subspan(size_, bytes);
  size_ += bytes;
  std::fill(packet.begin(), packet.end(), std::uint8_t{0});
  Pen pen{packet};
  pen.u8(static_cast<std::uint8_t>(0x80U | count));
  pen.u8(static_cast<std::uint8_t>(type));
  pen.u16(static_cast<std::uint16_t>(bytes / k_header_bytes - 1));
  return packet.subspan(k_header_bytes);
}

void RtcpWriter::report(std::uint32_t ssrc, const std::optional<SenderInfo>& info, std::span<const ReportBlock> blocks) noexcept {
  const std::span<const ReportBlock> taken = blocks.first(std::min(blocks.size(), k_reports_max));
  const std::size_t bytes = k_header_bytes + k_ssrc_bytes + (info ? k_sender_info_bytes : 0) + taken.size() * k_report_bytes;
  const std::span<std::uint8_t> body = begin(info ? RtcpType::sr : RtcpType::rr, taken.size(), bytes);
  if (body.empty()) return;
  Pen pen{body};
  pen.u32(ssrc);
  if (info) {
    pen.u64(info->ntp);
    pen.u32(info->rtp_timestamp);
    pen.u32(info->packets);
    pen.u32(info->octets);
  }
  for (const ReportBlock& block : taken) {
    pen.u32(block.ssrc);
    pen.u32(std::uint32_t{block.fraction_lost} << 24U | (static_cast<std::uint32_t>(block.cumulative_lost) & 0xff'ffffU));
    pen.u32(block.extended_highest_sequence);
    pen.u32(block.jitter);
    pen.u32(block.last_sr);
    pen.u32(block.delay_since_last_sr);
  }
}

void RtcpWriter::sdes_cname(std::uint32_t ssrc, std::string_view cname) noexcept {
  const std::string_view taken = cname.substr(0, k_text_max);
  const std::span<std::uint8_t> body = begin(RtcpType::sdes, 1, padded(k_header_bytes + k_ssrc_bytes + 2 + taken.size() + 1));
  if (body.empty()) return;
  Pen pen{body};
  pen.u32(ssrc);
  pen.u8(k_cname);
  pen.u8(static_cast<std::uint8_t>(taken.size()));
  pen.chars(taken);
}

void RtcpWriter::bye(std::uint32_t ssrc, std::string_view reason) noexcept {
  const std::string_view taken = reason.substr(0, k_text_max);
  const std::size_t reason_bytes = taken.empty() ? 0 : padded(1 + taken.size());
  const std::span<std::uint8_t> body = begin(RtcpType::bye, 1, k_header_bytes + k_ssrc_bytes + reason_bytes);
  if (body.empty()) return;
  Pen pen{body};
  pen.u32(ssrc);
  if (taken.empty()) return;
  pen.u8(static_cast<std::uint8_t>(taken.size()));
  pen.chars(taken);
}

void RtcpWriter::xr_voip_metrics(std::uint32_t ssrc, const VoipMetrics& metrics) noexcept {
  const std::span<std::uint8_t> body = begin(RtcpType::xr, 0, k_header_bytes + k_ssrc_bytes + k_header_bytes + k_voip_metrics_bytes);
  if (body.empty()) return;
  Pen pen{body};
  pen.u32(ssrc);
  pen.u8(static_cast<std::uint8_t>(XrType::voip_metrics));
  pen.u8(0);
  pen.u16(k_voip_metrics_bytes / 4);
  pen.u32(metrics.ssrc);
  for (const std::uint8_t rate : {metrics.loss_rate, metrics.discard_rate, metrics.burst_density, metrics.gap_density}) pen.u8(rate);
  for (const std::uint16_t time : {metrics.burst_duration_ms, metrics.gap_duration_ms, metrics.round_trip_ms, metrics.end_system_delay_ms}) {
    pen.u16(time);
  }
  pen.u8(static_cast<std::uint8_t>(metrics.signal_level_dbm));
  pen.u8(static_cast<std::uint8_t>(metrics.noise_level_dbm));
  for (const std::uint8_t value : {metrics.residual_echo_return_loss_db, metrics.gap_threshold, metrics.r_factor,
                                   metrics.external_r_factor, metrics.mos_lq, metrics.mos_cq, metrics.receiver_config}) {
    pen.u8(value);
  }
  pen.u8(0);
  pen.u16(metrics.jitter_buffer_nominal_ms);
  pen.u16(metrics.jitter_buffer_maximum_ms);
  pen.u16(metrics.jitter_buffer_absolute_maximum_ms);
}

void RtcpWriter::xr_reference_time(std::uint32_t ssrc, std::uint64_t ntp) noexcept {
  const std::span<std::uint8_t> body = begin(RtcpType::xr, 0, k_header_bytes + k_ssrc_bytes + k_header_bytes + 8);
  if (body.empty()) return;
  Pen pen{body};
  pen.u32(ssrc);
  pen.u8(static_cast<std::uint8_t>(XrType::receiver_reference_time));
  pen.u8(0);
  pen.u16(2);
  pen.u64(ntp);
}

void RtcpWriter::xr_dlrr(std::uint32_t ssrc, const Dlrr& dlrr) noexcept {
  const std::span<std::uint8_t> body = begin(RtcpType::xr, 0, k_header_bytes + k_ssrc_bytes + k_header_bytes + k_dlrr_bytes);
  if (body.empty()) return;
  Pen pen{body};
  pen.u32(ssrc);
  pen.u8(static_cast<std::uint8_t>(XrType::dlrr));
  pen.u8(0);
  pen.u16(k_dlrr_bytes / 4);
  pen.u32(dlrr.ssrc);
  pen.u32(dlrr.last_rr);
  pen.u32(dlrr.delay_since_last_rr);
}

void RtcpWriter::copy(std::span<const std::uint8_t> packet) noexcept {
  if (packet.size() > out_.size() - size_) {
    full_ = true;
    return;
  }
  std::copy(packet.begin(), packet.end(), out_.begin() + static_cast<std::ptrdiff_t>(size_));
  size_ += packet.size();
}

}  // namespace sipfarm::rtp
