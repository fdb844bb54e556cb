#include <doctest/doctest.h>
#include <elf.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "bpf/object.hpp"
#include "kernel_call.hpp"

using namespace sipfarm;
using namespace sipfarm::testing;

namespace {

template <typename Body>
void for_each_hook(Body body) {
  for (const bool tcx : {true, false}) {
    CAPTURE(tcx);
    const NetworkNamespace place;
    const Within here{place};
    body(tcx);
  }
}

/// The tests below on loopback with IPv4.
struct Here {
  NetworkNamespace place;
  Within here{place};
};

/// Of the calling thread alone.
void hold_only(std::uint64_t capabilities) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets{};
  for (std::size_t i = 0; i < sets.size(); ++i) {
    sets[i].effective = sets[i].permitted = static_cast<std::uint32_t>(capabilities >> (32 * i));
  }
  ::syscall(SYS_capset, &header, sets.data());
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("kernel relay: without the rights it is refused, and says which") {
  std::string reason;
  std::thread powerless{[&] {
    hold_only(0);
    bpf::KernelRelayConfig config;
    config.addresses = {net::Address::parse("127.0.0.1", 0).value()};
    CHECK(bpf::KernelRelay::open(config, reason) == nullptr);
  }};
  powerless.join();
  CHECK(reason.find(k_refusal) != std::string::npos);
}

TEST_CASE("kernel relay: two rights are enough") {
  if (!may_go_on()) return;
  const Here here;
  std::string reason;
  std::thread{[&] {
    hold_only(1ULL << CAP_BPF | 1ULL << CAP_NET_ADMIN);
    bpf::KernelRelayConfig config;
    config.addresses = {net::Address::parse("127.0.0.1", 0).value()};
    for (const bool tcx : {true, false}) {
      config.tcx = tcx;
      CHECK(bpf::KernelRelay::open(config, reason) != nullptr);
    }
    CHECK(bpf::Routes::open());
  }}.join();
  CHECK(reason == "");
}

#ifdef SIPFARM_BPF
TEST_CASE("kernel relay: what the verifier says is told") {
  if (!may_go_on()) return;
  const auto whole = bpf::object("relay");
  std::vector<unsigned char> broken{whole.begin(), whole.end()};
  Elf64_Ehdr head{};
  std::memcpy(&head, broken.data(), sizeof head);
  const auto section = [&](std::size_t index) {
    Elf64_Shdr found{};
    std::memcpy(&found, broken.data() + head.e_shoff + index * sizeof found, sizeof found);
    return found;
  };
  const Elf64_Shdr names = section(head.e_shstrndx);
  for (std::size_t i = 0; i < head.e_shnum; ++i) {
    const Elf64_Shdr code = section(i);
    if (std::strcmp(reinterpret_cast<const char*>(broken.data() + names.sh_offset + code.sh_name), "tc") != 0) continue;
    std::fill_n(broken.begin() + static_cast<std::ptrdiff_t>(code.sh_offset), 8, static_cast<unsigned char>(0));
    broken[code.sh_offset] = 0x95;  // exit, with nothing to return
  }
  std::string reason;
  CHECK(bpf::RelayProgram::load(broken, 2, reason) == nullptr);
  CHECK_MESSAGE(reason.find("unreachable insn") != std::string::npos, reason);
}
#endif

TEST_CASE("kernel relay: an interface that is not there is named") {
  if (!may_go_on()) return;
  bpf::KernelRelayConfig config;
  config.interfaces = {"nowhere"};
  std::string reason;
  CHECK(bpf::KernelRelay::open(config, reason) == nullptr);
  CHECK(reason == "no interface nowhere");
}

TEST_CASE("kernel relay: on loopback packets go on to the other leg as new ones from us") {
  if (!may_go_on()) return;
  for_each_hook([](bool tcx) {
    for (const bool v6 : {false, true}) {
      CAPTURE(v6);
      LoopbackFarm farm{tcx, v6};
      CHECK(farm.relay->where() == (tcx ? "lo (tcx)" : "lo (clsact)"));
      KernelCall call = farm.call();
      call.offload();
      for (int i = 0; i < 20; ++i) call.check_relayed(call.send());
      const bpf::FlowCounters counters = call.table.read(call.handle);
      CHECK(counters.packets == 20);
      CHECK(counters.bytes == 20 * (12 + std::string{"voice 2"}.size()) + 12);  // "voice 10" to "voice 21" are longer
      CHECK(monotonic_ms() - counters.last_ms < 1'000);
    }
  });
}

TEST_CASE("kernel relay: nothing is relayed before the last packet that went up has left") {
  if (!may_go_on()) return;
  const Here here;
  LoopbackFarm farm;
  KernelCall call = farm.call();
  call.put();
  CHECK_FALSE(call.table.open(call.handle, 0x11223344, call.sequence));  // none went up yet
  const Bytes first = call.send();
  const Bytes second = call.send();
  CHECK_FALSE(call.table.open(call.handle, 0x11223344, 1));  // the second is still in the queue
  CHECK_FALSE(call.table.is_open(call.handle));
  call.check_up(first);
  call.check_up(second);
  CHECK(call.table.open(call.handle, 0x11223344, 2));
  CHECK(call.table.is_open(call.handle));
  call.check_relayed(call.send());
}

TEST_CASE("kernel relay: what is not plain RTP from the locked source goes up") {
  if (!may_go_on()) return;
  const Here here;
  LoopbackFarm farm;
  KernelCall call = farm.call();
  call.offload();
  MediaSocket stranger{farm.host};
  const Bytes csrc_cut_short{0x8f, 0, 0, 9, 0, 0, 0, 0, 1, 2, 3, 4};
  for (const Bytes& odd : {rtcp_packet(), stun_packet(), dtls_packet(), csrc_cut_short, Bytes{}, Bytes{0x80}, Bytes(11, 0x80)}) {
    CAPTURE(odd.size());
    farm.caller.send(odd, farm.farm_a.address());
    call.check_up(odd);
  }
  const Bytes foreign = rtp_packet(7, "let me in");
  stranger.send(foreign, farm.farm_a.address());
  call.check_up(foreign, stranger.address());
  call.check_relayed(call.send());
}

TEST_CASE("kernel relay: payload types that somebody wants to see go up, while they are wanted") {
  if (!may_go_on()) return;
  const Here here;
  LoopbackFarm farm;
  KernelCall call = farm.call();
  call.offload();
  call.check_relayed(call.send(k_event_type));
  call.table.set_up_types(call.handle, {0, 1ULL << (k_event_type - 64)});
  call.check_up(call.send(k_event_type));
  call.check_up(call.send(k_event_type | 0x80));  // the marker is none of the type
  call.check_relayed(call.send());
  call.table.set_up_types(call.handle, {});
  call.check_relayed(call.send(k_event_type));
}

TEST_CASE("kernel relay: of many strangers few go up, and the rest is counted") {
  if (!may_go_on()) return;
  const Here here;
  LoopbackFarm farm;
  KernelCall call = farm.call();
  call.offload();
  MediaSocket stranger{farm.host};
  std::uint64_t up = 0;
  for (int i = 0; i < 300; ++i) stranger.send(rtp_packet(1, "knock"), farm.farm_a.address());
  while (farm.farm_a.receive(k_nothing_ms)) ++up;
  CHECK(up >= SIPFARM_STRANGERS_PER_WINDOW);
  CHECK(up <= 2 * SIPFARM_STRANGERS_PER_WINDOW);  // a window may have ended meanwhile
  CHECK(call.table.read(call.handle).strangers == 300 - up);
  CHECK_FALSE(farm.callee.receive(0));
  call.check_relayed(call.send());
}

TEST_CASE("kernel relay: more packets than a flow may have are dropped and counted") {
  if (!may_go_on()) return;
  const Here here;
  LoopbackFarm farm;
  KernelCall call = farm.call();
  bpf::Flow flow = call.flow();
  flow.packets_max = 10;
  call.handle = call.table.put(flow, monotonic_ms());
  call.send();
  REQUIRE(farm.farm_a.receive(k_soon_ms));
  REQUIRE(call.table.open(call.handle, 0x11223344, call.sequence));
  for (int i = 0; i < 100; ++i) call.send();
  std::uint64_t heard = 0;
  while (farm.callee.receive(k_nothing_ms)) ++heard;
  CHECK(heard >= 10);
  CHECK(heard <= 20);
  CHECK(call.table.read(call.handle).packets == heard);
  CHECK(call.table.read(call.handle).flooded == 100 - heard);
}

TEST_CASE("kernel relay: nobody else's traffic is touched") {
  if (!may_go_on()) return;
  for_each_hook([](bool tcx) {
    LoopbackFarm farm{tcx};
    KernelCall call = farm.call();
    call.offload();
    MediaSocket other{farm.host};
    const Bytes packet = rtp_packet(1, "not for you");
    farm.caller.send(packet, other.address());
    const auto heard = other.receive(k_soon_ms);
    REQUIRE(heard);
    CHECK(heard->bytes == packet);
    CHECK(heard->source == farm.caller.address());
    // The same port on another address of the machine is another's.
    MediaSocket namesake{"127.0.0.9", farm.farm_a.address().port};
    farm.caller.send(packet, namesake.address());
    REQUIRE(namesake.receive(k_soon_ms));
    CHECK(call.table.read(call.handle).packets == 0);
  });
}

TEST_CASE("kernel relay: a flow that is removed goes up, and its place rests") {
  if (!may_go_on()) return;
  const Here here;
  LoopbackFarm farm{true, false, 1};
  KernelCall call = farm.call();
  call.offload();
  call.check_relayed(call.send());
  CHECK(call.table.put(call.flow(), monotonic_ms()) == bpf::FlowTable::none);  // full
  const std::int64_t now_ms = monotonic_ms();
  CHECK(call.table.remove(call.handle, now_ms).packets == 1);
  CHECK(call.table.size() == 0);
  call.check_up(call.send());
  CHECK(call.table.put(call.flow(), now_ms + 999) == bpf::FlowTable::none);
  call.put(now_ms + 1'000);
  CHECK(call.table.read(call.handle).packets == 0);
  call.check_up(call.send());
}

TEST_CASE("kernel relay: a port has one flow, and a port number has one for each of its addresses") {
  if (!may_go_on()) return;
  const Here here;
  LoopbackFarm farm;
  KernelCall call = farm.call();
  bpf::Flow flow = call.flow();
  CHECK(call.table.put(flow, monotonic_ms()) != bpf::FlowTable::none);
  CHECK(call.table.put(flow, monotonic_ms()) == bpf::FlowTable::none);
  std::vector<bpf::FlowTable::Handle> others;
  for (std::uint8_t i = 1; i < SIPFARM_FLOWS_PER_PORT; ++i) {
    flow.local.ip[3] = static_cast<std::uint8_t>(i + 1);
    others.push_back(call.table.put(flow, monotonic_ms()));
    CHECK(others.back() != bpf::FlowTable::none);
  }
  flow.local.ip[3] = 99;
  CHECK(call.table.put(flow, monotonic_ms()) == bpf::FlowTable::none);
  call.table.remove(others.front(), monotonic_ms());
  CHECK(call.table.put(flow, monotonic_ms()) != bpf::FlowTable::none);
}

TEST_CASE("kernel relay: flows that nobody looks after go up") {
  if (!may_go_on()) return;
  const Here here;
  LoopbackFarm farm;
  KernelCall call = farm.call();
  call.offload();
  call.check_relayed(call.send());
  farm.relay->renew(monotonic_ms() - bpf::KernelRelay::lease_ms - 100);
  call.check_up(call.send());
  farm.relay->renew(monotonic_ms());
  call.check_relayed(call.send());
}

TEST_CASE("kernel relay: a packet without checksum, and one in fragments of memory, are relayed whole") {
  if (!may_go_on()) return;
  const Here here;
  LoopbackFarm farm;
  KernelCall call = farm.call();
  call.offload();
  sockaddr_storage storage{};
  const socklen_t bytes = farm.farm_a.address().to_sockaddr(storage);
  const Bytes packet = rtp_packet(9, std::string(1'000, 'x'));
  for (const std::size_t head : {std::size_t{4}, std::size_t{12}, std::size_t{500}}) {
    CAPTURE(head);
    const int fd = farm.caller.descriptor();
    ::sendto(fd, packet.data(), head, MSG_MORE, reinterpret_cast<const sockaddr*>(&storage), bytes);
    ::sendto(fd, packet.data() + head, packet.size() - head, 0, reinterpret_cast<const sockaddr*>(&storage), bytes);
    call.check_relayed(packet);
  }
  const int on = 1;
  REQUIRE(::setsockopt(farm.caller.descriptor(), SOL_SOCKET, SO_NO_CHECK, &on, sizeof on) == 0);
  call.check_relayed(call.send());
}

TEST_CASE("kernel relay: several work side by side at one interface") {
  if (!may_go_on()) return;
  for_each_hook([](bool tcx) {
    LoopbackFarm one{tcx};
    LoopbackFarm two{!tcx};
    LoopbackFarm three{tcx};
    for (LoopbackFarm* farm : {&one, &two, &three}) {
      KernelCall call = farm->call();
      call.offload();
      call.check_relayed(call.send());
    }
  });
}

TEST_CASE("kernel relay: nothing is left of a process that was killed") {
  if (!may_go_on()) return;
  for_each_hook([](bool tcx) {
    MediaSocket caller, farm_a, farm_b, callee;
    std::array<int, 2> ready{};
    REQUIRE(::pipe(ready.data()) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      LoopbackFarm farm{tcx};
      KernelCall call{caller, farm_a, farm_b, callee, farm.relay->table(0), *farm.routes};
      call.offload();
      ::write(ready[1], "x", 1);
      for (;;) ::pause();
    }
    ::close(ready[1]);
    char byte = 0;
    REQUIRE(::read(ready[0], &byte, 1) == 1);
    const Bytes packet = rtp_packet(77, "relayed while it lives");
    caller.send(packet, farm_a.address());
    REQUIRE(callee.receive(k_soon_ms));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    ::close(ready[0]);
    if (!tcx) {
      // A filter outlives its process: until the lease ends, or until another process of ours starts.
      CHECK(count(run("tc filter show dev lo ingress"), "sipfarm_relay") == 1);
      const LoopbackFarm next{tcx};
      CHECK(count(run("tc filter show dev lo ingress"), "sipfarm_relay") == 1);
      caller.send(packet, farm_a.address());
      CHECK(farm_a.receive(k_soon_ms));
      return;
    }
    caller.send(packet, farm_a.address());
    CHECK(farm_a.receive(k_soon_ms));
    CHECK_FALSE(callee.receive(0));
  });
}

TEST_CASE("kernel relay: a filter is taken away with its owner, and its neighbours stay") {
  if (!may_go_on()) return;
  const Here here;
  const LoopbackFarm stays{false};
  const std::string before = run("tc filter show dev lo ingress");
  CHECK(count(before, "sipfarm_relay") == 1);
  {
    const LoopbackFarm goes{false};
    CHECK(count(run("tc filter show dev lo ingress"), "sipfarm_relay") == 2);
  }
  CHECK(run("tc filter show dev lo ingress") == before);
}
