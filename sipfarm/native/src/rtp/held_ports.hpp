#pragma once

#include <array>
#include <span>

#include "rtp/socket.hpp"

namespace sipfarm::rtp {

/// Keeps ports bound without a descriptor for each: the sockets lie in the queue of a pair of Unix sockets as messages on the
/// way (SCM_RIGHTS, unix(7)) that nobody will ever read. So to everybody else, the kernel's choice of ephemeral ports
/// included, the ports are taken, until the object or the process is gone.
class HeldPorts {
 public:
  /// Throws std::system_error if there are no descriptors to be had.
  HeldPorts();
  ~HeldPorts();
  HeldPorts(const HeldPorts&) = delete;
  HeldPorts& operator=(const HeldPorts&) = delete;

  static constexpr std::size_t k_at_once = 128;

  /// At most k_at_once. False with errno set: ETOOMANYREFS where the process may have no more on the way (RLIMIT_NOFILE, beside its
  /// open files, without CAP_SYS_RESOURCE).
  bool hold(std::span<const UdpSocket> sockets) noexcept;

 private:
  std::array<int, 2> ends_;  // written to the first, never read
};

}  // namespace sipfarm::rtp
