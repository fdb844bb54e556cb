#pragma once

#include <cmath>
#include <numbers>

namespace sipfarm::audio {

/// A sine, by turning a vector: no table, no drift of the phase.
class Oscillator {
 public:
  Oscillator() = default;
  Oscillator(float hz, float rate_hz, float amplitude) noexcept
      : turn_x_{std::cos(step(hz, rate_hz))}, turn_y_{std::sin(step(hz, rate_hz))}, amplitude_{amplitude} {}

  float next() noexcept {
    const double value = y_;
    const double x = x_ * turn_x_ - y_ * turn_y_;
    y_ = x_ * turn_y_ + y_ * turn_x_;
    x_ = x;
    return amplitude_ * static_cast<float>(value);
  }

  /// Takes away what roundings added to the length; once a frame is often enough for years.
  void steady() noexcept {
    const double correction = 1.5 - 0.5 * (x_ * x_ + y_ * y_);
    x_ *= correction;
    y_ *= correction;
  }

 private:
  static double step(float hz, float rate_hz) noexcept { return 2.0 * std::numbers::pi * static_cast<double>(hz) / static_cast<double>(rate_hz); }

  double turn_x_ = 1.0;
  double turn_y_ = 0.0;
  double x_ = 1.0;
  double y_ = 0.0;
  float amplitude_ = 0.0F;
};

}  // namespace sipfarm::audio
