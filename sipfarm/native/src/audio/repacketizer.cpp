#include "audio/repacketizer.hpp"

#include <algorithm>

namespace sipfarm::audio {

bool Repacketizer::push(ConstPcm pcm) noexcept {
  if (held_ + pcm.size() > samples_.size()) return false;
  if (begin_ + held_ + pcm.size() > samples_.size()) move_to_front();
  std::copy(pcm.begin(), pcm.end(), samples_.begin() + static_cast<std::ptrdiff_t>(begin_ + held_));
  held_ += pcm.size();
  return true;
}

ConstPcm Repacketizer::pop() noexcept {
  if (held_ < frame_) return {};
  const ConstPcm out{samples_.data() + begin_, frame_};
  begin_ += frame_;
  held_ -= frame_;
  return out;
}

std::size_t Repacketizer::flush() noexcept {
  const std::size_t missing = (frame_ - held_ % frame_) % frame_;
  if (missing == 0 || held_ + missing > samples_.size()) return 0;
  move_to_front();
  std::fill_n(samples_.begin() + static_cast<std::ptrdiff_t>(held_), missing, std::int16_t{0});
  held_ += missing;
  return missing;
}

void Repacketizer::move_to_front() noexcept {
  const auto first = samples_.begin() + static_cast<std::ptrdiff_t>(begin_);
  std::copy(first, first + static_cast<std::ptrdiff_t>(held_), samples_.begin());
  begin_ = 0;
}

}  // namespace sipfarm::audio
