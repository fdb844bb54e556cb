#pragma once

#include <doctest/doctest.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <time.h>

#include <memory>
#include <string>

#include "bpf/kernel_relay.hpp"
#include "media_socket.hpp"
#include "network_namespace.hpp"

namespace sipfarm::testing {

inline constexpr int k_soon_ms = 5'000;    // longer than a packet takes on a busy machine
inline constexpr int k_nothing_ms = 30;    // on these paths a packet is in its socket when its sender's call returns

inline std::int64_t monotonic_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000 + now.tv_nsec / 1'000'000;
}

/// Whether this process may load programs and attach them.
inline bool has_rights() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets{};
  ::syscall(SYS_capget, &header, sets.data());
  const auto has = [&](unsigned cap) { return (sets[cap / 32].effective >> (cap % 32) & 1U) != 0; };
  return has(CAP_BPF) && has(CAP_NET_ADMIN) && has(CAP_SYS_ADMIN);
}

#ifdef SIPFARM_BPF
inline constexpr bool k_built = true;
inline constexpr const char* k_refusal = "CAP_BPF and CAP_NET_ADMIN";
#else
inline constexpr bool k_built = false;
inline constexpr const char* k_refusal = "built without clang or libbpf";
#endif

/// Where the build or the process's rights do not give what the rest of a test needs, it shows that this is told. True: go on.
inline bool may_go_on() {
  if (k_built && has_rights()) return true;
  std::string reason;
  CHECK(bpf::KernelRelay::open({}, reason) == nullptr);
  CHECK(reason.find(k_refusal) != std::string::npos);
  return false;
}

/// An event of RFC 4733, a binding request, a DTLS record.
inline constexpr std::uint8_t k_event_type = 101;
inline Bytes stun_packet() {
  Bytes packet(20, 0);
  packet[1] = 1;
  return packet;
}
inline Bytes dtls_packet() { return Bytes(32, 22); }

/// One direction of a call: caller > farm's port | farm's other port > callee. The sockets may be in other namespaces.
struct KernelCall {
  MediaSocket& caller;
  MediaSocket& farm_a;
  MediaSocket& farm_b;
  MediaSocket& callee;
  bpf::FlowTable& table;
  bpf::Routes& routes;
  bpf::FlowTable::Handle handle = bpf::FlowTable::none;
  std::uint16_t sequence = 0;

  bpf::Flow flow() {
    bpf::Flow made;
    made.local = farm_a.address();
    made.source = caller.address();
    made.new_source = farm_b.address();
    made.destination = callee.address();
    made.way = routes.find(made.local, made.new_source, made.destination).value();
    made.dscp = 46;
    return made;
  }

  /// The next packet from the caller.
  Bytes send(std::uint8_t type = 0) {
    ++sequence;
    Bytes packet = rtp_packet(sequence, "voice " + std::to_string(sequence), type);
    caller.send(packet, farm_a.address());
    return packet;
  }

  void put(std::int64_t now_ms = monotonic_ms()) {
    handle = table.put(flow(), now_ms);
    REQUIRE(handle != bpf::FlowTable::none);
  }

  /// One packet goes up, and then the kernel relays.
  void offload() {
    put();
    send();
    REQUIRE(farm_a.receive(k_soon_ms));
    REQUIRE(table.open(handle, 0x11223344, sequence));
  }

  /// The packet is relayed: to the callee, from our other port, and not up.
  void check_relayed(const Bytes& packet) {
    const auto heard = callee.receive(k_soon_ms);
    REQUIRE(heard);
    CHECK(heard->bytes == packet);
    CHECK(heard->source == farm_b.address());
    CHECK_FALSE(farm_a.receive(0));
  }

  /// The packet goes up as its sender made it, and nowhere else.
  void check_up(const Bytes& packet, const net::Address& source) {
    const auto heard = farm_a.receive(k_soon_ms);
    REQUIRE(heard);
    CHECK(heard->bytes == packet);
    CHECK(heard->source == source);
    CHECK_FALSE(callee.receive(0));
  }
  void check_up(const Bytes& packet) { check_up(packet, caller.address()); }
};

/// A farm on loopback, in a namespace of its own.
struct LoopbackFarm {
  explicit LoopbackFarm(bool tcx = true, bool v6 = false, std::uint32_t flows = 16) : host{v6 ? "[::1]" : "127.0.0.1"} {
    bpf::KernelRelayConfig config;
    config.addresses = {net::Address::parse(host, 0).value()};
    config.flows = flows;
    config.tcx = tcx;
    std::string reason;
    relay = bpf::KernelRelay::open(config, reason);
    REQUIRE_MESSAGE(relay != nullptr, reason);
    relay->renew(monotonic_ms());
    REQUIRE(routes);
  }

  const char* host;
  std::unique_ptr<bpf::KernelRelay> relay;
  std::optional<bpf::Routes> routes = bpf::Routes::open();
  MediaSocket caller{host}, farm_a{host}, farm_b{host}, callee{host};
  KernelCall call() { return {caller, farm_a, farm_b, callee, relay->table(0), *routes}; }
};

/// caller (.1) <veth> (.2) farm (.2) <veth> (.1) callee, IPv4 10.9.x and IPv6 fd09:x::.
struct VethNetwork {
  NetworkNamespace caller, farm, callee;

  VethNetwork() {
    join(caller, "10.9.1", "fd09:1::", "left");
    join(callee, "10.9.2", "fd09:2::", "right");
  }

 private:
  void join(const NetworkNamespace& phone, const std::string& four, const std::string& six, const std::string& name) {
    const Within there{farm};
    run("ip link add " + name + " type veth peer name phone netns " + phone.path());
    set_up(name, four + ".2/24", six + "2/64");
    const Within inside{phone};
    set_up("phone", four + ".1/24", six + "1/64");
  }
  static void set_up(const std::string& name, const std::string& four, const std::string& six) {
    run("ip addr add " + four + " dev " + name + " && ip addr add " + six + " dev " + name + " nodad && ip link set " + name + " up");
  }
};

}  // namespace sipfarm::testing
