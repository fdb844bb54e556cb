#pragma once

#include <array>

namespace sipfarm::rtp {

/// All throw std::system_error when the process or the machine has no descriptor left.
int make_epoll();
int make_eventfd();
/// Two ends of a non-blocking Unix stream.
std::array<int, 2> make_socket_pair();

/// Makes the eventfd readable; clear_fd makes it unreadable again.
void signal_fd(int eventfd) noexcept;
void clear_fd(int eventfd) noexcept;

}  // namespace sipfarm::rtp
