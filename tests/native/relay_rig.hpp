#pragma once

#include <doctest/doctest.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bpf/port_steering.hpp"
#include "media_socket.hpp"
#include "rtp/port_sockets.hpp"
#include "rtp/relay.hpp"
#include "rtp/socket.hpp"
#include "rtp/steered_sockets.hpp"

// The packet path of one thread, driven turn by turn with a clock of the test's own.
namespace sipfarm::testing {

using namespace sipfarm::rtp;  // what the tests of a relay are about
using sipfarm::net::Address;

/// Ports with a socket each.
class PerPort {
 public:
  static constexpr bool k_counts_refused = false;  // a connected socket refuses strangers uncounted

  explicit PerPort(const char* host) : host_{host} {}
  MediaSockets& sockets() { return sockets_; }
  void give_port(Channel& channel) {
    for (;;) {  // by its number, as the plane binds: a port given by the kernel is lost when a socket disconnects
      const Address free = MediaSocket{host_}.address();
      auto socket = UdpSocket::bind(free);
      if (!socket) continue;
      mark(socket->fd(), free.v6, 46);
      mute(socket->fd());
      channel.fd = held_.emplace_back(std::move(*socket)).fd();
      channel.port = free.port;
      return;
    }
  }

 private:
  const char* host_;
  std::deque<UdpSocket> held_;
  PortSockets sockets_;
};

/// Ports that the kernel steers to one socket.
class Steered {
 public:
  static constexpr bool k_counts_refused = true;

  explicit Steered(const char* host) : host_{host} {
    const Address address = Address::parse(host, 0).value();
    std::string reason;
    steering_ = sipfarm::bpf::PortSteering::attach({address, k_first_port, k_last_port, 1}, reason);
    if (steering_) sockets_ = SteeredSockets::make({address, k_first_port, k_last_port, 46, 0}, *steering_, reason);
    INFO(reason);
    REQUIRE(sockets_);
  }
  MediaSockets& sockets() { return *sockets_; }
  void give_port(Channel& channel) {
    for (;;) {
      const Address free = MediaSocket{host_}.address();
      auto socket = UdpSocket::bind(free);
      if (!socket) continue;
      held_.push_back(std::move(*socket));
      channel.port = free.port;
      return steering_->hold(channel.port);
    }
  }

 private:
  static constexpr std::uint16_t k_first_port = 1'024;
  static constexpr std::uint16_t k_last_port = 65'535;

  const char* host_;
  std::deque<UdpSocket> held_;
  std::unique_ptr<sipfarm::bpf::PortSteering> steering_;
  std::unique_ptr<SteeredSockets> sockets_;
};

template <typename Kind>
class Rig {
 public:
  explicit Rig(RelayConfig config = {}, const char* host = "127.0.0.1")
      : host_{host}, kind_{host}, relay_{config, kind_.sockets(), events_} {}

  Stream& open(const Command& command) {
    Stream& stream = streams_.emplace_back();
    stream.id = command.stream;
    stream.echo_ssrc = 0x0a0b0c0d;
    const std::size_t faces = command.kind == Command::Kind::open_echo ? 1 : 2;
    for (std::size_t i = 0; i < faces; ++i) {
      kind_.give_port(stream.faces[i].rtp);
      kind_.give_port(stream.faces[i].rtcp);
    }
    relay_.open(stream, command, now_ms);
    return stream;
  }

  /// Carries until there is nothing left.
  void carry() {
    do {
      sockets().wait(0);
    } while (relay_.carry(now_ms) > 0);
  }

  std::vector<Event> events() {
    std::vector<Event> all;
    while (const auto event = events_.pop()) all.push_back(*event);
    return all;
  }

  Address address(const Channel& channel) const { return Address::parse(host_, channel.port).value(); }
  MediaSockets& sockets() { return kind_.sockets(); }

  std::int64_t now_ms = 1'000'000;

 private:
  const char* host_;
  Kind kind_;
  std::deque<Stream> streams_;
  SpscRing<Event> events_{16};

 public:
  Relay relay_;
};

inline Remote at(const MediaSocket& phone) {
  Remote remote;
  remote.rtp = phone.address();
  return remote;
}

/// Two phones whose SDP says the truth, with RTCP apart.
template <typename Kind>
struct Call {
  explicit Call(RelayConfig config = {}, const char* host = "127.0.0.1")
      : rig{config, host}, alice{host}, bob{host}, alice_rtcp{host}, bob_rtcp{host}, stranger{host} {
    Remote a = at(alice);
    a.rtcp = alice_rtcp.address();
    Remote b = at(bob);
    b.rtcp = bob_rtcp.address();
    stream = &rig.open(Command::open_relay(7, 0, 0, a, b));
  }
  Address rtp(Side side) { return rig.address(stream->face(side).rtp); }
  Address rtcp(Side side) { return rig.address(stream->face(side).rtcp); }
  SideCounters counters(Side side) {
    rig.sockets().sweep();
    return stream->read_counters()[index(side)];
  }

  /// What `to` hears when `from` sends to that side's RTP port.
  std::optional<MediaSocket::Datagram> hears(const MediaSocket& to, const MediaSocket& from, Side side, const Bytes& bytes) {
    from.send(bytes, rtp(side));
    rig.carry();
    return to.receive(0);
  }

  Rig<Kind> rig;
  MediaSocket alice, bob, alice_rtcp, bob_rtcp, stranger;
  Stream* stream = nullptr;
};

}  // namespace sipfarm::testing
