#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <memory>

#include "srtp/session.hpp"

namespace sipfarm::rtp {

/// How the packets of a face are protected. A direction without a session is not keyed yet: its packets are dropped.
struct FaceSecurity {
  std::shared_ptr<srtp::Session> in;
  std::shared_ptr<srtp::Session> out;
  bool plain = false;  // not protected (any more)
};

/// What the worker protects a face by: it reads the pointer, and says which one it has taken. It frees nothing.
class SecuritySlot {
 public:
  /// Worker thread.
  void take(FaceSecurity* security) noexcept {
    current_ = security->plain ? nullptr : security;
    taken_.store(security, std::memory_order_release);
  }
  FaceSecurity* current() const noexcept { return current_; }
  /// Control thread.
  const FaceSecurity* taken() const noexcept { return taken_.load(std::memory_order_acquire); }

 private:
  FaceSecurity* current_ = nullptr;
  std::atomic<FaceSecurity*> taken_{nullptr};
};

/// The control thread's end: all that the worker may still have in its hand, the latest last.
class SecurityKeeper {
 public:
  static constexpr std::size_t k_waiting_max = 16;

  /// The one that was handed over last; nothing before.
  const FaceSecurity* latest() const noexcept { return kept_.empty() ? nullptr : kept_.back().get(); }

  /// Keeps it until the worker has taken a later one. Nothing if the worker is so far behind that this is refused.
  FaceSecurity* hand_over(FaceSecurity security) {
    if (kept_.size() == k_waiting_max) return nullptr;
    kept_.push_back(std::make_unique<FaceSecurity>(std::move(security)));
    return kept_.back().get();
  }

  /// Frees, and so wipes, what the worker has let go. True while there may be more of it later.
  bool reap(const SecuritySlot& slot) {
    const FaceSecurity* const taken = slot.taken();
    for (std::size_t i = 0; i < kept_.size(); ++i) {
      if (kept_[i].get() != taken) continue;
      kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(i));
      break;
    }
    return !kept_.empty() && kept_.back().get() != taken;
  }

 private:
  std::deque<std::unique_ptr<FaceSecurity>> kept_;
};

}  // namespace sipfarm::rtp
