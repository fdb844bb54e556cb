// Keys that the control thread hands to a thread that carries packets.
#include <doctest/doctest.h>

#include <chrono>
#include <thread>

#include "media_socket.hpp"
#include "rtp/plane.hpp"
#include "srtp_packets.hpp"

using namespace sipfarm::rtp;
using namespace sipfarm::testing;
namespace srtp = sipfarm::srtp;

namespace {

constexpr auto k_patience = std::chrono::seconds{10};

PlaneConfig small_plane() {
  PlaneConfig config;
  config.address = sipfarm::net::Address::parse("127.0.0.1", 0).value();
  config.first_port = static_cast<std::uint16_t>(MediaSocket{}.address().port / 2 * 2);
  config.last_port = static_cast<std::uint16_t>(config.first_port + 99);
  config.spare_pairs = 1;
  return config;
}

template <typename Condition>
bool eventually(Condition holds) {
  const auto deadline = std::chrono::steady_clock::now() + k_patience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

struct EchoedPhone {
  EchoedPhone() {
    REQUIRE(eventually([&] { return plane.replenish(now_ms += 5'000), pool.free() > 0; }));
    port = pool.take(now_ms).value();
    Remote remote;
    remote.rtp = phone.address();
    const Command open = Command::open_echo(1, port, remote);
    plane.apply({&open, 1});
  }
  bool secure(std::uint8_t seed) {
    says = std::make_unique<srtp::Session>(keying_of(srtp::Suite::aead_aes_128_gcm, seed));
    hears = std::make_unique<srtp::Session>(keying_of(srtp::Suite::aead_aes_128_gcm, static_cast<std::uint8_t>(seed + 100)));
    return plane.set_security(1, Side::a,
                              {std::make_shared<srtp::Session>(keying_of(srtp::Suite::aead_aes_128_gcm, seed)),
                               std::make_shared<srtp::Session>(
                                   keying_of(srtp::Suite::aead_aes_128_gcm, static_cast<std::uint8_t>(seed + 100))),
                               false});
  }
  bool is_echoed() {
    return eventually([&] {
      phone.send(sealed(*says, srtp::Protocol::rtp, rtp_of(++sequence)), sipfarm::net::Address::parse("127.0.0.1", port).value());
      auto heard = phone.receive(10);
      return heard && opened(*hears, srtp::Protocol::rtp, heard->bytes) == srtp::Result::ok;
    });
  }

  std::int64_t now_ms = 0;
  std::uint16_t sequence = 0;
  PortPool pool;
  Plane plane{small_plane(), pool};
  MediaSocket phone;
  std::uint16_t port = 0;
  std::unique_ptr<srtp::Session> says, hears;
};

}  // namespace

TEST_CASE("secured: an echo by keys, and by new ones in mid-call; the old ones are freed") {
  EchoedPhone call;
  REQUIRE(call.secure(1));
  CHECK(call.is_echoed());
  const std::weak_ptr<srtp::Session> old = call.plane.security(1, Side::a)->in;
  CHECK(old.lock()->rollover()->ssrc == 0xcafe);
  REQUIRE(call.secure(2));
  CHECK(call.is_echoed());
  CHECK(eventually([&] { return call.plane.replenish(call.now_ms), old.expired(); }));
}

TEST_CASE("secured: keys change while packets flow, and go with their stream") {
  EchoedPhone call;
  for (int i = 0; i < 300; ++i) {
    if (call.secure(static_cast<std::uint8_t>(i % 100)) && i % 50 == 0) CHECK(call.is_echoed());
    call.phone.send(rtp_of(1), sipfarm::net::Address::parse("127.0.0.1", call.port).value());
  }
  const std::weak_ptr<srtp::Session> last = call.plane.security(1, Side::a)->in;
  const Command close = Command::close(1);
  call.plane.apply({&close, 1});
  CHECK(!call.secure(7));
  std::vector<Event> events;
  CHECK(eventually([&] { return call.plane.poll_events(events), last.expired(); }));
  CHECK(call.plane.security(1, Side::a) == nullptr);
}
