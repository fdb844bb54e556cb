#include "net/udp_socket.hpp"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "media_socket.hpp"

// On loopback a datagram, or the ICMP error that answers it, is in its receiver's queue when sendto returns.

using namespace sipfarm;
using testing::MediaSocket;

namespace {

/// The loopback addresses that this machine has.
std::vector<const char*> hosts() {
  std::vector<const char*> found{"127.0.0.1"};
  try {
    const MediaSocket six{"[::1]"};
    found.push_back("[::1]");
  } catch (const std::runtime_error&) {  // it has IPv4 alone
  }
  return found;
}

/// A bound socket, and where there was one.
struct Sockets {
  explicit Sockets(const char* host) : bound{host}, other{host}, socket{bound.descriptor(), 3} {
    const MediaSocket closed{host};
    gone = closed.address();
  }

  void send(const net::Address& to, const std::string& text) {
    const net::Datagram datagram{to, text};
    socket.send({&datagram, 1}, [&](std::size_t, int) { ++refused; });
  }

  MediaSocket bound;
  MediaSocket other;
  net::Address gone;
  net::UdpSocket socket;
  int refused = 0;
};

}  // namespace

TEST_CASE("what nobody received comes back with its destination") {
  for (const char* host : hosts()) {
    CAPTURE(host);
    Sockets sockets{host};
    const std::string text = "INVITE sip:bob@example.test SIP/2.0\r\n" + std::string(2'000, 'x');
    sockets.send(sockets.gone, text);
    net::Batch batch;
    CHECK(sockets.socket.receive(batch) == 0);
    REQUIRE(sockets.socket.receive_undelivered(batch) == 1);
    const net::Batch::Item& item = batch.items().front();
    CHECK(item.hop.remote == sockets.gone);
    CHECK(item.hop.local == 3);
    CHECK(item.bytes.size() >= 500);
    CHECK(text.starts_with(item.bytes));
    CHECK(sockets.socket.receive_undelivered(batch) == 0);
    CHECK(sockets.refused == 0);
  }
}

TEST_CASE("an error that waits is no word about what is sent or received next") {
  for (const char* host : hosts()) {
    CAPTURE(host);
    Sockets sockets{host};
    const std::string text = "hello";
    std::vector<net::Datagram> datagrams;
    for (int i = 0; i < 10; ++i) {
      datagrams.push_back({sockets.gone, text});
      datagrams.push_back({sockets.other.address(), text});
    }
    sockets.socket.send(datagrams, [&](std::size_t, int) { ++sockets.refused; });
    CHECK(sockets.refused == 0);
    int received = 0;
    while (sockets.other.receive(0)) ++received;
    CHECK(received == 10);

    sockets.other.send({'h', 'i'}, sockets.bound.address());
    sockets.send(sockets.gone, text);
    net::Batch batch;
    CHECK(sockets.socket.receive(batch) == 1);
    CHECK(sockets.socket.receive_undelivered(batch) >= 1);
  }
}

TEST_CASE("errors are read in batches, and all of them in the end") {
  Sockets sockets{"127.0.0.1"};
  for (unsigned i = 0; i < net::UdpSocket::batch_max + 5; ++i) sockets.send(sockets.gone, "hello");
  net::Batch batch;
  unsigned all = 0;
  for (unsigned found = 1; found != 0; all += found) {
    found = sockets.socket.receive_undelivered(batch);
    CHECK(found <= net::UdpSocket::batch_max);
    batch.clear();
  }
  CHECK(all > 0);
  sockets.send(sockets.other.address(), "hello");
  CHECK(sockets.refused == 0);
  CHECK(sockets.other.receive(0));
}
