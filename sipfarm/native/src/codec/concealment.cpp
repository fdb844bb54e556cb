#include "codec/concealment.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "codec/makers.hpp"

namespace sipfarm::codec {

namespace {

constexpr std::uint32_t k_coarse_rate_hz = 4'000;

std::int16_t rounded(float value) noexcept {
  return static_cast<std::int16_t>(std::lrintf(std::clamp(value, -32'768.0F, 32'767.0F)));
}

/// How alike `length` samples are to those `lag` before them: correlation over the energy of the older ones.
float likeness(const std::int16_t* recent, std::size_t length, std::size_t lag, std::size_t stride) noexcept {
  float together = 0;
  float energy = 1;
  const std::int16_t* older = recent - lag;
  for (std::size_t i = 0; i < length; i += stride) {
    const auto old = static_cast<float>(older[i]);
    together += static_cast<float>(recent[i]) * old;
    energy += old * old;
  }
  return together <= 0 ? 0 : together * together / energy;
}

}  // namespace

Concealer::Concealer(std::uint32_t rate_hz)
    : lag_min_{samples_of(5, rate_hz)},
      lag_max_{samples_of(15, rate_hz)},
      window_{samples_of(20, rate_hz)},
      stride_{std::max<std::size_t>(1, rate_hz / k_coarse_rate_hz)},
      hold_{samples_of(10, rate_hz)},
      fade_{samples_of(50, rate_hz)},
      past_(lag_max_ + window_ + 2 * samples_of(k_frame_ms_max, rate_hz)),
      end_{lag_max_ + window_},
      cycle_(lag_max_) {}

void Concealer::remember(ConstPcm pcm) noexcept {
  const std::size_t kept = lag_max_ + window_;
  if (pcm.size() > past_.size() - kept) pcm = pcm.last(past_.size() - kept);
  if (end_ + pcm.size() > past_.size()) {
    std::memmove(past_.data(), past_.data() + end_ - kept, kept * sizeof(std::int16_t));
    end_ = kept;
  }
  std::copy(pcm.begin(), pcm.end(), past_.begin() + static_cast<std::ptrdiff_t>(end_));
  end_ += pcm.size();
}

std::size_t Concealer::pitch() const noexcept {
  const std::int16_t* recent = past_.data() + end_ - window_;
  std::size_t best = lag_max_;
  float best_likeness = 0;
  const auto consider = [&](std::size_t lag, std::size_t stride) {
    const float found = likeness(recent, window_, lag, stride);
    if (found <= best_likeness) return;
    best_likeness = found;
    best = lag;
  };
  for (std::size_t lag = lag_min_; lag <= lag_max_; lag += stride_) consider(lag, stride_);
  const std::size_t first = best > lag_min_ + stride_ ? best - stride_ : lag_min_;
  const std::size_t last = std::min(best + stride_, lag_max_);
  best_likeness = 0;
  for (std::size_t lag = first; lag <= last; ++lag) consider(lag, 1);
  return best;
}

void Concealer::begin_gap() noexcept {
  lag_ = pitch();
  at_ = 0;
  const std::int16_t* last = past_.data() + end_ - lag_;
  const std::size_t overlap = lag_ / 4;
  for (std::size_t i = 0; i < lag_; ++i) cycle_[i] = static_cast<float>(last[i]);
  // The end of the cycle goes over into what came before its beginning, so that it can be repeated.
  for (std::size_t i = 0; i < overlap; ++i) {
    const float share = static_cast<float>(i + 1) / static_cast<float>(overlap + 1);
    float& sample = cycle_[lag_ - overlap + i];
    const auto before = static_cast<float>(last[static_cast<std::ptrdiff_t>(i) - static_cast<std::ptrdiff_t>(overlap)]);
    sample += share * (before - sample);
  }
}

float Concealer::gain() const noexcept {
  if (missing_ <= hold_) return 1;
  return missing_ - hold_ >= fade_ ? 0 : 1 - static_cast<float>(missing_ - hold_) / static_cast<float>(fade_);
}

float Concealer::next() noexcept {
  const float sample = gain() * cycle_[at_];
  at_ = at_ + 1 == lag_ ? 0 : at_ + 1;
  ++missing_;
  return sample;
}

void Concealer::fill(Pcm pcm) noexcept {
  std::size_t done = 0;
  if (missing_ == 0 && !pcm.empty()) {
    begin_gap();
    // The last real samples are gone, so what is between them and the cycle is taken along and let fade.
    const auto jump = static_cast<float>(past_[end_ - 1] - past_[end_ - 1 - lag_]);
    const std::size_t overlap = std::min(lag_ / 4, pcm.size());
    for (; done < overlap; ++done) pcm[done] = rounded(next() + jump * (1 - static_cast<float>(done + 1) / static_cast<float>(overlap + 1)));
  }
  for (; done < pcm.size() && missing_ < hold_ + fade_; ++done) pcm[done] = rounded(next());
  std::fill(pcm.begin() + static_cast<std::ptrdiff_t>(done), pcm.end(), std::int16_t{0});
  remember(pcm);
}

void Concealer::blend(Pcm pcm) noexcept {
  // The longer the gap, the less the two fit, and the longer they overlap: 4 ms more for each 10 ms (G.711 appendix I §I.2.7).
  const std::size_t overlap = std::min({lag_ / 4 + missing_ * 2 / 5, hold_, pcm.size()});
  for (std::size_t i = 0; i < overlap; ++i) {
    const float share = static_cast<float>(i + 1) / static_cast<float>(overlap + 1);
    const float filled = next();
    pcm[i] = rounded(filled + share * (static_cast<float>(pcm[i]) - filled));
  }
  missing_ = 0;
}

}  // namespace sipfarm::codec
