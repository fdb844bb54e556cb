#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "net/address.hpp"

namespace sipfarm::testing {

using Bytes = std::vector<std::uint8_t>;

/// An RTP packet whose payload is `text`.
inline Bytes rtp_packet(std::uint16_t sequence, const std::string& text, std::uint8_t payload_type = 0,
                        std::uint32_t ssrc = 0x11223344) {
  Bytes packet{0x80, payload_type, static_cast<std::uint8_t>(sequence >> 8), static_cast<std::uint8_t>(sequence), 0, 0, 0, 160};
  for (int shift = 24; shift >= 0; shift -= 8) packet.push_back(static_cast<std::uint8_t>(ssrc >> shift));
  packet.insert(packet.end(), text.begin(), text.end());
  return packet;
}

/// A receiver report without blocks.
inline Bytes rtcp_packet() { return {0x80, 201, 0, 1, 0x11, 0x22, 0x33, 0x44}; }

/// The media socket of a phone, on a loopback address.
class MediaSocket {
 public:
  struct Datagram {
    Bytes bytes;
    net::Address source;
  };

  explicit MediaSocket(const char* host = "127.0.0.1", std::uint16_t port = 0) {
    const net::Address local = net::Address::parse(host, port).value();
    fd_ = ::socket(local.v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const int room = 8 << 20;  // a test that waits for the processor is not to lose what came meanwhile
    if (::setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    sockaddr_storage storage{};
    socklen_t bytes = local.to_sockaddr(storage);
    if (fd_ < 0 || ::bind(fd_, reinterpret_cast<sockaddr*>(&storage), bytes) != 0) throw std::runtime_error{"bind"};
    bytes = sizeof storage;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&storage), &bytes);
    address_ = net::Address::from_sockaddr(storage).value();
  }
  ~MediaSocket() { ::close(fd_); }
  MediaSocket(const MediaSocket&) = delete;
  MediaSocket& operator=(const MediaSocket&) = delete;

  const net::Address& address() const { return address_; }
  int descriptor() const { return fd_; }

  void send(const Bytes& bytes, const net::Address& to) const {
    sockaddr_storage storage{};
    const socklen_t size = to.to_sockaddr(storage);
    ::sendto(fd_, bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&storage), size);
  }

  /// The next datagram, waited for up to `timeout_ms`.
  std::optional<Datagram> receive(int timeout_ms) const {
    pollfd ready{fd_, POLLIN, 0};
    if (::poll(&ready, 1, timeout_ms) != 1) return std::nullopt;
    Datagram datagram;
    datagram.bytes.resize(65'536);
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    const ssize_t count = ::recvfrom(fd_, datagram.bytes.data(), datagram.bytes.size(), MSG_DONTWAIT,
                                     reinterpret_cast<sockaddr*>(&storage), &size);
    if (count < 0) return std::nullopt;
    datagram.bytes.resize(static_cast<std::size_t>(count));
    datagram.source = net::Address::from_sockaddr(storage).value();
    return datagram;
  }

 private:
  int fd_ = -1;
  net::Address address_;
};

}  // namespace sipfarm::testing
