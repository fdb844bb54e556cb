#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>
#include <vector>

#include "media_socket.hpp"
#include "rtp/held_ports.hpp"

using namespace sipfarm::rtp;
using sipfarm::net::Address;
using sipfarm::testing::MediaSocket;

TEST_CASE("a held port is taken without a descriptor of ours until it is let go") {
  auto held = std::make_unique<HeldPorts>();
  std::vector<Address> ports;
  for (int i = 0; i < 3; ++i) {
    std::vector<UdpSocket> sockets;
    while (sockets.size() < HeldPorts::k_at_once) {
      const Address free = MediaSocket{}.address();
      if (auto socket = UdpSocket::bind(free)) {
        sockets.push_back(std::move(*socket));
        ports.push_back(free);
      }
    }
    REQUIRE(held->hold(sockets));
  }
  for (const Address& port : ports) CHECK_THROWS_AS((MediaSocket{"127.0.0.1", port.port}), std::runtime_error);
  held.reset();
  for (const Address& port : ports) CHECK(UdpSocket::bind(port));
}

TEST_CASE("nothing to hold is held, and too much at once is refused") {
  HeldPorts held;
  CHECK(held.hold({}));
  std::vector<UdpSocket> sockets;
  while (sockets.size() <= HeldPorts::k_at_once) {
    if (auto socket = UdpSocket::bind(Address::parse("127.0.0.1", 0).value())) sockets.push_back(std::move(*socket));
  }
  CHECK_FALSE(held.hold(sockets));
}
