#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "rtp/bridge.hpp"

namespace sipfarm::rtp {

/// The bridges of one stream, as the control thread keeps them: the worker's is the last it has taken; those before it are freed.
class BridgeShelf {
 public:
  /// `taken`: how many of those that were put the worker has taken. False while too many are on their way.
  bool has_room(std::uint32_t taken) noexcept {
    while (first_ + 1 < taken) {
      bridges_.pop_front();
      ++first_;
    }
    return bridges_.size() < k_max;
  }

  /// What the worker is to be given; nothing, too, is one.
  Bridge* put(std::unique_ptr<Bridge> bridge) {
    bridges_.push_back(std::move(bridge));
    return bridges_.back().get();
  }

  const Bridge* last() const noexcept { return bridges_.empty() ? nullptr : bridges_.back().get(); }

 private:
  static constexpr std::size_t k_max = 8;

  std::deque<std::unique_ptr<Bridge>> bridges_;
  std::uint32_t first_ = 0;  // the number of the first, counted from the stream's beginning
};

}  // namespace sipfarm::rtp
