#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <iterator>
#include <mutex>
#include <utility>
#include <vector>

namespace sipfarm::store {

/// Where a thread puts outcomes for who asked; who asked learns by a descriptor that there are some.
template <typename Outcome>
class Outbox {
 public:
  Outbox() : event_{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)} {}
  ~Outbox() {
    if (event_ >= 0) ::close(event_);
  }
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  /// Readable when outcomes can be taken.
  int descriptor() const noexcept { return event_; }

  /// Outcomes from `begin` up to `end`, which are moved from.
  template <typename Iterator>
  void put(Iterator begin, Iterator end) {
    bool wake = false;
    {
      const std::lock_guard lock{mutex_};
      wake = outcomes_.empty();
      outcomes_.insert(outcomes_.end(), std::make_move_iterator(begin), std::make_move_iterator(end));
    }
    const std::uint64_t one = 1;
    if (wake) static_cast<void>(!::write(event_, &one, sizeof one));  // full: it is readable already
  }

  std::vector<Outcome> take() {
    std::uint64_t count = 0;
    static_cast<void>(!::read(event_, &count, sizeof count));  // nothing to read: nothing was told since
    const std::lock_guard lock{mutex_};
    return std::exchange(outcomes_, {});
  }

 private:
  int event_;
  std::mutex mutex_;  // of the following
  std::vector<Outcome> outcomes_;
};

}  // namespace sipfarm::store
