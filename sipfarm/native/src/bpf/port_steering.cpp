#include "bpf/port_steering.hpp"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sipfarm::bpf {
namespace {

/// The program reads what is stored here, from any CPU.
template <typename Value>
void store(Value& target, Value value) noexcept {
  std::atomic_ref{target}.store(value, std::memory_order_release);
}

std::uint32_t take(std::uint32_t& count) noexcept {
  const std::atomic_ref counter{count};
  return counter.load(std::memory_order_relaxed) == 0 ? 0 : counter.exchange(0, std::memory_order_relaxed);
}

/// A socket that takes nothing; -1 with errno set.
int make_sink(net::Address address) noexcept {
  const int fd = ::socket(address.v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  sock_filter drop_all{BPF_RET | BPF_K, 0, 0, 0};
  const sock_fprog filter{1, &drop_all};
  sockaddr_storage storage{};
  address.port = 0;
  const socklen_t bytes = address.to_sockaddr(storage);
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0 &&
      ::bind(fd, reinterpret_cast<const sockaddr*>(&storage), bytes) == 0) {
    return fd;
  }
  const int error = errno;
  ::close(fd);
  errno = error;
  return -1;
}

}  // namespace

std::unique_ptr<PortSteering> PortSteering::attach(const SteeringConfig& config, std::string& reason) {
  if (config.address.is_unspecified()) {
    reason = "the media address is a wildcard";
    return nullptr;
  }
  auto program = SteeringProgram::load(config, reason);
  if (!program) return nullptr;
  const int sink = make_sink(config.address);
  if (sink >= 0 && program->set_socket(SIPFARM_PLACE_SINK, sink)) {
    return std::make_unique<PortSteering>(std::move(program), sink, config.first_port);
  }
  reason = std::string{"no socket for what is to be dropped: "} + std::strerror(errno);
  if (sink >= 0) ::close(sink);
  return nullptr;
}

PortSteering::PortSteering(std::unique_ptr<SteeringProgram> program, int sink, std::uint16_t first_port) noexcept
    : program_{std::move(program)}, table_{program_->table()}, sink_{sink}, first_port_{first_port} {}

PortSteering::~PortSteering() { ::close(sink_); }

bool PortSteering::set_worker_socket(unsigned worker, int fd) noexcept {
  return program_->set_socket(SIPFARM_PLACE_FIRST_WORKER + worker, fd);
}

void PortSteering::open(std::uint16_t port, unsigned worker) noexcept {
  store(entry(port).place, static_cast<__u8>(SIPFARM_PLACE_FIRST_WORKER + worker));
}

void PortSteering::rest(std::uint16_t port) noexcept { store(entry(port).place, static_cast<__u8>(SIPFARM_PLACE_SINK)); }

void PortSteering::lock(std::uint16_t port, const net::Address& remote) noexcept {
  steered_port& at = entry(port);
  std::array<__be32, 4> ip{};
  std::memcpy(ip.data(), remote.ip.data(), sizeof ip);
  for (std::size_t i = 0; i < ip.size(); ++i) store(at.remote_ip[i], ip[i]);
  store(at.remote_port, static_cast<__be16>(htons(remote.port)));
  store(at.locked, __u8{1});
}

void PortSteering::unlock(std::uint16_t port) noexcept { store(entry(port).locked, __u8{0}); }

PortSteering::Refused PortSteering::take_refused(std::uint16_t port) noexcept {
  return {take(entry(port).strangers), take(entry(port).sunk)};
}

}  // namespace sipfarm::bpf
