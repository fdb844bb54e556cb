#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "bpf/port_steering.hpp"
#include "rtp/datagram_slots.hpp"
#include "rtp/media_sockets.hpp"

namespace sipfarm::rtp {

struct SteeredConfig {
  net::Address address;
  std::uint16_t first_port = 0;
  std::uint16_t last_port = 0;
  unsigned dscp = 46;
  unsigned worker = 0;
};

/// One socket takes the packets of all ports of a thread, since the kernel steers them there; a raw one sends from any port.
class SteeredSockets final : public MediaSockets {
 public:
  /// Nothing, and why not in `reason`, where the kernel or the process's rights do not give it. The steering outlives it.
  static std::unique_ptr<SteeredSockets> make(const SteeredConfig& config, bpf::PortSteering& steering, std::string& reason);

  SteeredSockets(const SteeredConfig& config, bpf::PortSteering& steering, int epoll, int in, int out);
  ~SteeredSockets() override;

  void watch(int fd) noexcept override;
  bool open(Channel& channel) noexcept override;
  void close(Channel& channel) noexcept override;
  void aim(Channel& channel) noexcept override;
  void lock(Channel& channel) noexcept override;
  void unlock(Channel& channel) noexcept override;
  void shed(Channel& channel, std::int64_t now_ms) noexcept override;

  bool wait(int timeout_ms) noexcept override;
  std::span<Arrival> receive(std::int64_t now_ms) noexcept override;
  void send(std::span<Departure> departures) noexcept override;
  void sweep() noexcept override;

 private:
  static constexpr std::size_t k_shed = 256;              // channels kept off at a time; more are dropped one by one
  static constexpr std::size_t k_queue_packets = 65'536;  // more than the receive queue holds

  struct alignas(64) Envelope {
    sockaddr_storage source;
    alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof(sockaddr_in6))> control;
  };

  Channel*& channel_at(std::uint16_t port) noexcept { return channels_[static_cast<std::size_t>(port - config_.first_port)]; }
  Channel* destination(const msghdr& header) noexcept;
  void collect(Channel& channel) noexcept;
  void end_shedding() noexcept;
  void transmit(std::span<Departure> departures) noexcept;

  SteeredConfig config_;
  bpf::PortSteering& steering_;
  int epoll_;
  int in_;
  int out_;
  std::vector<Channel*> channels_;  // by port, from the first one
  std::size_t taken_since_drain_ = 0;
  std::array<Channel*, k_shed> shed_{};
  std::size_t shed_count_ = 0;
  std::uint32_t shed_window_ = 0;
  DatagramSlots slots_;
  std::array<mmsghdr, k_batch> received_{};
  std::array<iovec, k_batch> rooms_{};
  std::array<Envelope, k_batch> envelopes_;
  std::array<Arrival, k_batch> arrivals_;
  std::array<mmsghdr, k_batch> leaving_{};
  std::array<iovec, k_batch> datagrams_{};
  std::array<SocketAddress, k_batch> destinations_{};
};

}  // namespace sipfarm::rtp
