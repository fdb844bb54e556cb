#include "audio/dtmf_detector.hpp"

#include <spandsp.h>

#include <algorithm>
#include <new>

namespace sipfarm::audio {

namespace {

constexpr std::uint32_t k_rate_hz = 8'000;
constexpr std::size_t k_step = 80;  // to which times are told

}  // namespace

void DtmfDetector::Free::operator()(dtmf_rx_state_s* state) const noexcept { dtmf_rx_free(state); }

DtmfDetector::DtmfDetector(std::uint32_t sample_rate_hz)
    : to_8_khz_{sample_rate_hz, k_rate_hz},
      narrow_(to_8_khz_.out_samples(sample_rate_hz * codec::k_frame_ms_max / 1'000)),
      state_{dtmf_rx_init(nullptr, nullptr, nullptr)} {
  if (!state_) throw std::bad_alloc{};
  dtmf_rx_set_realtime_callback(state_.get(), &DtmfDetector::hear, this);
}

std::span<const DtmfDetector::Digit> DtmfDetector::process(ConstPcm pcm) noexcept {
  count_ = 0;
  const std::size_t made = to_8_khz_.process(pcm, narrow_);
  for (std::size_t at = 0; at < made; at += k_step) {
    const std::size_t samples = std::min(k_step, made - at);
    heard_samples_ += samples;
    dtmf_rx(state_.get(), narrow_.data() + at, static_cast<int>(samples));
  }
  std::array<char, 32> kept{};  // spandsp keeps the digits too, and would run full
  while (dtmf_rx_get(state_.get(), kept.data(), static_cast<int>(kept.size()) - 1) > 0) {
  }
  return {digits_.data(), count_};
}

void DtmfDetector::hear(void* self, int code, int, int) noexcept {
  auto& detector = *static_cast<DtmfDetector*>(self);
  if (detector.sounding_ != '\0') detector.note(Digit::Kind::ended, detector.sounding_);
  detector.sounding_ = static_cast<char>(code);
  detector.began_samples_ = detector.heard_samples_;
  if (detector.sounding_ != '\0') detector.note(Digit::Kind::began, detector.sounding_);
}

void DtmfDetector::note(Digit::Kind kind, char digit) noexcept {
  if (count_ == k_digits_max) return;
  const std::uint64_t samples = kind == Digit::Kind::ended ? heard_samples_ - began_samples_ : 0;
  digits_[count_++] = {kind, digit, static_cast<std::uint32_t>(samples * 1'000 / k_rate_hz)};
}

}  // namespace sipfarm::audio
