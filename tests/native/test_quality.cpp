#include <doctest/doctest.h>

#include <cmath>
#include <utility>

#include "rtp/quality_history.hpp"

using namespace sipfarm::rtp;

namespace {

double narrow_rating(double loss, double delay_ms, const Impairment& codec = {}) { return rating({codec, loss, 1, delay_ms, 0}); }

}  // namespace

TEST_CASE("quality: the defaults of G.107 give its published terms, rating and MOS") {
  const DefaultTerms terms = default_terms(0);
  CHECK(terms.basic == doctest::Approx(94.77).epsilon(0.0001));
  CHECK(terms.simultaneous == doctest::Approx(1.41).epsilon(0.005));
  CHECK(terms.delay == doctest::Approx(0.15).epsilon(0.01));
  CHECK(rating({}) == doctest::Approx(93.2).epsilon(0.0005));
  CHECK(mos(93.2) == doctest::Approx(4.41).epsilon(0.001));
}

TEST_CASE("quality: MOS of the category limits of G.107 annex B") {
  const std::pair<double, double> limits[] = {{90, 4.34}, {80, 4.03}, {70, 3.60}, {60, 3.10}, {50, 2.58}};
  for (const auto& [r, expected] : limits) CHECK(mos(r) == doctest::Approx(expected).epsilon(0.002));
  CHECK(mos(-3) == 1);
  CHECK(mos(0) == 1);
  CHECK(mos(3) >= 1);
  CHECK(mos(100) == 4.5);
  CHECK(mos(129, Band::wide) == 4.5);
  CHECK(mos(128, Band::wide) == doctest::Approx(4.49).epsilon(0.001));  // AMR-WB at 23.05 kbit/s
  CHECK(mos(88, Band::wide) == doctest::Approx(3.51).epsilon(0.002));   // and at 6.6
  for (double r = 0; r < 100; r += 0.5) CHECK(mos(r + 0.5) >= mos(r));
}

TEST_CASE("quality: delay costs little to 150 ms, then much, as the usual straight lines say within four points") {
  for (double delay_ms = 0; delay_ms <= 400; delay_ms += 10) {
    const double lines = 0.024 * delay_ms + (delay_ms > 177.3 ? 0.11 * (delay_ms - 177.3) : 0);
    CAPTURE(delay_ms);
    CHECK(std::abs(93.36 - narrow_rating(0, delay_ms) - lines) < 4);
    CHECK(narrow_rating(0, delay_ms + 10) < narrow_rating(0, delay_ms));
  }
}

TEST_CASE("quality: loss costs what Ie and Bpl of G.113 say") {
  const Impairment bare{Band::narrow, 0, 4.3};
  CHECK(narrow_rating(0, 0) - narrow_rating(0.01, 0, bare) == doctest::Approx(17.92).epsilon(0.001));  // 95 · 1 / 5.3
  const Impairment concealed = impairment_of(RatedCodec::pcma);
  CHECK(narrow_rating(0, 0) - narrow_rating(0.01, 0, concealed) == doctest::Approx(3.64).epsilon(0.001));  // 95 · 1 / 26.1
  const Impairment g729 = impairment_of(RatedCodec::g729);
  CHECK(narrow_rating(0, 0) - narrow_rating(0, 0, g729) == doctest::Approx(11));
  CHECK(narrow_rating(0, 0) - narrow_rating(0.02, 0, g729) == doctest::Approx(19).epsilon(0.001));
  CHECK(narrow_rating(1, 1'000, g729) >= 0);
}

TEST_CASE("quality: the same loss in bursts is worse") {
  const Impairment codec = impairment_of(RatedCodec::pcmu);
  const double by_chance = rating({codec, 0.05, 1, 0, 0});
  CHECK(rating({codec, 0.05, 3, 0, 0}) < by_chance);
  CHECK(rating({codec, 0.05, 0.2, 0, 0}) == by_chance);
}

TEST_CASE("quality: wide codecs stand above narrow ones, their rates in order") {
  const auto rated = [](RatedCodec codec, std::uint32_t bitrate) { return rating({impairment_of(codec, bitrate), 0, 1, 0, 0}); };
  CHECK(rated(RatedCodec::amr_wb, 23'050) == doctest::Approx(128).epsilon(0.002));
  CHECK(rated(RatedCodec::g722, 0) == doctest::Approx(116).epsilon(0.002));
  CHECK(rated(RatedCodec::g722, 48'000) < rated(RatedCodec::g722, 64'000));
  CHECK(rated(RatedCodec::amr_wb, 6'600) < rated(RatedCodec::pcmu, 0));
  for (std::uint32_t bitrate = 6'000; bitrate < 40'000; bitrate += 1'000) {
    CHECK(rated(RatedCodec::opus, bitrate) <= rated(RatedCodec::opus, bitrate + 1'000));
  }
  for (const RatedCodec codec : {RatedCodec::pcmu, RatedCodec::gsm, RatedCodec::amr, RatedCodec::g729, RatedCodec::speex, RatedCodec::g726_32}) {
    CHECK(impairment_of(codec).band == Band::narrow);
    CHECK(rated(codec, 0) <= 93.3);
  }
}

TEST_CASE("quality: what an XR report says of a stream (RFC 3611 §4.7)") {
  BurstGap model;
  for (int i = 0; i < 10; ++i) {  // bursts of 5 packets, 3 of them lost, between gaps of 95
    model.came(95);
    model.lost(2);
    model.came(2);
    model.lost(1);
  }
  model.came(50);
  MetricsSource source;
  source.ssrc = 7;
  source.bursts = model.sums();
  source.round_trip_ms = 80;
  source.codec = impairment_of(RatedCodec::pcmu);
  const VoipMetrics metrics = voip_metrics_of(source);
  CHECK(metrics.ssrc == 7);
  CHECK(metrics.loss_rate == 30 * 256 / 1'050);
  CHECK(metrics.burst_density == 3 * 256 / 5);
  CHECK(metrics.burst_duration_ms == 100);
  CHECK(metrics.gap_density == 0);
  CHECK(metrics.gap_duration_ms == doctest::Approx(1'000 * 20 / 11).epsilon(0.001));
  CHECK(metrics.round_trip_ms == 80);
  CHECK(metrics.gap_threshold == 16);
  CHECK(metrics.mos_lq >= metrics.mos_cq);
  CHECK(metrics.r_factor < 93);
  CHECK(voip_metrics_of({}).r_factor == 93);
}

TEST_CASE("quality history: a bad while is a bad slice, and the minimum of the call") {
  Reception reception;
  QualityHistory history;
  history.begin(0);
  const Impairment codec = impairment_of(RatedCodec::pcmu);
  std::uint16_t sequence = 0;
  for (std::int64_t now_us = 0; now_us < 60'000'000; now_us += 20'000, ++sequence) {
    const bool bad = now_us >= 20'000'000 && now_us < 25'000'000;
    if (!bad || sequence % 5 != 0) reception.receive({1, sequence * 160U, sequence, 0, false}, now_us);
    if (now_us >= history.next_deadline_us()) history.take(reception, codec, 20, 40'000, now_us);
  }
  REQUIRE(history.slices().size() == 11);
  for (const QualitySlice& slice : history.slices()) {
    CAPTURE(slice.start_ms);
    const bool bad = slice.start_ms >= 19'900 && slice.start_ms < 24'900;
    CHECK(slice.loss == doctest::Approx(bad ? 0.2 : 0).epsilon(0.1));
    CHECK((slice.rating_mean > 88) == !bad);
    CHECK(slice.round_trip_us_max == 40'000);
  }
  CHECK(history.rating_min() < 60);
  CHECK(history.rating_mean() > 85);
  CHECK(history.mos_mean() > history.mos_min());
  CHECK(history.mos_mean() < 4.4);
}

TEST_CASE("quality history: a call of any length fits, its worst while and its mean kept") {
  Reception reception;
  QualityHistory history;
  history.begin(0);
  std::uint32_t packet = 0;
  std::int64_t now_us = 333;  // as clocks are
  for (int second = 0; second < 4 * 3'600; ++second) {
    const bool bad = second >= 1'000 && second < 1'005;
    for (int i = 0; i < 50; ++i, ++packet, now_us += 20'000) {
      if (!bad || i % 2 == 0) reception.receive({1, packet * 160, static_cast<std::uint16_t>(packet), 0, false}, now_us);
    }
    if (now_us >= history.next_deadline_us()) history.take(reception, impairment_of(RatedCodec::pcma), 20, 0, now_us += 777);
  }
  CHECK(history.slices().size() <= QualityHistory::k_slices);
  CHECK(history.slices().size() > QualityHistory::k_slices / 2);
  std::uint64_t covered_ms = 0;
  for (const QualitySlice& slice : history.slices()) {
    CHECK(slice.start_ms == covered_ms);
    covered_ms += slice.length_ms;
  }
  CHECK(covered_ms > 3'900'000);
  CHECK(history.rating_min() < 45);
  CHECK(history.rating_mean() > 90);
}

TEST_CASE("quality history: silence is not rated, and a wide codec puts the call on the wide scale") {
  Reception reception;
  QualityHistory history;
  history.begin(0);
  history.take(reception, impairment_of(RatedCodec::pcmu), 20, 0, 5'000'000);
  CHECK(history.slices().empty());
  CHECK(history.mos_mean() == 0);
  for (std::uint16_t i = 0; i < 250; ++i) reception.receive({1, i * 160U, i, 0, false}, 5'000'000 + std::int64_t{i} * 20'000);
  history.take(reception, impairment_of(RatedCodec::g722), 20, 0, 10'000'000);
  CHECK(history.band() == Band::wide);
  CHECK(history.rating_mean() > 110);
  CHECK(history.mos_mean() > 4.2);
}
