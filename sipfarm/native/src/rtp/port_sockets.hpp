#pragma once

#include <sys/epoll.h>

#include <array>

#include "rtp/datagram_slots.hpp"
#include "rtp/media_sockets.hpp"

namespace sipfarm::rtp {

/// A socket for each port, connected once its source is locked. The sockets' fds stand in the channels; they are bound and
/// muted while no channel is open.
class PortSockets final : public MediaSockets {
 public:
  /// Throws std::system_error if there is no epoll to be had.
  PortSockets();
  ~PortSockets() override;

  void watch(int fd) noexcept override;
  bool open(Channel& channel) noexcept override;
  void close(Channel& channel) noexcept override;
  void aim(Channel& channel) noexcept override { set_destination(channel); }
  void lock(Channel& channel) noexcept override;
  void unlock(Channel& channel) noexcept override;
  void shed(Channel&, std::int64_t) noexcept override {}  // a socket has a queue of its own, and one packet a turn

  bool wait(int timeout_ms) noexcept override;
  std::span<Arrival> receive(std::int64_t now_ms) noexcept override;
  void send(std::span<Departure> departures) noexcept override;

 private:
  static constexpr std::size_t k_ready = 256;

  bool take(Channel& channel) noexcept;
  static bool send(Channel& out, std::span<const std::uint8_t> bytes) noexcept;

  int epoll_;
  std::array<epoll_event, k_ready> ready_{};
  std::size_t ready_count_ = 0;
  std::size_t next_ = 0;   // of ready_ to be read
  std::size_t taken_ = 0;  // of this batch
  DatagramSlots slots_;
  std::array<Arrival, k_batch> arrivals_;
  std::array<sockaddr_storage, k_batch> sources_;
};

}  // namespace sipfarm::rtp
