#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <iterator>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace sipfarm::store {

/// A thread that performs what piled up while it was busy as one batch. It needs no interpreter, so it neither waits for a busy event loop nor stops
/// one; the loop learns by a descriptor that outcomes can be taken.
template <typename Operation, typename Outcome>
class BatchThread {
 public:
  using Perform = std::function<std::vector<Outcome>(const std::vector<Operation>&)>;

  BatchThread() = default;
  ~BatchThread() {
    close();
    if (event_ >= 0) ::close(event_);
  }
  BatchThread(const BatchThread&) = delete;
  BatchThread& operator=(const BatchThread&) = delete;

  void start(Perform perform) {
    perform_ = std::move(perform);
    event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    thread_ = std::thread{[this] { work(); }};
  }

  /// Readable when outcomes can be taken.
  int descriptor() const noexcept { return event_; }

  void submit(Operation operation) {
    bool wake = false;
    {
      const std::lock_guard lock{mutex_};
      submitted_.push_back(std::move(operation));
      wake = waiting_;
    }
    if (wake) wake_.notify_one();
  }

  std::vector<Outcome> take() {
    std::uint64_t count = 0;
    static_cast<void>(!::read(event_, &count, sizeof count));  // nothing to read: nothing was told since
    const std::lock_guard lock{mutex_};
    return std::exchange(outcomes_, {});
  }

  /// Finishes what was submitted, and ends the thread.
  void close() {
    if (!thread_.joinable()) return;
    {
      const std::lock_guard lock{mutex_};
      closing_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t batch_max = 1'024;
  static constexpr auto gather = std::chrono::milliseconds{5};  // batches that follow each other closely are made one: each has its price

  void work() {
    auto ended = Clock::time_point{};
    while (true) {
      {
        std::unique_lock lock{mutex_};
        waiting_ = true;
        wake_.wait(lock, [this] { return closing_ || !submitted_.empty(); });
        waiting_ = false;
        if (submitted_.empty()) return;
      }
      if (Clock::now() - ended < gather) std::this_thread::sleep_for(gather);
      tell(perform_(next_batch()));
      ended = Clock::now();
    }
  }

  std::vector<Operation> next_batch() {
    const std::lock_guard lock{mutex_};
    if (submitted_.size() <= batch_max) return std::exchange(submitted_, {});
    const auto end = submitted_.begin() + batch_max;
    std::vector<Operation> batch{std::make_move_iterator(submitted_.begin()), std::make_move_iterator(end)};
    submitted_.erase(submitted_.begin(), end);
    return batch;
  }

  void tell(std::vector<Outcome> outcomes) {
    {
      const std::lock_guard lock{mutex_};
      std::move(outcomes.begin(), outcomes.end(), std::back_inserter(outcomes_));
    }
    const std::uint64_t one = 1;
    static_cast<void>(!::write(event_, &one, sizeof one));  // full: it is readable already
  }

  Perform perform_;
  int event_ = -1;

  std::mutex mutex_;  // of the following
  std::condition_variable wake_;
  std::vector<Operation> submitted_;
  std::vector<Outcome> outcomes_;
  bool waiting_ = false;  // the thread, for something to do
  bool closing_ = false;

  std::thread thread_;
};

}  // namespace sipfarm::store
