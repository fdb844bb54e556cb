#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "net/hop.hpp"

namespace sipfarm::net {

/// Datagrams of one recvmmsg, or whole messages of streams; the bytes stay valid until the batch is filled again.
class Batch {
 public:
  struct Item {
    Hop hop;
    std::string_view bytes;
  };

  std::span<const Item> items() const noexcept { return items_; }
  void clear() noexcept;
  /// Copies `bytes` in: messages of a stream, of the bus, or of a simulation.
  void add(const Hop& hop, std::string_view bytes);

 private:
  friend class UdpSocket;
  std::vector<Item> items_;
  std::vector<std::vector<char>> copies_;
  std::size_t copies_used_ = 0;
};

/// What one datagram to be sent is made of; `bytes` belongs to the caller.
struct Datagram {
  Address remote;
  std::string_view bytes;
};

/// A bound UDP socket driven in batches. The descriptor stays the caller's.
///
/// ICMP errors are asked for (IP_RECVERR). The kernel then also tells of one by the next call, whatever that was for: such an error is no
/// word about what is received or sent then, and the call is made again.
class UdpSocket {
 public:
  static constexpr unsigned batch_max = 64;
  static constexpr std::size_t datagram_bytes_max = 65'535;

  UdpSocket(int descriptor, std::uint16_t local);

  /// Up to batch_max datagrams into `batch` (appended). The count; 0 when there was nothing.
  unsigned receive(Batch& batch);

  /// Up to batch_max datagrams of ours that an ICMP error says did not arrive (RFC 3261 §18.4): `hop.remote` is where each was sent to,
  /// `bytes` its beginning, as far as it was quoted. The count; asks the kernel only where there may be some.
  unsigned receive_undelivered(Batch& batch);

  /// Sends with sendmmsg, in order. `failed` is called with the index of each datagram that the kernel refused; one for which its buffer has
  /// no room is lost as on the wire, and sent again by whoever needs it.
  template <typename Failed>
  void send(std::span<const Datagram> datagrams, Failed failed) {
    std::size_t next = 0;
    for (unsigned tries = 0; next < datagrams.size();) {
      const int sent = send_some(datagrams.subspan(next));
      if (sent > 0) {
        next += static_cast<std::size_t>(sent);
        tries = 0;
        continue;
      }
      if (sent == -EINTR) continue;
      const bool lost = sent == -EAGAIN || sent == -ENOBUFS;
      if (!lost && ++tries < tries_max) continue;
      if (!lost && sent != -ECONNREFUSED) failed(next, -sent);  // refused is what was sent before, never this
      ++next;
      tries = 0;
    }
  }

  int descriptor() const noexcept { return descriptor_; }

 private:
  static constexpr unsigned tries_max = 4;  // of a call in whose place errors of earlier datagrams are told

  int send_some(std::span<const Datagram> datagrams) noexcept;

  int descriptor_;
  std::uint16_t local_;
  bool may_have_errors_ = true;  // in the error queue
  std::vector<char> buffers_;
  std::vector<sockaddr_storage> names_;
  std::vector<iovec> vectors_;
  std::vector<mmsghdr> headers_;
};

}  // namespace sipfarm::net
