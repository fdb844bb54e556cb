#include "rtp/port_sockets.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "rtp/descriptors.hpp"
#include "rtp/socket.hpp"

namespace sipfarm::rtp {

PortSockets::PortSockets() : epoll_{make_epoll()} {}

PortSockets::~PortSockets() { ::close(epoll_); }

void PortSockets::watch(int fd) noexcept {
  epoll_event event{EPOLLIN, {}};
  event.data.ptr = nullptr;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
}

bool PortSockets::open(Channel& channel) noexcept {
  epoll_event event{EPOLLIN, {}};
  event.data.ptr = &channel;
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, channel.fd, &event) != 0) return false;
  unmute(channel.fd);
  return true;
}

void PortSockets::close(Channel& channel) noexcept {
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, channel.fd, nullptr);
  mute(channel.fd);
}

void PortSockets::lock(Channel& channel) noexcept {
  channel.locked = connect_to(channel.fd, channel.latch.remote());
  channel.settled = false;
}

void PortSockets::unlock(Channel& channel) noexcept {
  if (channel.locked) disconnect(channel.fd);
  channel.locked = false;
  channel.settled = false;
}

bool PortSockets::wait(int timeout_ms) noexcept {
  const int count = ::epoll_wait(epoll_, ready_.data(), static_cast<int>(ready_.size()), timeout_ms);
  ready_count_ = count > 0 ? static_cast<std::size_t>(count) : 0;
  next_ = 0;
  more_ = ready_count_ != 0;
  drains_ += 2;  // a muted socket keeps nothing
  bool watched = false;
  for (std::size_t i = 0; i < ready_count_; ++i) watched |= ready_[i].data.ptr == nullptr;
  return watched;
}

/// One packet of each port, so that none is starved; of a port that has just been locked all, until the queue from before
/// is read.
std::span<Arrival> PortSockets::receive(std::int64_t) noexcept {
  taken_ = 0;
  for (; next_ < ready_count_ && taken_ < k_batch; ++next_) {
    if (next_ + 1 < ready_count_) __builtin_prefetch(ready_[next_ + 1].data.ptr);
    if (ready_[next_].data.ptr == nullptr) continue;
    Channel& channel = *static_cast<Channel*>(ready_[next_].data.ptr);
    bool again = take(channel);
    while (again && channel.locked && !channel.settled && taken_ < k_batch) again = take(channel);
  }
  more_ = next_ < ready_count_;
  return {arrivals_.data(), taken_};
}

bool PortSockets::take(Channel& channel) noexcept {
  prefetch(channel);
  std::uint8_t* const bytes = slots_[taken_];
  sockaddr_storage& source = sources_[taken_];
  const bool vouched = channel.settled;
  ssize_t count = 0;
  if (vouched) {
    count = ::recv(channel.fd, bytes, k_datagram_bytes, 0);
  } else {
    socklen_t source_bytes = sizeof source;
    count = ::recvfrom(channel.fd, bytes, k_datagram_bytes, 0, reinterpret_cast<sockaddr*>(&source), &source_bytes);
  }
  if (count < 0) {
    if (errno == EAGAIN) channel.settled = channel.locked;
    return false;
  }
  arrivals_[taken_++] = {&channel, {bytes, static_cast<std::size_t>(count)}, &source, vouched};
  return true;
}

void PortSockets::send(std::span<Departure> departures) noexcept {
  for (Departure& departure : departures) departure.sent = send(*departure.channel, departure.bytes);
}

bool PortSockets::send(Channel& out, std::span<const std::uint8_t> bytes) noexcept {
  if (!out.locked) return ::sendto(out.fd, bytes.data(), bytes.size(), 0, &out.to.any, out.to_bytes) >= 0;
  if (::send(out.fd, bytes.data(), bytes.size(), 0) >= 0) return true;
  // An ICMP error of an earlier packet is told to the next one, which then has not been sent.
  return errno == ECONNREFUSED && ::send(out.fd, bytes.data(), bytes.size(), 0) >= 0;
}

}  // namespace sipfarm::rtp
