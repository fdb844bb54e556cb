#include "bpf/netlink.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace sipfarm::bpf {

Netlink::Netlink(Netlink&& other) noexcept : fd_{std::exchange(other.fd_, -1)}, sequence_{other.sequence_} {}

Netlink::~Netlink() {
  if (fd_ >= 0) ::close(fd_);
}

bool Netlink::open() noexcept {
  fd_ = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  sockaddr_nl name{};  // the kernel chooses the rest; without a name nothing is heard of changes
  name.nl_family = AF_NETLINK;
  return fd_ >= 0 && ::bind(fd_, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0;
}

bool Netlink::subscribe(unsigned group) noexcept {
  return ::setsockopt(fd_, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) == 0;
}

int Netlink::carry_out(NetlinkRequest& request) noexcept {
  const nlmsghdr* const answer = ask(request);
  return answer == nullptr ? errno : 0;
}

const nlmsghdr* Netlink::ask(NetlinkRequest& request) noexcept {
  if (!send(request)) return nullptr;
  const std::size_t bytes = receive();
  if (bytes == 0) return nullptr;
  const nlmsghdr* const answer = first();
  if (!is_whole(*answer, bytes)) {
    errno = EPROTO;
    return nullptr;
  }
  if (answer->nlmsg_type != NLMSG_ERROR) return answer;
  nlmsgerr error{};
  std::memcpy(&error, NLMSG_DATA(answer), sizeof error);
  errno = -error.error;
  return error.error == 0 ? answer : nullptr;
}

bool Netlink::drain() noexcept {
  bool any = false;
  for (;;) {
    const ssize_t count = ::recv(fd_, answer_.data(), answer_.size(), 0);
    if (count < 0 && errno == EAGAIN) return any;
    any = true;
    if (count <= 0 && errno != ENOBUFS && errno != EINTR) return any;
  }
}

bool Netlink::send(NetlinkRequest& request) noexcept {
  if (!request.valid()) {
    errno = EMSGSIZE;
    return false;
  }
  drain();  // of an answer that nobody took
  nlmsghdr& head = request.head();
  head.nlmsg_seq = ++sequence_;
  return ::send(fd_, &head, head.nlmsg_len, 0) == static_cast<ssize_t>(head.nlmsg_len);
}

/// 0, with errno set, if there is nothing.
std::size_t Netlink::receive() noexcept {
  for (;;) {
    const ssize_t count = ::recv(fd_, answer_.data(), answer_.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return 0;
    if (!is_whole(*first(), static_cast<std::size_t>(count)) || first()->nlmsg_seq == sequence_) return static_cast<std::size_t>(count);
  }
}

bool Netlink::is_whole(const nlmsghdr& message, std::size_t rest) noexcept {
  return rest >= sizeof message && message.nlmsg_len >= sizeof message && message.nlmsg_len <= rest;
}

const nlmsghdr* Netlink::next(const nlmsghdr& message, std::size_t& rest) noexcept {
  const std::size_t bytes = NLMSG_ALIGN(message.nlmsg_len);
  rest = bytes < rest ? rest - bytes : 0;
  return reinterpret_cast<const nlmsghdr*>(reinterpret_cast<const char*>(&message) + bytes);
}

}  // namespace sipfarm::bpf
