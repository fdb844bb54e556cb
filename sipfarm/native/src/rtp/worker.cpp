#include "rtp/worker.hpp"

#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <utility>

#include "rtp/descriptors.hpp"

namespace sipfarm::rtp {
namespace {

constexpr std::int64_t k_sweep_ms = 250;
constexpr std::size_t k_orders_per_turn = 256;

std::int64_t monotonic_us() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1'000;
}

void sleep_us(unsigned us) noexcept {
  const timespec time{0, static_cast<long>(us) * 1'000};
  ::nanosleep(&time, nullptr);
}

}  // namespace

bool Coalescer::update(std::size_t packets, std::int64_t now_us) noexcept {
  seen_ += packets;
  if (const std::int64_t elapsed_us = now_us - window_began_us_; elapsed_us >= k_window_us) {
    busy_ = seen_ * interval_us_ >= k_worthwhile * static_cast<std::size_t>(elapsed_us) && interval_us_ != 0;
    window_began_us_ = now_us;
    seen_ = 0;
  }
  return busy_;
}

// ---- control thread

Worker::Worker(const WorkerConfig& config, std::unique_ptr<MediaSockets> sockets, std::unique_ptr<KernelPath> kernel)
    : config_{config}, wake_fd_{make_eventfd()}, sockets_{std::move(sockets)}, kernel_{std::move(kernel)},
      relay_{config.relay, *sockets_, events_, kernel_.get()} {
  sockets_->watch(wake_fd_);
  // The process's signals are for its main thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  thread_ = std::thread{[this] { run(); }};
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_setname_np(thread_.native_handle(), "rtp");
}

Worker::~Worker() {
  stop();
  ::close(wake_fd_);
}

void Worker::order(const Order& order) {
  to_wake_ = true;
  if (!backlog_.empty() || !orders_.push(order)) backlog_.push_back(order);
}

void Worker::wake() {
  while (!backlog_.empty() && orders_.push(backlog_.front())) backlog_.pop_front();
  if (!to_wake_) return;
  to_wake_ = !backlog_.empty();
  signal_fd(wake_fd_);
}

bool Worker::poll(Event& event) {
  const auto next = events_.pop();
  if (next) event = *next;
  return next.has_value();
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true);
  signal_fd(wake_fd_);
  thread_.join();
}

// ---- worker thread

/// At a low rate the thread blocks in `wait`. At a high one it carries until nothing is left, then sleeps for a moment
/// while packets gather: fewer wake-ups, larger batches.
void Worker::run() noexcept {
  Coalescer coalescer{config_.coalesce_us};
  std::int64_t swept_ms = monotonic_us() / 1'000;
  bool block = true;
  relay_.sweep(swept_ms);
  while (!stopping_.load(std::memory_order_relaxed)) {
    if (sockets_->wait(block ? static_cast<int>(k_sweep_ms) : 0)) clear_fd(wake_fd_);
    wakeups_.add(1);
    const std::int64_t now_us = monotonic_us();
    const std::int64_t now_ms = now_us / 1'000;
    const std::size_t packets = relay_.carry(now_ms);
    const bool more_orders = obey(now_ms) == k_orders_per_turn;
    const bool closing = relay_.flush();
    if (now_ms - swept_ms >= k_sweep_ms) {
      relay_.sweep(now_ms);
      swept_ms = now_ms;
    }
    if (relay_.take_told()) signal_fd(config_.event_fd);
    const bool busy = coalescer.update(packets, now_us);
    block = !busy && !more_orders && !closing;
    if (busy && !more_orders && packets == 0) sleep_us(config_.coalesce_us);
  }
}

std::size_t Worker::obey(std::int64_t now_ms) noexcept {
  std::size_t count = 0;
  while (count < k_orders_per_turn) {
    const auto order = orders_.pop();
    if (!order) break;
    carry_out(*order, now_ms);
    ++count;
  }
  return count;
}

void Worker::carry_out(const Order& order, std::int64_t now_ms) noexcept {
  const Command& command = order.command;
  switch (command.kind) {
    case Command::Kind::open_relay:
    case Command::Kind::open_echo: return relay_.open(*order.stream, command, now_ms);
    case Command::Kind::set_remote:
      return relay_.set_remote(*order.stream, command.side, command.remotes[index(command.side)], now_ms);
    case Command::Kind::set_held: return relay_.set_held(*order.stream, command.held, now_ms);
    case Command::Kind::set_bridge: return relay_.set_bridge(*order.stream, order.bridge, now_ms);
    case Command::Kind::set_security: return relay_.set_security(*order.stream, command.side, *order.security, now_ms);
    case Command::Kind::close: return relay_.close(*order.stream, now_ms);
  }
}

}  // namespace sipfarm::rtp
