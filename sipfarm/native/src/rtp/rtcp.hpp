#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace sipfarm::rtp {

/// RTCP packet types (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611 §2). Others are passed through.
enum class RtcpType : std::uint8_t { sr = 200, rr = 201, sdes = 202, bye = 203, app = 204, rtpfb = 205, psfb = 206, xr = 207 };

/// RFC 3611 §4.
enum class XrType : std::uint8_t { loss_rle = 1, duplicate_rle = 2, receipt_times = 3, receiver_reference_time = 4, dlrr = 5, statistics = 6, voip_metrics = 7 };

/// RFC 3550 §6.4.1.
struct ReportBlock {
  std::uint32_t ssrc = 0;
  std::uint8_t fraction_lost = 0;  // of 256
  std::int32_t cumulative_lost = 0;  // 24 bit, signed
  std::uint32_t extended_highest_sequence = 0;
  std::uint32_t jitter = 0;  // in ticks of the RTP clock
  std::uint32_t last_sr = 0;  // middle 32 bits of its NTP timestamp; 0: none came
  std::uint32_t delay_since_last_sr = 0;  // 1/65536 s

  friend bool operator==(const ReportBlock&, const ReportBlock&) = default;
};

struct SenderInfo {
  std::uint64_t ntp = 0;
  std::uint32_t rtp_timestamp = 0;
  std::uint32_t packets = 0;
  std::uint32_t octets = 0;

  friend bool operator==(const SenderInfo&, const SenderInfo&) = default;
};

/// RFC 3611 §4.7. 127 stands for "unknown" of levels, R factors and MOS.
struct VoipMetrics {
  std::uint32_t ssrc = 0;
  std::uint8_t loss_rate = 0;  // of 256, as the three below
  std::uint8_t discard_rate = 0;
  std::uint8_t burst_density = 0;
  std::uint8_t gap_density = 0;
  std::uint16_t burst_duration_ms = 0;
  std::uint16_t gap_duration_ms = 0;
  std::uint16_t round_trip_ms = 0;
  std::uint16_t end_system_delay_ms = 0;
  std::int8_t signal_level_dbm = 127;
  std::int8_t noise_level_dbm = 127;
  std::uint8_t residual_echo_return_loss_db = 127;
  std::uint8_t gap_threshold = 16;  // Gmin
  std::uint8_t r_factor = 127;
  std::uint8_t external_r_factor = 127;
  std::uint8_t mos_lq = 127;  // times ten
  std::uint8_t mos_cq = 127;
  std::uint8_t receiver_config = 0;
  std::uint16_t jitter_buffer_nominal_ms = 0;
  std::uint16_t jitter_buffer_maximum_ms = 0;
  std::uint16_t jitter_buffer_absolute_maximum_ms = 0;

  friend bool operator==(const VoipMetrics&, const VoipMetrics&) = default;
};

/// RFC 3611 §4.5.
struct Dlrr {
  std::uint32_t ssrc = 0;
  std::uint32_t last_rr = 0;
  std::uint32_t delay_since_last_rr = 0;

  friend bool operator==(const Dlrr&, const Dlrr&) = default;
};

/// An extended report block: its type and what follows its header.
struct XrBlock {
  std::uint8_t type = 0;
  std::span<const std::uint8_t> body;

  std::optional<VoipMetrics> voip_metrics() const noexcept;
  std::optional<std::uint64_t> reference_time() const noexcept;
  std::size_t dlrr_count() const noexcept;
  Dlrr dlrr(std::size_t index) const noexcept;  // below dlrr_count()
};

/// Blocks of an XR packet, one after another; ends at the first that is cut short.
class XrReader {
 public:
  explicit XrReader(std::span<const std::uint8_t> blocks) noexcept : rest_{blocks} {}
  std::optional<XrBlock> next() noexcept;

 private:
  std::span<const std::uint8_t> rest_;
};

/// One chunk item of an SDES packet (RFC 3550 §6.5).
struct SdesItem {
  std::uint32_t ssrc = 0;
  std::uint8_t type = 0;  // 1: CNAME
  std::string_view text;
};

class SdesReader {
 public:
  SdesReader(std::span<const std::uint8_t> chunks, std::size_t count) noexcept : rest_{chunks}, chunks_left_{count} {}
  std::optional<SdesItem> next() noexcept;

 private:
  bool begin_chunk() noexcept;

  std::span<const std::uint8_t> rest_;
  std::size_t chunks_left_;
  std::size_t in_chunk_ = 0;  // bytes of this chunk read so far, 0 before its SSRC
  std::uint32_t ssrc_ = 0;
};

/// One packet of a compound, over bytes owned by the caller. Made by RtcpReader, so its length is right;
/// what depends on its count is checked here.
class RtcpPacket {
 public:
  explicit RtcpPacket(std::span<const std::uint8_t> bytes, std::size_t padding) noexcept : bytes_{bytes}, padding_{padding} {}

  std::uint8_t type_number() const noexcept { return bytes_[1]; }
  RtcpType type() const noexcept { return static_cast<RtcpType>(bytes_[1]); }
  std::uint8_t count() const noexcept { return bytes_[0] & 31U; }  // report blocks, chunks, sources; the subtype or format
  std::span<const std::uint8_t> bytes() const noexcept { return bytes_; }
  /// After the header, without padding.
  std::span<const std::uint8_t> body() const noexcept { return bytes_.subspan(4, bytes_.size() - 4 - padding_); }

  /// Who sent it; nothing for an SDES, or a BYE of nobody.
  std::optional<std::uint32_t> ssrc() const noexcept;
  std::optional<SenderInfo> sender_info() const noexcept;
  /// Report blocks of an SR or RR that are there; 0 for others.
  std::size_t report_count() const noexcept;
  ReportBlock report(std::size_t index) const noexcept;  // below report_count()
  /// Sources that a BYE lets go.
  std::size_t bye_count() const noexcept;
  std::uint32_t bye_ssrc(std::size_t index) const noexcept;  // below bye_count()
  std::string_view bye_reason() const noexcept;
  SdesReader sdes() const noexcept;  // empty for others
  XrReader xr() const noexcept;      // empty for others
  std::string_view app_name() const noexcept;

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t padding_;
};

/// The packets of a compound, one after another. Stops at the first that is not RTCP or is cut short.
class RtcpReader {
 public:
  explicit RtcpReader(std::span<const std::uint8_t> compound) noexcept : rest_{compound} {}
  std::optional<RtcpPacket> next() noexcept;
  bool malformed() const noexcept { return malformed_; }

 private:
  std::span<const std::uint8_t> rest_;
  bool malformed_ = false;
};

/// The checks of RFC 3550 appendix A.2, but for the first packet: of reduced size it may be any (RFC 5506).
bool is_rtcp(std::span<const std::uint8_t> compound) noexcept;

/// Writes a compound into the caller's bytes. What does not fit is left out whole, and `full()` says so.
class RtcpWriter {
 public:
  explicit RtcpWriter(std::span<std::uint8_t> out) noexcept : out_{out} {}

  /// An SR with `info`, else an RR. At most 31 blocks are taken.
  void report(std::uint32_t ssrc, const std::optional<SenderInfo>& info, std::span<const ReportBlock> blocks) noexcept;
  void sdes_cname(std::uint32_t ssrc, std::string_view cname) noexcept;
  void bye(std::uint32_t ssrc, std::string_view reason) noexcept;
  void xr_voip_metrics(std::uint32_t ssrc, const VoipMetrics& metrics) noexcept;
  void xr_reference_time(std::uint32_t ssrc, std::uint64_t ntp) noexcept;
  void xr_dlrr(std::uint32_t ssrc, const Dlrr& dlrr) noexcept;
  /// A whole packet of somebody else.
  void copy(std::span<const std::uint8_t> packet) noexcept;

  std::span<const std::uint8_t> written() const noexcept { return out_.first(size_); }
  std::size_t size() const noexcept { return size_; }
  bool full() const noexcept { return full_; }

 private:
  std::span<std::uint8_t> begin(RtcpType type, std::size_t count, std::size_t bytes) noexcept;

  std::span<std::uint8_t> out_;
  std::size_t size_ = 0;
  bool full_ = false;
};

/// The middle 32 bits of an NTP timestamp, as LSR and LRR hold them.
constexpr std::uint32_t ntp_middle(std::uint64_t ntp) noexcept { return static_cast<std::uint32_t>(ntp >> 16U); }

}  // namespace sipfarm::rtp
