#include "rtp/socket.hpp"

#include <linux/filter.h>
#include <netinet/ip.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace sipfarm::rtp {
namespace {

constexpr int k_drain_limit = 65'536;  // more than any receive buffer holds

void drain(int fd) noexcept {
  char byte = 0;
  for (int i = 0; i < k_drain_limit; ++i) {
    if (::recv(fd, &byte, sizeof byte, MSG_DONTWAIT | MSG_TRUNC) < 0 && (errno == EAGAIN || errno == EBADF)) return;
  }
}

}  // namespace

std::optional<UdpSocket> UdpSocket::bind(const net::Address& local) noexcept {
  const int fd = ::socket(local.v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::nullopt;
  UdpSocket socket{fd};
  const int on = 1;
  if (local.v6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  sockaddr_storage storage{};
  const socklen_t bytes = local.to_sockaddr(storage);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&storage), bytes) != 0) {
    const int error = errno;
    { const UdpSocket closed{std::move(socket)}; }
    errno = error;
    return std::nullopt;
  }
  return socket;
}

UdpSocket::~UdpSocket() {
  if (fd_ >= 0) ::close(fd_);
}

/// Both codepoint fields carry it in the upper six bits.
void mark(int fd, bool v6, unsigned dscp) noexcept {
  const int field = static_cast<int>((dscp & 0x3fU) << 2U);
  if (v6) {
    ::setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &field, sizeof field);
  } else {
    ::setsockopt(fd, IPPROTO_IP, IP_TOS, &field, sizeof field);
  }
}

void refuse_all(int fd) noexcept {
  sock_filter drop_all{BPF_RET | BPF_K, 0, 0, 0};
  const sock_fprog program{1, &drop_all};
  ::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

void mute(int fd) noexcept {
  refuse_all(fd);
  disconnect(fd);
  drain(fd);
}

void unmute(int fd) noexcept {
  const int unused = 0;
  ::setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused);
}

bool connect_to(int fd, const net::Address& remote) noexcept {
  sockaddr_storage storage{};
  const socklen_t bytes = remote.to_sockaddr(storage);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&storage), bytes) == 0;
}

void disconnect(int fd) noexcept {
  sockaddr_storage nobody{};
  nobody.ss_family = AF_UNSPEC;
  ::connect(fd, reinterpret_cast<const sockaddr*>(&nobody), sizeof(sockaddr_in));
}

}  // namespace sipfarm::rtp
