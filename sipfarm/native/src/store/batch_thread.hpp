#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "store/outbox.hpp"

namespace sipfarm::store {

/// A thread that performs what piled up while it was busy as one batch. It needs no interpreter, so it neither waits for a busy event loop nor stops
/// one. What becomes of an operation is put into the outbox of who submitted it.
template <typename Operation, typename Outcome>
class BatchThread {
 public:
  /// One outcome for each operation, in their order.
  using Perform = std::function<std::vector<Outcome>(std::vector<Operation>)>;
  using Box = std::shared_ptr<Outbox<Outcome>>;

  BatchThread() = default;
  ~BatchThread() { close(); }
  BatchThread(const BatchThread&) = delete;
  BatchThread& operator=(const BatchThread&) = delete;

  /// Batches that would follow each other within `gather` are made one: each has its price.
  void start(Perform perform, std::chrono::milliseconds gather) {
    perform_ = std::move(perform);
    gather_ = gather;
    thread_ = std::thread{[this] { work(); }};
  }

  void submit(Operation operation, const Box& outbox) {
    bool wake = false;
    {
      const std::lock_guard lock{mutex_};
      submitted_.operations.push_back(std::move(operation));
      submitted_.outboxes.push_back(outbox);
      wake = waiting_;
    }
    if (wake) wake_.notify_one();
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

  struct Batch {
    std::vector<Operation> operations;
    std::vector<Box> outboxes;  // of the operations, in their order
  };

  void work() {
    auto ended = Clock::time_point{};
    while (true) {
      {
        std::unique_lock lock{mutex_};
        waiting_ = true;
        wake_.wait(lock, [this] { return closing_ || !submitted_.operations.empty(); });
        waiting_ = false;
        if (submitted_.operations.empty()) return;
      }
      if (Clock::now() - ended < gather_) std::this_thread::sleep_for(gather_);
      Batch batch = next_batch();
      tell(perform_(std::move(batch.operations)), batch.outboxes);
      ended = Clock::now();
    }
  }

  Batch next_batch() {
    const std::lock_guard lock{mutex_};
    if (submitted_.operations.size() <= batch_max) return std::exchange(submitted_, {});
    return {first_of(submitted_.operations), first_of(submitted_.outboxes)};
  }
  template <typename Value>
  static std::vector<Value> first_of(std::vector<Value>& values) {
    const auto end = values.begin() + batch_max;
    std::vector<Value> first{std::make_move_iterator(values.begin()), std::make_move_iterator(end)};
    values.erase(values.begin(), end);
    return first;
  }

  static void tell(std::vector<Outcome> outcomes, const std::vector<Box>& outboxes) {
    for (std::size_t begin = 0, end = 0; begin < outcomes.size(); begin = end) {
      while (end < outcomes.size() && outboxes[end] == outboxes[begin]) ++end;
      const auto at = [&](std::size_t index) { return outcomes.begin() + static_cast<std::ptrdiff_t>(index); };
      outboxes[begin]->put(at(begin), at(end));
    }
  }

  Perform perform_;
  std::chrono::milliseconds gather_{};

  std::mutex mutex_;  // of the following
  std::condition_variable wake_;
  Batch submitted_;
  bool waiting_ = false;  // the thread, for something to do
  bool closing_ = false;

  std::thread thread_;
};

}  // namespace sipfarm::store
