#pragma once

#include <array>
#include <cstdint>

#include "rtp/burst_gap.hpp"
#include "rtp/rtcp.hpp"

namespace sipfarm::rtp {

/// What payload types mean to the statistics: their clocks, and which are telephone-event. Made by the control thread.
class PayloadClocks {
 public:
  static constexpr std::uint32_t k_default_rate_hz = 8'000;

  void set(std::uint8_t payload_type, std::uint32_t clock_rate_hz, bool telephone_event = false) noexcept;

  struct Clock {
    std::uint32_t rate_hz = k_default_rate_hz;
    std::uint32_t ticks_per_us = ticks(k_default_rate_hz);  // scaled by 2^26
    bool telephone_event = false;
  };
  static constexpr unsigned k_scale_bits = 26;

  const Clock& of(std::uint8_t payload_type) const noexcept { return clocks_[index_[payload_type & 0x7fU]]; }

 private:
  static constexpr std::size_t k_most = 8;
  static constexpr std::uint32_t ticks(std::uint64_t rate_hz) noexcept {
    return static_cast<std::uint32_t>((rate_hz << k_scale_bits) / 1'000'000U);
  }

  std::array<std::uint8_t, 128> index_{};
  std::array<Clock, k_most> clocks_{};  // the first is for types that nothing is known of
  std::size_t count_ = 1;
};

/// Sums over all sources that one side has heard.
struct ReceptionTotals {
  std::uint64_t expected = 0;
  std::uint64_t received = 0;    // with duplicates, as RFC 3550 counts
  std::uint64_t duplicates = 0;
  std::uint64_t out_of_order = 0;
  std::uint64_t strays = 0;      // of sources or sequences that did not last
  std::uint64_t sources = 0;

  std::int64_t lost() const noexcept { return static_cast<std::int64_t>(expected) - static_cast<std::int64_t>(received); }
};

/// The statistics of what one side sends: sequence numbers (RFC 3550 appendix A.1), loss (A.3), jitter (A.8), bursts. It follows the
/// side through a new SSRC, a restarted sequence and a new codec; each packet costs additions and shifts, no division.
class Reception {
 public:
  enum class Verdict : std::uint8_t { counted, duplicate, stray };

  struct Packet {
    std::uint32_t ssrc = 0;
    std::uint32_t timestamp = 0;
    std::uint16_t sequence = 0;
    std::uint8_t payload_type = 0;
    bool marker = false;
  };

  explicit Reception(const PayloadClocks& clocks = {}) noexcept : clocks_{clocks} {}

  /// Payload types after a new offer and answer.
  void set_clocks(const PayloadClocks& clocks) noexcept { clocks_ = clocks; }

  Verdict receive(const Packet& packet, std::int64_t now_us) noexcept;

  bool heard() const noexcept { return totals_.sources != 0; }
  std::uint32_t ssrc() const noexcept { return ssrc_; }
  std::uint32_t clock_rate_hz() const noexcept { return rate_hz_; }
  std::uint32_t jitter_ticks() const noexcept { return jitter_ >> 4U; }
  std::uint32_t jitter_us() const noexcept { return static_cast<std::uint32_t>(std::uint64_t{jitter_} * 1'000'000U / (16U * std::uint64_t{rate_hz_})); }
  std::uint32_t extended_highest_sequence() const noexcept { return cycles_ + highest_; }
  ReceptionTotals totals() const noexcept;
  /// Of this source and those before it; the last 64 sequence numbers as far as they have come.
  BurstGap::Sums bursts() const noexcept;

  /// The block of the current source, the fraction being that since the last one; LSR and DLSR are the caller's.
  ReportBlock report() noexcept;

 private:
  static constexpr std::uint16_t k_dropout_max = 3'000;   // RFC 3550 appendix A.1
  static constexpr std::uint16_t k_misorder_max = 100;
  static constexpr std::uint32_t k_jump_s = 1;            // of media time against arrival: no jitter but a new count

  struct Candidate {
    std::uint32_t ssrc = 0;
    std::uint16_t next_sequence = 0;
    bool valid = false;
  };

  void begin(const Packet& packet, std::uint16_t before) noexcept;
  bool is_next_of_candidate(const Packet& packet) noexcept;
  void settle(std::uint32_t count) noexcept;
  void advance(std::uint16_t by) noexcept;
  Verdict late(std::uint16_t behind) noexcept;
  void measure(const Packet& packet, std::int64_t now_us) noexcept;
  std::uint64_t expected() const noexcept { return std::uint64_t{extended_highest_sequence()} - base_ + 1; }

  PayloadClocks clocks_;
  std::uint32_t ssrc_ = 0;
  std::uint32_t cycles_ = 0;
  std::uint16_t highest_ = 0;
  std::uint32_t base_ = 0;        // extended: the first sequence number
  std::uint64_t received_ = 0;
  std::uint64_t expected_prior_ = 0;
  std::uint64_t received_prior_ = 0;
  std::uint64_t window_ = 0;      // which of the last 64 came, the highest in bit 0
  std::uint32_t window_size_ = 0;
  std::uint32_t jitter_ = 0;      // scaled by 16
  std::uint32_t transit_ = 0;
  std::uint32_t rate_hz_ = PayloadClocks::k_default_rate_hz;
  bool transit_known_ = false;
  Candidate candidate_;
  BurstGap bursts_;
  ReceptionTotals totals_;        // of the sources before this
};

}  // namespace sipfarm::rtp
