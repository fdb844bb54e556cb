#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "kernel_call.hpp"

using namespace sipfarm;
using namespace sipfarm::testing;

// How packets reach their destination: veth pairs between network namespaces, and loopback.

namespace {

/// Made in a namespace.
std::unique_ptr<MediaSocket> socket_in(const NetworkNamespace& place, const char* host) {
  const Within there{place};
  return std::make_unique<MediaSocket>(host);
}

/// A farm between two phones that it reaches by interfaces of their own.
struct VethFarm {
  explicit VethFarm(bool tcx = true, bool v6 = false)
      : caller{socket_in(network.caller, v6 ? "[fd09:1::1]" : "10.9.1.1")},
        farm_a{socket_in(network.farm, v6 ? "[fd09:1::2]" : "10.9.1.2")},
        farm_b{socket_in(network.farm, v6 ? "[fd09:2::2]" : "10.9.2.2")},
        callee{socket_in(network.callee, v6 ? "[fd09:2::1]" : "10.9.2.1")} {
    const Within there{network.farm};
    bpf::KernelRelayConfig config;
    config.addresses = {farm_a->address(), farm_b->address()};
    config.flows = 64;
    config.tcx = tcx;
    std::string reason;
    relay = bpf::KernelRelay::open(config, reason);
    REQUIRE_MESSAGE(relay != nullptr, reason);
    relay->renew(monotonic_ms() + 60'000);
    routes.emplace(bpf::Routes::open().value());
  }

  VethNetwork network;
  std::unique_ptr<MediaSocket> caller, farm_a, farm_b, callee;
  std::unique_ptr<bpf::KernelRelay> relay;
  std::optional<bpf::Routes> routes;
  KernelCall call() { return {*caller, *farm_a, *farm_b, *callee, relay->table(0), *routes}; }
  KernelCall call_back() { return {*callee, *farm_b, *farm_a, *caller, relay->table(0), *routes}; }
};

std::uint16_t checksum(const Bytes& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) sum += static_cast<std::uint32_t>(bytes[i] << 8U | bytes[i + 1]);
  if (bytes.size() % 2 != 0) sum += static_cast<std::uint32_t>(bytes.back() << 8U);
  while (sum >> 16U != 0) sum = (sum & 0xffff) + (sum >> 16U);
  return static_cast<std::uint16_t>(~sum);
}

void put16(Bytes& bytes, std::size_t at, std::uint16_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8U);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}

/// A packet of IPv4 as a phone's kernel would make it, to be changed before it leaves.
struct Frame {
  net::Address from, to;
  Bytes payload;
  Bytes options{};           // of IP
  std::uint16_t fragment = 0;
  std::uint16_t spoilt = 0;  // added to the UDP checksum
  Bytes tag{};               // between MAC addresses and protocol

  Bytes bytes() const {
    Bytes udp(8, 0);
    put16(udp, 0, from.port);
    put16(udp, 2, to.port);
    put16(udp, 4, static_cast<std::uint16_t>(8 + payload.size()));
    udp.insert(udp.end(), payload.begin(), payload.end());
    Bytes pseudo(from.ip.begin(), from.ip.begin() + 4);
    pseudo.insert(pseudo.end(), to.ip.begin(), to.ip.begin() + 4);
    pseudo.insert(pseudo.end(), {0, IPPROTO_UDP, udp[4], udp[5]});
    pseudo.insert(pseudo.end(), udp.begin(), udp.end());
    put16(udp, 6, static_cast<std::uint16_t>(checksum(pseudo) + spoilt));

    Bytes ip(20, 0);
    ip[0] = static_cast<std::uint8_t>(0x45 + options.size() / 4);
    put16(ip, 2, static_cast<std::uint16_t>(20 + options.size() + udp.size()));
    put16(ip, 6, fragment);
    ip[8] = 3;  // hops left
    ip[9] = IPPROTO_UDP;
    std::copy_n(from.ip.begin(), 4, ip.begin() + 12);
    std::copy_n(to.ip.begin(), 4, ip.begin() + 16);
    ip.insert(ip.end(), options.begin(), options.end());
    put16(ip, 10, checksum(ip));

    Bytes whole = tag;
    whole.insert(whole.end(), {ETH_P_IP >> 8, ETH_P_IP & 0xff});
    whole.insert(whole.end(), ip.begin(), ip.end());
    whole.insert(whole.end(), udp.begin(), udp.end());
    return whole;
  }
};


std::array<std::uint8_t, 6> mac_of(const char* interface) {
  std::array<std::uint8_t, 6> mac{};
  ifreq request{};
  std::strncpy(request.ifr_name, interface, sizeof request.ifr_name - 1);
  const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
  REQUIRE(::ioctl(fd, SIOCGIFHWADDR, &request) == 0);
  ::close(fd);
  std::memcpy(mac.data(), request.ifr_hwaddr.sa_data, mac.size());
  return mac;
}

/// Puts it on the caller's wire, addressed to the farm, or to another machine.
void transmit(const VethFarm& farm, const Frame& frame, bool to_us = true) {
  Bytes whole(12, 0x02);
  if (to_us) {
    const Within there{farm.network.farm};
    const std::array<std::uint8_t, 6> mac = mac_of("left");
    std::copy(mac.begin(), mac.end(), whole.begin());
  }
  const Bytes rest = frame.bytes();
  whole.insert(whole.end(), rest.begin(), rest.end());
  const Within there{farm.network.caller};
  const int fd = ::socket(AF_PACKET, SOCK_RAW, 0);
  sockaddr_ll wire{};
  wire.sll_family = AF_PACKET;
  wire.sll_ifindex = static_cast<int>(::if_nametoindex("phone"));
  const ssize_t sent = ::sendto(fd, whole.data(), whole.size(), 0, reinterpret_cast<const sockaddr*>(&wire), sizeof wire);
  ::close(fd);
  REQUIRE(sent == static_cast<ssize_t>(whole.size()));
}

}  // namespace

TEST_CASE("kernel relay: between veths packets are sent on by the neighbour, both ways") {
  if (!may_go_on()) return;
  for (const bool tcx : {true, false}) {
    for (const bool v6 : {false, true}) {
      CAPTURE(tcx);
      CAPTURE(v6);
      VethFarm farm{tcx, v6};
      CHECK(farm.relay->where() == (tcx ? "left (tcx), right (tcx)" : "left (clsact), right (clsact)"));
      KernelCall there = farm.call();
      KernelCall back = farm.call_back();
      there.offload();
      back.offload();
      for (int i = 0; i < 20; ++i) {
        there.check_relayed(there.send());
        back.check_relayed(back.send());
      }
      CHECK(there.table.read(there.handle).packets == 20);
      CHECK(back.table.read(back.handle).packets == 20);
    }
  }
}

TEST_CASE("kernel relay: a relayed packet has the hops and the class of one of ours, and a checksum of its own") {
  if (!may_go_on()) return;
  VethFarm farm;
  KernelCall call = farm.call();
  call.offload();
  const int on = 1;
  REQUIRE(::setsockopt(farm.callee->descriptor(), IPPROTO_IP, IP_RECVTTL, &on, sizeof on) == 0);
  REQUIRE(::setsockopt(farm.callee->descriptor(), IPPROTO_IP, IP_RECVTOS, &on, sizeof on) == 0);
  transmit(farm, {farm.caller->address(), farm.farm_a->address(), rtp_packet(50, "full checksum"), {}, 0, 0, {}});
  pollfd ready{farm.callee->descriptor(), POLLIN, 0};
  REQUIRE(::poll(&ready, 1, k_soon_ms) == 1);
  std::array<std::uint8_t, 2'048> bytes{};
  alignas(cmsghdr) std::array<char, 256> control{};
  iovec vector{bytes.data(), bytes.size()};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  REQUIRE(::recvmsg(farm.callee->descriptor(), &header, 0) == 12 + 13);
  int hops = 0;
  int traffic_class = 0;
  for (cmsghdr* at = CMSG_FIRSTHDR(&header); at != nullptr; at = CMSG_NXTHDR(&header, at)) {
    std::memcpy(at->cmsg_type == IP_TTL ? &hops : &traffic_class, CMSG_DATA(at), at->cmsg_type == IP_TTL ? 4 : 1);
  }
  CHECK(hops == 64);
  CHECK(traffic_class == 46 << 2);
}

TEST_CASE("kernel relay: odd packets go up") {
  if (!may_go_on()) return;
  VethFarm farm;
  KernelCall call = farm.call();
  call.offload();
  const Frame plain{farm.caller->address(), farm.farm_a->address(), rtp_packet(51, "odd"), {}, 0, 0, {}};
  const Bytes whole = plain.payload;

  SUBCASE("IP options") {
    Frame frame = plain;
    frame.options = {1, 1, 1, 0};
    transmit(farm, frame);
    call.check_up(whole);
  }
  SUBCASE("a length of UDP that IP has no room for") {
    Frame frame = plain;
    frame.payload = rtp_packet(52, "x");
    transmit(farm, frame);
    call.check_relayed(frame.payload);
    farm.caller->send(Bytes(5, 0x80), farm.farm_a->address());  // padded on the wire to what RTP would have
    call.check_up(Bytes(5, 0x80));
  }
  SUBCASE("fragments") {
    const Bytes large = rtp_packet(53, std::string(4'000, 'f'));
    farm.caller->send(large, farm.farm_a->address());
    call.check_up(large);
  }
  SUBCASE("larger than the next link takes") {
    {
      const Within there{farm.network.farm};
      run("ip link set right mtu 576");
      CHECK(farm.routes->take_changed());
      call.table.remove(call.handle, monotonic_ms());
      call.offload();
    }
    const Bytes large = rtp_packet(54, std::string(800, 'm'));
    farm.caller->send(large, farm.farm_a->address());
    call.check_up(large);
    call.check_relayed(call.send());
  }
  SUBCASE("several in one, as senders with UDP_SEGMENT leave them") {
    const int segment = 100;
    REQUIRE(::setsockopt(farm.caller->descriptor(), SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) == 0);
    Bytes two = rtp_packet(55, std::string(88, 'a'));
    const Bytes second = rtp_packet(56, std::string(88, 'b'));
    const Bytes first = two;
    two.insert(two.end(), second.begin(), second.end());
    farm.caller->send(two, farm.farm_a->address());
    const auto heard = farm.farm_a->receive(k_soon_ms);
    REQUIRE(heard);
    CHECK(heard->bytes == first);
    CHECK(farm.farm_a->receive(k_soon_ms));
  }
  SUBCASE("with a VLAN tag they are another network's") {
    Frame frame = plain;
    frame.tag = {0x81, 0x00, 0, 5};
    transmit(farm, frame);
    CHECK_FALSE(farm.farm_a->receive(k_nothing_ms));
  }
  SUBCASE("for the address of another machine they are not ours") {
    transmit(farm, plain, false);
    CHECK_FALSE(farm.farm_a->receive(k_nothing_ms));
  }
  CHECK_FALSE(farm.callee->receive(k_nothing_ms));
}

TEST_CASE("kernel relay: a wrong checksum is not made right") {
  if (!may_go_on()) return;
  VethFarm farm;
  KernelCall call = farm.call();
  call.offload();
  const net::Address& from = farm.caller->address();
  transmit(farm, {from, farm.farm_a->address(), rtp_packet(57, "spoilt"), {}, 0, 1, {}});
  CHECK_FALSE(farm.callee->receive(k_nothing_ms));
  transmit(farm, {from, farm.farm_a->address(), rtp_packet(58, "sound"), {}, 0, 0, {}});
  call.check_relayed(rtp_packet(58, "sound"));
}

TEST_CASE("kernel relay: a flow of loopback is not reached from a wire") {
  if (!may_go_on()) return;
  VethFarm farm;
  const auto local = socket_in(farm.network.farm, "127.0.0.1");
  const auto inner = socket_in(farm.network.farm, "127.0.0.1");
  bpf::Flow flow;
  flow.local = local->address();
  flow.source = net::Address::parse("127.0.0.2", 4'000).value();
  flow.new_source = inner->address();
  flow.destination = inner->address();
  flow.way = farm.routes->find(flow.local, flow.new_source, flow.destination).value();
  CHECK(flow.way.in_interface == 1);
  CHECK(flow.way.out_interface == 0);
  const auto handle = farm.relay->table(0).put(flow, monotonic_ms());
  transmit(farm, {flow.source, flow.local, rtp_packet(1, "from the wire"), {}, 0, 0, {}});
  CHECK_FALSE(farm.relay->table(0).open(handle, 0x11223344, 1));  // it was not even noted
  CHECK_FALSE(inner->receive(k_nothing_ms));
}

TEST_CASE("kernel relay: ways are found by route, and only those that need no socket") {
  if (!may_go_on()) return;
  VethNetwork network;
  const Within there{network.farm};
  bpf::Routes routes{bpf::Routes::open().value()};
  const auto at = [](const char* host) { return net::Address::parse(host, 4'000).value(); };
  const auto right = routes.find(at("10.9.1.2"), at("10.9.2.2"), at("10.9.2.1"));
  REQUIRE(right);
  CHECK(right->out_interface == ::if_nametoindex("right"));
  CHECK(right->in_interface == 0);
  CHECK(right->bytes_max == 1'500);
  CHECK_FALSE(routes.find(at("10.9.1.2"), at("10.9.2.2"), at("192.0.2.1")));      // no route
  CHECK_FALSE(routes.find(at("10.9.1.2"), at("fd09:2::2"), at("fd09:2::1")));      // another family
  CHECK(routes.find(at("10.9.1.2"), at("10.9.2.2"), at("10.9.1.2"))->in_interface == 1);  // from this machine only
  CHECK_FALSE(routes.take_changed());
  run("ip route add 192.0.2.0/24 via 10.9.2.1");
  CHECK(routes.take_changed());
  CHECK(routes.find(at("10.9.1.2"), at("10.9.2.2"), at("192.0.2.1"))->out_interface == right->out_interface);
  run("ip link set right down");
  CHECK(routes.take_changed());
  CHECK_FALSE(routes.find(at("10.9.1.2"), at("10.9.2.2"), at("192.0.2.1")));
}

TEST_CASE("kernel relay: media come in by the interfaces that hold the address, or by any where none with neighbours does") {
  if (!may_go_on()) return;
  VethNetwork network;
  const Within there{network.farm};
  const auto by = [](const char* host) { return bpf::interfaces_of({net::Address::parse(host, 0).value()}); };
  using Names = std::vector<std::string>;
  CHECK(by("127.0.0.7") == Names{"lo"});
  CHECK(by("::1") == Names{"lo"});
  CHECK(by("10.9.1.2") == Names{"left"});
  CHECK(by("fd09:2::2") == Names{"right"});
  run("ip addr add 198.51.100.1/32 dev lo");
  CHECK(by("198.51.100.1") == Names{"left", "right"});
}

namespace {

/// A thread that sends numbered packets at a steady pace, as a caller would, and many times as fast.
class Stream {
 public:
  Stream(const MediaSocket& from, const net::Address& to, std::uint16_t packets, std::chrono::microseconds pace)
      : thread_{[&from, to, packets, pace] {
          auto due = std::chrono::steady_clock::now();
          for (std::uint16_t sequence = 1; sequence <= packets; ++sequence) {
            from.send(rtp_packet(sequence, "numbered"), to);
            std::this_thread::sleep_until(due += pace);
          }
        }} {}
  ~Stream() { thread_.join(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

 private:
  std::thread thread_;
};

std::uint16_t sequence_of(const Bytes& packet) { return static_cast<std::uint16_t>(packet[2] << 8U | packet[3]); }

/// Relays here what comes up, after it has gathered for a while, as worker threads let it; and moves the flow to the kernel and
/// back each time that so many packets have been heard at the far end.
void carry_and_move(KernelCall call, std::uint16_t packets, std::uint16_t between_moves) {
  unsigned moves_down = 0;
  unsigned moves_up = 0;
  std::uint16_t heard = 0;
  std::uint16_t moved_at = 0;
  bool asked = false;
  const std::int64_t give_up_ms = monotonic_ms() + 60'000;
  while (heard < packets) {
    pollfd ready{call.callee.descriptor(), POLLIN, 0};
    ::poll(&ready, 1, 2);
    REQUIRE(monotonic_ms() < give_up_ms);
    while (const auto up = call.farm_a.receive(0)) {
      call.farm_b.send(up->bytes, call.callee.address());
      if (asked && !call.table.is_open(call.handle) && call.table.open(call.handle, 0x11223344, sequence_of(up->bytes))) ++moves_down;
    }
    while (const auto at_callee = call.callee.receive(0)) {
      REQUIRE(sequence_of(at_callee->bytes) == heard + 1);
      ++heard;
    }
    if (heard - moved_at < between_moves || (asked && !call.table.is_open(call.handle))) continue;
    if (asked) {
      call.table.remove(call.handle, monotonic_ms());
      ++moves_up;
    } else {
      call.put();
    }
    asked = !asked;
    moved_at = heard;
  }
  CHECK(moves_down >= 20);
  CHECK(moves_up >= 20);
}

}  // namespace

TEST_CASE("kernel relay: a running stream moves to the kernel and back twenty times, and no packet is lost or overtaken") {
  if (!may_go_on()) return;
  constexpr std::uint16_t packets = 4'000;
  constexpr std::uint16_t between_moves = 50;
  constexpr std::chrono::microseconds pace{250};
  SUBCASE("on loopback") {
    const NetworkNamespace place;
    const Within here{place};
    LoopbackFarm farm{true, false, 64};
    farm.relay->renew(monotonic_ms() + 60'000);
    const Stream stream{farm.caller, farm.farm_a.address(), packets, pace};
    carry_and_move(farm.call(), packets, between_moves);
  }
  SUBCASE("between veths") {
    VethFarm farm;
    const Stream stream{*farm.caller, farm.farm_a->address(), packets, pace};
    carry_and_move(farm.call(), packets, between_moves);
  }
}
