#pragma once

#include <optional>

#include "net/address.hpp"

namespace sipfarm::rtp {

/// A non-blocking UDP socket of a media port.
class UdpSocket {
 public:
  /// Nothing, with errno set, if the port is taken.
  static std::optional<UdpSocket> bind(const net::Address& local) noexcept;

  UdpSocket(UdpSocket&& other) noexcept : fd_{other.fd_} { other.fd_ = -1; }
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;
  UdpSocket& operator=(UdpSocket&&) = delete;
  ~UdpSocket();

  int fd() const noexcept { return fd_; }

 private:
  explicit UdpSocket(int fd) noexcept : fd_{fd} {}
  int fd_;
};

/// What leaves carries the codepoint (RFC 2474 §3), 0..63.
void mark(int fd, bool v6, unsigned dscp) noexcept;

/// From now on the kernel drops what arrives.
void refuse_all(int fd) noexcept;
/// .. and what had arrived is thrown away, and no peer is connected. So a port rests from one call to the next: it costs
/// no memory and keeps nothing.
void mute(int fd) noexcept;
void unmute(int fd) noexcept;

/// The kernel takes packets from `remote` only, and send() needs neither address nor route look-up.
bool connect_to(int fd, const net::Address& remote) noexcept;
/// Open to every source again; a local address and port that were bound by their numbers stay.
void disconnect(int fd) noexcept;

}  // namespace sipfarm::rtp
