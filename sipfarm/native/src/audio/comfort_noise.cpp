#include "audio/comfort_noise.hpp"

#include <algorithm>
#include <cmath>

namespace sipfarm::audio {

namespace {

constexpr float k_uniform_rms = 0.57735027F;  // of -1..1
constexpr float k_step = 258.0F / 32'768.0F;  // RFC 3389 §3.2
constexpr int k_zero = 127;

}  // namespace

NoiseDescription NoiseDescription::parse(ConstPayload payload) noexcept {
  NoiseDescription out;
  if (payload.empty()) return out;
  out.dbov = -static_cast<float>(payload[0] & 0x7fU);
  out.order = std::min(payload.size() - 1, k_order_max);
  for (std::size_t i = 0; i < out.order; ++i) {
    out.reflection[i] = std::clamp(k_step * static_cast<float>(payload[i + 1] - k_zero), -0.99F, 0.99F);
  }
  return out;
}

std::size_t NoiseDescription::write(Payload out) const noexcept {
  out[0] = level_field(dbov);
  for (std::size_t i = 0; i < order; ++i) {
    out[i + 1] = static_cast<std::uint8_t>(std::clamp<long>(std::lrint(reflection[i] / k_step) + k_zero, 0, 254));
  }
  return 1 + order;
}

// ---- receiving

void ComfortNoise::receive(const NoiseDescription& noise) noexcept {
  noise_ = noise;
  float unfiltered = 1.0F;
  for (std::size_t i = 0; i < noise.order; ++i) unfiltered *= 1.0F - noise.reflection[i] * noise.reflection[i];
  shape_ = std::sqrt(unfiltered) / k_uniform_rms;
  wanted_ = noise.dbov <= k_silence_dbov ? 0.0F : static_cast<float>(k_overload) * factor_of_db(noise.dbov);
  backward_ = {};  // what one filter holds may be far too loud in another
}

void ComfortNoise::fill(Pcm out) noexcept {
  const float step = out.empty() ? 0.0F : (wanted_ - applied_) / static_cast<float>(out.size());
  for (std::int16_t& sample : out) {
    applied_ += step;
    float forward = shape_ * white();
    for (std::size_t m = noise_.order; m > 0; --m) {  // an all-pole lattice: stable for any coefficients below 1
      forward -= noise_.reflection[m - 1] * backward_[m - 1];
      backward_[m] = backward_[m - 1] + noise_.reflection[m - 1] * forward;
    }
    backward_[0] = forward;
    sample = to_sample(applied_ * forward);
  }
  applied_ = wanted_;
}

float ComfortNoise::white() noexcept {
  dice_ ^= dice_ << 13U;
  dice_ ^= dice_ >> 17U;
  dice_ ^= dice_ << 5U;
  return static_cast<float>(static_cast<std::int32_t>(dice_)) / 2'147'483'648.0F;
}

// ---- sending

void NoiseEstimate::process(ConstPcm pcm) noexcept {
  if (pcm.empty()) return;
  const double weight = known_ ? static_cast<double>(k_weight) : 1.0;
  known_ = true;
  for (std::size_t lag = 0; lag <= order_; ++lag) {
    double sum = 0.0;
    for (std::size_t i = lag; i < pcm.size(); ++i) sum += static_cast<double>(pcm[i]) * static_cast<double>(pcm[i - lag]);
    correlation_[lag] += weight * (sum / static_cast<double>(pcm.size()) - correlation_[lag]);
  }
}

/// Reflection coefficients by the recursion of Levinson and Durbin.
NoiseDescription NoiseEstimate::describe() const noexcept {
  NoiseDescription out;
  const double power = correlation_[0];
  if (power < 1e-3) return out;
  out.dbov = std::max(static_cast<float>(10.0 * std::log10(power / (k_overload * k_overload))), k_silence_dbov);
  std::array<double, NoiseDescription::k_order_max + 1> predictor{};
  double error = power;
  for (std::size_t m = 1; m <= order_; ++m) {
    double sum = correlation_[m];
    for (std::size_t i = 1; i < m; ++i) sum += predictor[i] * correlation_[m - i];
    const double reflection = std::clamp(-sum / error, -0.99, 0.99);
    const auto before = predictor;
    for (std::size_t i = 1; i < m; ++i) predictor[i] = before[i] + reflection * before[m - i];
    predictor[m] = reflection;
    error *= 1.0 - reflection * reflection;
    out.reflection[m - 1] = static_cast<float>(reflection);
  }
  out.order = order_;
  return out;
}

}  // namespace sipfarm::audio
