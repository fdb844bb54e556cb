// Streams that move to the kernel and back while they run, with sockets of either kind, on the loopback of a namespace.
#include <doctest/doctest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "bpf/port_steering.hpp"
#include "kernel_call.hpp"
#include "rtp/port_sockets.hpp"
#include "rtp/relay.hpp"
#include "rtp/socket.hpp"
#include "rtp/steered_sockets.hpp"

using namespace sipfarm;
using namespace sipfarm::rtp;
using namespace sipfarm::testing;

namespace {

constexpr std::uint16_t k_first_port = 20'000;
constexpr std::uint16_t k_last_port = 20'063;

Remote remote_of(const MediaSocket& phone, bool mux = true) {
  Remote remote;
  remote.rtp = phone.address();
  remote.rtcp_mux = mux;
  return remote;
}

/// A relay thread's parts, driven turn by turn, and a call between two phones.
class Farm {
 public:
  explicit Farm(bool steered) {
    const net::Address local = net::Address::parse("127.0.0.1", 0).value();
    std::string reason;
    if (steered) {
      steering_ = bpf::PortSteering::attach({local, k_first_port, k_last_port, 1}, reason);
      REQUIRE_MESSAGE(steering_ != nullptr, reason);
      sockets_ = SteeredSockets::make({local, k_first_port, k_last_port, 46, 0}, *steering_, reason);
    } else {
      sockets_ = std::make_unique<PortSockets>();
    }
    REQUIRE_MESSAGE(sockets_ != nullptr, reason);
    bpf::KernelRelayConfig config;
    config.addresses = {local};
    config.flows = 64;
    kernel_ = bpf::KernelRelay::open(config, reason);
    REQUIRE_MESSAGE(kernel_ != nullptr, reason);
    path_ = std::make_unique<KernelPath>(KernelPathConfig{local}, *kernel_, bpf::Routes::open().value());
    relay_ = std::make_unique<Relay>(RelayConfig{}, *sockets_, events_, path_.get());
    relay_->sweep(now_ms);
  }

  void open(Command command) {
    command.stream = 7;
    stream.id = 7;
    for (Face& face : stream.faces) {
      for (Channel* channel : {&face.rtp, &face.rtcp}) give_port(*channel);
    }
    relay_->open(stream, command, now_ms);
  }
  void open(bool mux = true) { open(Command::open_relay(7, 0, 0, remote_of(caller, mux), remote_of(callee, mux))); }

  net::Address port(Side side) { return net::Address::parse("127.0.0.1", stream.face(side).rtp.port).value(); }

  void carry() {
    do {
      sockets_->wait(0);
    } while (relay_->carry(now_ms) > 0);
  }

  /// Sends it to the side's port; what the other side's phone hears of it.
  Bytes heard(const MediaSocket& from, Side side, const Bytes& packet, const MediaSocket& by) {
    from.send(packet, port(side));
    carry();
    const auto datagram = by.receive(0);
    return datagram ? datagram->bytes : Bytes{};
  }

  /// Both talk; the numbers of their packets go on, and each is heard.
  void talk(int packets) {
    for (int i = 0; i < packets; ++i) {
      ++sequence;
      const Bytes there = rtp_packet(sequence, "there");
      const Bytes back = rtp_packet(sequence, "and back");
      CHECK(heard(caller, Side::a, there, callee) == there);
      CHECK(heard(callee, Side::b, back, caller) == back);
    }
  }

  std::uint64_t in_kernel() {
    relay_->sweep(now_ms);
    return relay_->totals().packets_in_kernel.get();
  }

  std::vector<Event> events(Event::Kind kind) {
    std::vector<Event> found;
    while (const auto event = events_.pop()) {
      if (event->kind == kind) found.push_back(*event);
    }
    return found;
  }

  Relay& relay() { return *relay_; }

  const NetworkNamespace place;
  const Within here{place};
  std::int64_t now_ms = monotonic_ms();
  MediaSocket caller, callee;
  Stream stream;
  std::uint16_t sequence = 0;

 private:
  void give_port(Channel& channel) {
    const net::Address local = net::Address::parse("127.0.0.1", next_port_++).value();
    held_.push_back(UdpSocket::bind(local).value());
    channel.port = local.port;
    if (steering_) return steering_->hold(local.port);
    mute(held_.back().fd());
    channel.fd = held_.back().fd();
  }

  std::uint16_t next_port_ = k_first_port;
  std::deque<UdpSocket> held_;
  std::unique_ptr<bpf::PortSteering> steering_;
  std::unique_ptr<bpf::KernelRelay> kernel_;
  std::unique_ptr<MediaSockets> sockets_;
  std::unique_ptr<KernelPath> path_;
  SpscRing<Event> events_{64};
  std::unique_ptr<Relay> relay_;
};

template <typename Body>
void with_each_kind_of_sockets(Body body) {
  if (!may_go_on()) return;
  for (const bool steered : {false, true}) {
    CAPTURE(steered);
    Farm farm{steered};
    body(farm);
  }
}

}  // namespace

TEST_CASE("kernel path: a call that is locked on both sides moves to the kernel, and its counters stay true") {
  with_each_kind_of_sockets([](Farm& farm) {
    farm.open();
    farm.talk(20);
    CHECK(farm.in_kernel() > 30);
    const auto counters = farm.stream.read_counters();
    for (const SideCounters& side : counters) {
      CHECK(side.packets_in == 20);
      CHECK(side.packets_out == 20);
      CHECK(side.strangers == 0);
      CHECK(monotonic_ms() - side.last_in_ms < 1'000);
    }
    CHECK(counters[0].bytes_in == 20 * 17);
    CHECK(counters[1].bytes_out == 20 * 17);
    CHECK(counters[1].bytes_in == 20 * 20);
    CHECK(farm.relay().totals().packets.get() == 40);
    farm.talk(5);  // after the last sweep: told when it is closed
    farm.relay().close(farm.stream, farm.now_ms);
    for (int turn = 0; turn < 3 && farm.relay().flush(); ++turn) farm.carry();
    const auto closed = farm.events(Event::Kind::closed);
    REQUIRE(closed.size() == 1);
    CHECK(closed[0].counters[0].packets_in == 25);
    CHECK(closed[0].counters[1].packets_out == 25);
    CHECK(farm.heard(farm.caller, Side::a, rtp_packet(99, "too late"), farm.callee).empty());
  });
}

TEST_CASE("kernel path: RTCP goes its way here while RTP does not") {
  with_each_kind_of_sockets([](Farm& farm) {
    farm.open();
    farm.talk(10);
    const std::uint64_t before = farm.in_kernel();
    CHECK(farm.heard(farm.caller, Side::a, rtcp_packet(), farm.callee) == rtcp_packet());
    CHECK(farm.heard(farm.callee, Side::b, stun_packet(), farm.caller) == stun_packet());
    CHECK(farm.in_kernel() == before);
    CHECK(farm.stream.read_counters()[0].packets_in == 11);
  });
}

TEST_CASE("kernel path: a phone that moves by an offer is followed, and the place it left hears nothing more") {
  with_each_kind_of_sockets([](Farm& farm) {
    farm.open();
    farm.talk(10);
    const std::uint64_t before = farm.in_kernel();
    CHECK(before > 0);
    const MediaSocket moved;
    farm.relay().set_remote(farm.stream, Side::b, remote_of(moved), farm.now_ms);
    farm.now_ms += 1'100;
    for (std::uint16_t sequence = 100; sequence < 110; ++sequence) {
      const Bytes packet = rtp_packet(sequence, "follow");
      CHECK(farm.heard(farm.caller, Side::a, packet, moved) == packet);
      CHECK(farm.heard(moved, Side::b, packet, farm.caller) == packet);
      farm.callee.send(packet, farm.port(Side::b));
      farm.carry();
      CHECK_FALSE(farm.caller.receive(0));
    }
    CHECK_FALSE(farm.callee.receive(0));
    CHECK(farm.in_kernel() > before);
  });
}

TEST_CASE("kernel path: a call talks on while the kernel relays, and is silent when it has stopped") {
  with_each_kind_of_sockets([](Farm& farm) {
    farm.open();
    farm.talk(10);
    farm.now_ms = monotonic_ms() + RelayConfig{}.silence_timeout_ms - 10'000;
    farm.relay().sweep(farm.now_ms);
    CHECK(farm.events(Event::Kind::silence).empty());
    farm.now_ms += 11'000;
    farm.relay().sweep(farm.now_ms);
    CHECK(farm.events(Event::Kind::silence).size() == 1);
  });
}

TEST_CASE("kernel path: what is no RTP stays here") {
  with_each_kind_of_sockets([](Farm& farm) {
    Command command = Command::open_relay(7, 0, 0, remote_of(farm.caller), remote_of(farm.callee));
    command.opaque = true;
    farm.open(command);
    farm.talk(10);
    CHECK(farm.in_kernel() == 0);
  });
}

TEST_CASE("kernel path: a call stays here while a far end is not locked") {
  with_each_kind_of_sockets([](Farm& farm) {
    const MediaSocket elsewhere{"127.0.0.2"};  // as SDP behind a NAT says
    farm.open(Command::open_relay(7, 0, 0, remote_of(elsewhere), remote_of(farm.callee)));
    farm.caller.send(rtp_packet(1, "here"), farm.port(Side::a));
    farm.carry();
    REQUIRE(farm.callee.receive(0));
    farm.talk(10);
    CHECK(farm.in_kernel() == 0);
    farm.now_ms += LatchTimes{}.window_ms;
    farm.talk(10);
    CHECK(farm.in_kernel() > 0);
  });
}

TEST_CASE("kernel path: an echo stays here") {
  with_each_kind_of_sockets([](Farm& farm) {
    farm.open(Command::open_echo(7, 0, remote_of(farm.caller)));
    for (std::uint16_t i = 1; i < 10; ++i) {
      CHECK_FALSE(farm.heard(farm.caller, Side::a, rtp_packet(i, "echo"), farm.caller).empty());
    }
    CHECK(farm.in_kernel() == 0);
  });
}

TEST_CASE("kernel path: routes change twenty times under a call, and it goes on in the kernel without a packet lost") {
  with_each_kind_of_sockets([](Farm& farm) {
    farm.open();
    for (int move = 0; move < 20; ++move) {
      farm.talk(10);
      const std::uint64_t before = farm.in_kernel();
      farm.talk(2);
      CHECK(farm.in_kernel() == before + 4);  // it is there
      run(std::string{"ip addr "} + (move % 2 == 0 ? "add" : "del") + " 192.0.2.1/32 dev lo");
      CHECK(farm.in_kernel() == before + 4);  // the sweep sees it ..
      farm.talk(2);
      CHECK(farm.in_kernel() == before + 4);  // .. and all is carried here, until it is tried again
      farm.now_ms += 1'100;
    }
    CHECK(farm.relay().totals().dropped.get() == 0);
  });
}
