#include "rtp/descriptors.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

namespace sipfarm::rtp {
namespace {

int checked(int fd, const char* what) {
  if (fd < 0) throw std::system_error{errno, std::generic_category(), what};
  return fd;
}

}  // namespace

int make_epoll() { return checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1"); }

int make_eventfd() { return checked(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd"); }

std::array<int, 2> make_socket_pair() {
  std::array<int, 2> ends{};
  checked(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), "socketpair");
  return ends;
}

void signal_fd(int eventfd) noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(eventfd, &one, sizeof one);  // full means: signalled already
}

void clear_fd(int eventfd) noexcept {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(eventfd, &count, sizeof count);  // nothing there: clear already
}

}  // namespace sipfarm::rtp
