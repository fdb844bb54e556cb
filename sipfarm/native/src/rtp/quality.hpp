#pragma once

#include <cstdint>

#include "rtp/burst_gap.hpp"
#include "rtp/rtcp.hpp"

namespace sipfarm::rtp {

/// On which scale a codec is rated: G.107 to 93.2 by default, G.107.1 to 129.
enum class Band : std::uint8_t { narrow, wide };

/// What a codec costs (G.113 appendices I and IV).
struct Impairment {
  Band band = Band::narrow;
  double ie = 0;         // without loss
  double bpl = 4.3;      // how well it bears loss, in per cent
};

/// Codecs that have values, as media and SDP name them.
enum class RatedCodec : std::uint8_t { pcmu, pcma, g722, opus, l16, g726_32, gsm, amr, amr_wb, g729, speex, speex_wide };

/// `bitrate` in bits/s where the codec has several (AMR, AMR-WB, Opus, G.722); 0: its usual one. Loss is taken to be concealed, as all
/// ends do that matter.
Impairment impairment_of(RatedCodec codec, std::uint32_t bitrate = 0) noexcept;

/// What one direction of a call went through.
struct Transmission {
  Impairment codec;
  double loss = 0;            // 0..1 of packets that could not be played
  double burst_ratio = 1;     // BurstR: 1 is loss by chance
  double delay_ms = 0;        // one way, mouth to ear
  double advantage = 0;       // A: what users forgive
};

/// R: to 93.2 (narrow) or 129 (wide), never below 0. Parameters of lines and rooms are the defaults of G.107 table 2.
/// Deviation: the wide scale takes its terms for delay and echo from G.107.
double rating(const Transmission& transmission) noexcept;

/// MOS-CQE (G.107 annex B) of a rating on its scale (G.107.1: R of the wide scale counts 1/1.29).
double mos(double rating, Band band = Band::narrow) noexcept;

/// The terms of G.107, for who wants to see them.
struct DefaultTerms {
  double basic = 0;           // Ro
  double simultaneous = 0;    // Is
  double delay = 0;           // Id
};
DefaultTerms default_terms(double delay_ms) noexcept;

/// A jitter buffer that holds what is late by four times the mean, and two packets at least, as a guess where none is measured.
constexpr double assumed_buffer_ms(double jitter_ms, double packet_ms) noexcept {
  return jitter_ms * 4 > packet_ms * 2 ? jitter_ms * 4 : packet_ms * 2;
}

/// What an XR report says of a stream (RFC 3611 §4.7).
struct MetricsSource {
  std::uint32_t ssrc = 0;
  BurstGap::Sums bursts;
  double packet_ms = 20;
  double round_trip_ms = 0;
  double end_system_delay_ms = 0;
  Impairment codec;
};
VoipMetrics voip_metrics_of(const MetricsSource& source) noexcept;

}  // namespace sipfarm::rtp
