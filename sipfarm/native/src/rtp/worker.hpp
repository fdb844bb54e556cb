#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <thread>

#include "rtp/commands.hpp"
#include "rtp/kernel_path.hpp"
#include "rtp/media_sockets.hpp"
#include "rtp/relay.hpp"
#include "rtp/spsc_ring.hpp"

namespace sipfarm::rtp {

/// A command with the stream it is for: the control thread knows the pointers.
struct Order {
  Command command;
  Stream* stream = nullptr;
  Bridge* bridge = nullptr;  // set_bridge; nullptr: a plain relay again
  FaceSecurity* security = nullptr;  // set_security
};

struct WorkerConfig {
  RelayConfig relay;
  unsigned coalesce_us = 1'000;
  int event_fd = -1;  // written to when events were pushed
};

/// One thread that carries the packets of its streams. Methods are for the control thread.
class Worker {
 public:
  /// Throws std::system_error. The thread starts at once.
  Worker(const WorkerConfig& config, std::unique_ptr<MediaSockets> sockets, std::unique_ptr<KernelPath> kernel);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Queues an order; the thread sees it after `wake`.
  void order(const Order& order);
  /// Moves what had found no room into the ring, and wakes the thread if it has orders.
  void wake();
  /// Orders that found no room in the ring; the caller keeps this bounded.
  std::size_t backlog() const noexcept { return backlog_.size(); }

  bool poll(Event& event);
  const RelayTotals& totals() const noexcept { return relay_.totals(); }
  const SocketTotals& socket_totals() const noexcept { return sockets_->totals(); }
  std::uint64_t wakeups() const noexcept { return wakeups_.get(); }

  void stop();

 private:
  static constexpr std::size_t k_orders = 1'024;
  static constexpr std::size_t k_events = 4'096;

  void run() noexcept;
  std::size_t obey(std::int64_t now_ms) noexcept;
  void carry_out(const Order& order, std::int64_t now_ms) noexcept;

  WorkerConfig config_;
  SpscRing<Order> orders_{k_orders};
  SpscRing<Event> events_{k_events};
  std::deque<Order> backlog_;  // control thread
  bool to_wake_ = false;       // control thread
  int wake_fd_;
  std::atomic<bool> stopping_{false};
  std::unique_ptr<MediaSockets> sockets_;
  std::unique_ptr<KernelPath> kernel_;
  Relay relay_;
  Counter wakeups_;
  std::thread thread_;
};

/// Whether it saves wake-ups to let packets gather for `interval_us`, judged by the rate of late.
class Coalescer {
 public:
  explicit Coalescer(unsigned interval_us) noexcept : interval_us_{interval_us} {}

  /// Takes note of a batch; true while gathering is worthwhile.
  bool update(std::size_t packets, std::int64_t now_us) noexcept;

 private:
  static constexpr std::int64_t k_window_us = 10'000;
  static constexpr std::size_t k_worthwhile = 2;  // packets per interval

  unsigned interval_us_;
  std::int64_t window_began_us_ = 0;
  std::size_t seen_ = 0;
  bool busy_ = false;
};

}  // namespace sipfarm::rtp
