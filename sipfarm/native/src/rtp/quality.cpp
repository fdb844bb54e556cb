#include "rtp/quality.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <span>

namespace sipfarm::rtp {
namespace {

// G.107 (06/2015) table 2: the defaults, in dB, dBmp or dBm0p.
constexpr double k_slr = 8;      // send loudness rating
constexpr double k_rlr = 2;      // receive loudness rating
constexpr double k_stmr = 15;    // sidetone masking rating
constexpr double k_lstr = 18;    // listener sidetone rating
constexpr double k_ds = 3;       // D factor, send side
constexpr double k_telr = 65;    // talker echo loudness rating
constexpr double k_wepl = 110;   // weighted echo path loss
constexpr double k_qdu = 1;      // quantizing distortion units
constexpr double k_nc = -70;     // circuit noise
constexpr double k_nfor = -64;   // noise floor at the receive side
constexpr double k_ps = 35;      // room noise, send side
constexpr double k_pr = 35;      // and receive side

constexpr double k_wide_ro = 129;     // G.107.1: Ro,WB with Is,WB of 0
constexpr double k_wide_scale = 1.29;

double db_sum(std::initializer_list<double> levels) noexcept {
  double sum = 0;
  for (const double level : levels) sum += std::pow(10, level / 10);
  return 10 * std::log10(sum);
}

/// [1 + x^n]^(1/n), the recommendation's soft corner.
double corner(double x, double n) noexcept { return std::pow(1 + std::pow(x, n), 1 / n); }

/// Noise at the 0 dBr point: No.
double noise() noexcept {
  const double olr = k_slr + k_rlr;
  const double send_room = k_ps - k_slr - k_ds - 100 + 0.004 * std::pow(k_ps - olr - k_ds - 14, 2);
  const double pre = k_pr + 10 * std::log10(1 + std::pow(10, (10 - k_lstr) / 10));
  const double receive_room = k_rlr - 121 + pre + 0.008 * std::pow(pre - 35, 2);
  return db_sum({k_nc, send_room, receive_room, k_nfor + k_rlr});
}

double loudness_impairment(double no) noexcept {
  const double x = (k_slr + k_rlr + 0.2 * (64 + no - k_rlr)) / 8;
  return 20 * (corner(x, 8) - x);
}

double sidetone_impairment(double delay_ms) noexcept {
  const double stmr = -10 * std::log10(std::pow(10, -k_stmr / 10) + std::exp(-delay_ms / 4) * std::pow(10, -k_telr / 10));
  return 12 * corner((stmr - 13) / 6, 8) - 28 * corner((stmr + 1) / 19.4, 35) - 13 * corner((stmr - 3) / 33, 13) + 29;
}

double quantizing_impairment(double ro) noexcept {
  const double q = 37 - 15 * std::log10(k_qdu);
  const double g = 1.07 + 0.258 * q + 0.0602 * q * q;
  const double y = (ro - 100) / 15 + 46.0 / 8.4 - g / 9;
  const double z = 46.0 / 30 - g / 40;
  return 15 * std::log10(1 + std::pow(10, y) + std::pow(10, z));
}

double talker_echo(double no, double delay_ms) noexcept {
  const double terv = k_telr - 40 * std::log10((1 + delay_ms / 10) / (1 + delay_ms / 150)) + 6 * std::exp(-0.3 * delay_ms * delay_ms);
  const double half = (-1.5 * (no - k_rlr) - (80 + 2.5 * (terv - 14))) / 2;
  return (half + std::sqrt(half * half + 100) - 1) * (1 - std::exp(-delay_ms));
}

double listener_echo(double ro, double round_trip_ms) noexcept {
  const double half = (ro - 10.5 * (k_wepl + 7) * std::pow(round_trip_ms + 1, -0.25)) / 2;
  return half + std::sqrt(half * half + 169);
}

double absolute_delay(double delay_ms) noexcept {
  constexpr double k_noticed_ms = 100;
  if (delay_ms <= k_noticed_ms) return 0;
  const double x = std::log2(delay_ms / k_noticed_ms);
  return 25 * (corner(x, 6) - 3 * corner(x / 3, 6) + 2);
}

/// A value of a codec for a bit rate.
struct AtRate {
  std::uint32_t bits_per_s;
  double ie;
  double bpl;
};

/// The nearest rate of a table.
Impairment nearest(Band band, std::span<const AtRate> table, std::uint32_t bitrate) noexcept {
  const AtRate* best = &table.front();
  const auto distance = [&](const AtRate& each) { return std::llabs(std::int64_t{each.bits_per_s} - std::int64_t{bitrate}); };
  for (const AtRate& each : table) {
    if (distance(each) < distance(*best)) best = &each;
  }
  return {band, best->ie, best->bpl};
}

// G.113 appendix I, tables I.1 to I.3; AMR's other modes lie between them.
constexpr std::array<AtRate, 3> k_amr{{{4'750, 25, 10}, {7'400, 10, 10}, {12'200, 5, 10}}};

// G.113 appendix IV gives Ie,WB. Bpl,WB are ours: what the same method of concealment has in narrow band.
constexpr std::array<AtRate, 9> k_amr_wb{{{6'600, 41, 10}, {8'850, 26, 10}, {12'650, 13, 10}, {14'250, 10, 10}, {15'850, 7, 10},
                                         {18'250, 5, 10}, {19'850, 4, 10}, {23'050, 1, 10}, {23'850, 8, 10}}};
constexpr std::array<AtRate, 3> k_g722{{{48'000, 31, 10}, {56'000, 20, 10}, {64'000, 13, 10}}};

// Opus is in no table of the ITU: from listening models of its bit rates (Al-Ahmadi, Pocta, Melvin), moved to the wide scale.
constexpr std::array<AtRate, 7> k_opus{{{6'000, 60, 9}, {8'000, 52, 15}, {12'000, 23, 22}, {14'000, 19, 17}, {16'000, 11, 12}, {19'000, 5, 11}, {24'000, 1, 11}}};

std::uint8_t of_256(double share) noexcept { return static_cast<std::uint8_t>(std::clamp(share * 256, 0.0, 255.0)); }

std::uint16_t whole_ms(double ms) noexcept { return static_cast<std::uint16_t>(std::clamp(std::round(ms), 0.0, 65'535.0)); }

}  // namespace

Impairment impairment_of(RatedCodec codec, std::uint32_t bitrate) noexcept {
  constexpr double k_g711_bpl = 25.1;  // with concealment (G.711 appendix I); 4.3 without
  switch (codec) {
    case RatedCodec::pcmu:
    case RatedCodec::pcma:
      return {Band::narrow, 0, k_g711_bpl};
    case RatedCodec::g726_32:
      return {Band::narrow, 7, k_g711_bpl};
    case RatedCodec::gsm:
      return {Band::narrow, 20, 10};
    case RatedCodec::g729:
      return {Band::narrow, 11, 19};
    case RatedCodec::amr:
      return nearest(Band::narrow, k_amr, bitrate == 0 ? 12'200 : bitrate);
    case RatedCodec::speex:  // in no table: as codecs of its kind and rate
      return {Band::narrow, 11, 19};
    case RatedCodec::speex_wide:
      return {Band::wide, 13, 10};
    case RatedCodec::g722:
      return nearest(Band::wide, k_g722, bitrate == 0 ? 64'000 : bitrate);
    case RatedCodec::amr_wb:
      return nearest(Band::wide, k_amr_wb, bitrate == 0 ? 23'050 : bitrate);
    case RatedCodec::opus:
      return nearest(Band::wide, k_opus, bitrate == 0 ? 24'000 : bitrate);
    case RatedCodec::l16:
      return {Band::wide, 0, k_g711_bpl};
  }
  return {};
}

DefaultTerms default_terms(double delay_ms) noexcept {
  const double no = noise();
  const double ro = 15 - 1.5 * (k_slr + no);
  const double is = loudness_impairment(no) + sidetone_impairment(delay_ms) + quantizing_impairment(ro);
  return {ro, is, talker_echo(no, delay_ms) + listener_echo(ro, 2 * delay_ms) + absolute_delay(delay_ms)};
}

double rating(const Transmission& transmission) noexcept {
  const DefaultTerms terms = default_terms(std::clamp(transmission.delay_ms, 0.0, 10'000.0));
  const double basic = transmission.codec.band == Band::wide ? k_wide_ro : terms.basic - terms.simultaneous;
  const double loss_percent = 100 * std::clamp(transmission.loss, 0.0, 1.0);
  const double bearing = loss_percent / std::max(transmission.burst_ratio, 1.0) + transmission.codec.bpl;
  const double equipment = transmission.codec.ie + (95 - transmission.codec.ie) * loss_percent / bearing;
  return std::max(0.0, basic - terms.delay - equipment + transmission.advantage);
}

double mos(double rating, Band band) noexcept {
  const double r = band == Band::wide ? rating / k_wide_scale : rating;
  if (r <= 0) return 1;
  if (r >= 100) return 4.5;
  return std::max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6);  // dips below 1 for R under 6.5
}

VoipMetrics voip_metrics_of(const MetricsSource& source) noexcept {
  const BurstGap::Sums& sums = source.bursts;
  const auto share = [](std::uint64_t part, std::uint64_t of) { return of == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(of); };
  const auto mean_ms = [&](std::uint64_t packets, std::uint64_t stretches) { return share(packets, stretches) * source.packet_ms; };
  VoipMetrics metrics;
  metrics.ssrc = source.ssrc;
  metrics.loss_rate = of_256(share(sums.lost, sums.packets));
  metrics.burst_density = of_256(share(sums.burst_lost, sums.burst_packets));
  metrics.gap_density = of_256(share(sums.gap_lost(), sums.gap_packets()));
  metrics.burst_duration_ms = whole_ms(mean_ms(sums.burst_packets, sums.bursts));
  metrics.gap_duration_ms = whole_ms(mean_ms(sums.gap_packets(), sums.gaps()));
  metrics.round_trip_ms = whole_ms(source.round_trip_ms);
  metrics.end_system_delay_ms = whole_ms(source.end_system_delay_ms);
  Transmission transmission{source.codec, share(sums.lost, sums.packets), sums.burst_ratio(), 0, 0};
  const double listening = rating(transmission);
  transmission.delay_ms = source.round_trip_ms / 2 + source.end_system_delay_ms;
  const double conversation = rating(transmission);
  const double narrow = source.codec.band == Band::wide ? conversation / k_wide_scale : conversation;  // 0..100 (RFC 3611 §4.7.5)
  metrics.r_factor = static_cast<std::uint8_t>(std::clamp(std::round(narrow), 0.0, 100.0));
  metrics.mos_lq = static_cast<std::uint8_t>(std::round(mos(listening, source.codec.band) * 10));
  metrics.mos_cq = static_cast<std::uint8_t>(std::round(mos(conversation, source.codec.band) * 10));
  metrics.receiver_config = 0b1000'0000;  // concealment: enhanced or standard is not known
  return metrics;
}

}  // namespace sipfarm::rtp
