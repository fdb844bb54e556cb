#include "rtp/held_ports.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "rtp/descriptors.hpp"

namespace sipfarm::rtp {
namespace {

constexpr int k_queue_bytes = 64 << 20;  // messages are charged to the sender; each takes about a kilobyte

}  // namespace

HeldPorts::HeldPorts() : ends_{make_socket_pair()} {
  ::setsockopt(ends_[0], SOL_SOCKET, SO_SNDBUFFORCE, &k_queue_bytes, sizeof k_queue_bytes);
}

HeldPorts::~HeldPorts() {
  for (const int fd : ends_) ::close(fd);
}

bool HeldPorts::hold(std::span<const UdpSocket> sockets) noexcept {
  if (sockets.empty() || sockets.size() > k_at_once) return sockets.empty();
  alignas(cmsghdr) std::array<char, CMSG_SPACE(k_at_once * sizeof(int))> control{};
  char nothing = 0;
  iovec data{&nothing, 1};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(sockets.size() * sizeof(int));
  cmsghdr* const rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sockets.size() * sizeof(int));
  const int least = 0;  // no packet is meant for it
  for (std::size_t i = 0; i < sockets.size(); ++i) {
    const int fd = sockets[i].fd();
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least);
    std::memcpy(CMSG_DATA(rights) + i * sizeof fd, &fd, sizeof fd);
  }
  return ::sendmsg(ends_[0], &message, MSG_NOSIGNAL) == 1;
}

}  // namespace sipfarm::rtp
