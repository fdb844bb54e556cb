#include "audio/tones.hpp"

#include <algorithm>
#include <cmath>

namespace sipfarm::audio {

namespace {

constexpr float k_edge_s = 0.005F;

}  // namespace

ToneGenerator::ToneGenerator(std::uint32_t sample_rate_hz) noexcept
    : rate_hz_{static_cast<float>(sample_rate_hz)}, slope_{1.0F / (k_edge_s * rate_hz_)} {}

void ToneGenerator::start(const Cadence& cadence, float dbm0, float twist_db) noexcept {
  cadence_ = cadence;
  dbm0_ = dbm0;
  twist_db_ = twist_db;
  on_ = cadence.count > 0;
  segment_ = 0;
  tuned_ = Cadence::k_segments_max;  // none: what still sounds fades out first
  left_ = std::uint64_t{cadence.segments[0].ms} * static_cast<std::uint64_t>(rate_hz_) / 1'000;
}

void ToneGenerator::start_milliwatt() noexcept {
  Cadence cadence;
  cadence.segments[0].first_hz = 1'004;
  cadence.count = 1;
  start(cadence, 0.0F);
}

void ToneGenerator::fill(Pcm out) noexcept {
  for (std::int16_t& value : out) {
    value = to_sample(sample());
    if (on_) advance();
  }
  for (Oscillator& oscillator : oscillators_) oscillator.steady();
}

std::size_t ToneGenerator::until_done() const noexcept {
  if (done()) return static_cast<std::size_t>(-1);
  const bool ends = on_ && !cadence_.repeats && segment_ + 1 == cadence_.count && envelope_ == 0.0F;
  return ends ? static_cast<std::size_t>(left_) : 1;
}

void ToneGenerator::advance() noexcept {
  if (cadence_.segments[segment_].ms == 0 || --left_ > 0) return;
  if (++segment_ == cadence_.count) {
    segment_ = 0;
    on_ = cadence_.repeats;
  }
  left_ = std::uint64_t{cadence_.segments[segment_].ms} * static_cast<std::uint64_t>(rate_hz_) / 1'000;
}

void ToneGenerator::tune(const Cadence::Segment& segment) noexcept {
  const auto first = static_cast<float>(segment.first_hz);
  const auto second = static_cast<float>(segment.second_hz);
  const float peak = peak_of_dbm0(dbm0_);
  oscillators_ = {};
  oscillators_[0] = {first, rate_hz_, peak};
  if (segment.modulated) {
    oscillators_[1] = {first - second, rate_hz_, peak / 2.0F};
    oscillators_[2] = {first + second, rate_hz_, peak / 2.0F};
  } else if (segment.second_hz != 0) {
    oscillators_[1] = {second, rate_hz_, peak_of_dbm0(dbm0_ + twist_db_)};
  }
}

float ToneGenerator::sample() noexcept {
  const bool wanted = on_ && cadence_.segments[segment_].first_hz != 0;
  if (wanted && tuned_ != segment_ && envelope_ == 0.0F) {
    tune(cadence_.segments[segment_]);
    tuned_ = segment_;
  }
  const bool rises = wanted && tuned_ == segment_;
  envelope_ = std::clamp(envelope_ + (rises ? slope_ : -slope_), 0.0F, 1.0F);
  if (envelope_ == 0.0F) {
    tuned_ = Cadence::k_segments_max;
    return 0.0F;
  }
  const float smooth = envelope_ * envelope_ * (3.0F - 2.0F * envelope_);
  return smooth * (oscillators_[0].next() + oscillators_[1].next() + oscillators_[2].next());
}

}  // namespace sipfarm::audio
