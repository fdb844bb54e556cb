// A farm's media ports with the kernel relay and nothing else: what comes up is sent on, and its flow moved to the kernel.
//
//   kernel_relay_server A_IP B_IP FIRST_PORT CALLS GENERATORS CALLER_IP CALLEE_IP PHONE_PORT
// Call i has port FIRST_PORT + 2 i towards its caller and the next one towards its callee; its phones are CALLER_IP and
// CALLEE_IP with port PHONE_PORT + i modulo GENERATORS. Prints "ready WHERE", and at the end of its input one line of JSON.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "bpf/kernel_relay.hpp"

using namespace sipfarm;

namespace {

constexpr std::size_t k_ready = 256;

std::int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000 + now.tv_nsec / 1'000'000;
}

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

struct Leg {
  int fd = -1;
  net::Address local;
  net::Address phone;
  Leg* other = nullptr;
  bpf::FlowTable::Handle flow = bpf::FlowTable::none;
};

class Server {
 public:
  Server(std::size_t calls, const net::Address& a, const net::Address& b) : legs_(2 * calls) {
    bpf::KernelRelayConfig config;
    config.addresses = {a, b};
    config.flows = static_cast<std::uint32_t>(2 * calls);
    std::string reason;
    relay_ = bpf::KernelRelay::open(config, reason);
    if (!relay_) fail(reason);
    relay_->renew(now_ms());
  }

  Leg& leg(std::size_t i) { return legs_[i]; }

  void open(Leg& leg) {
    leg.fd = ::socket(leg.local.v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_storage storage{};
    const socklen_t bytes = leg.local.to_sockaddr(storage);
    if (leg.fd < 0 || ::bind(leg.fd, reinterpret_cast<sockaddr*>(&storage), bytes) != 0) fail("no socket on " + leg.local.text());
    epoll_event event{EPOLLIN, {}};
    event.data.ptr = &leg;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, leg.fd, &event);
  }

  void offload(Leg& leg) {
    bpf::Flow flow;
    flow.local = leg.local;
    flow.source = leg.phone;
    flow.new_source = leg.other->local;
    flow.destination = leg.other->phone;
    const auto way = routes_.find(flow.local, flow.new_source, flow.destination);
    if (!way) fail("no way to " + flow.destination.text());
    flow.way = *way;
    leg.flow = relay_->table(0).put(flow, now_ms());
    if (leg.flow == bpf::FlowTable::none) fail("no room for " + flow.local.text());
  }

  void run() {
    std::printf("ready %s\n", relay_->where().c_str());
    std::fflush(stdout);
    epoll_event input{EPOLLIN, {}};
    input.data.ptr = nullptr;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, STDIN_FILENO, &input);
    for (;;) {
      std::array<epoll_event, k_ready> ready;
      const int count = ::epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()), 1'000);
      relay_->renew(now_ms());
      for (int i = 0; i < count; ++i) {
        if (ready[static_cast<std::size_t>(i)].data.ptr == nullptr) return report();
        carry(*static_cast<Leg*>(ready[static_cast<std::size_t>(i)].data.ptr));
      }
    }
  }

 private:
  void carry(Leg& leg) {
    std::array<std::uint8_t, 2'048> bytes;
    for (;;) {
      const ssize_t count = ::recv(leg.fd, bytes.data(), bytes.size(), 0);
      if (count < 12) return;
      ++up_;
      sockaddr_storage to{};
      const socklen_t to_bytes = leg.other->phone.to_sockaddr(to);
      ::sendto(leg.other->fd, bytes.data(), static_cast<std::size_t>(count), 0, reinterpret_cast<sockaddr*>(&to), to_bytes);
      const auto ssrc = static_cast<std::uint32_t>(bytes[8] << 24U | bytes[9] << 16U | bytes[10] << 8U | bytes[11]);
      relay_->table(0).open(leg.flow, ssrc, static_cast<std::uint16_t>(bytes[2] << 8U | bytes[3]));
    }
  }

  void report() {
    std::uint64_t relayed = 0;
    std::uint64_t dropped = 0;
    for (const Leg& leg : legs_) {
      const bpf::FlowCounters counters = relay_->table(0).read(leg.flow);
      relayed += counters.packets;
      dropped += counters.flooded + counters.strangers;
    }
    std::printf("{\"relayed\": %llu, \"up\": %llu, \"dropped\": %llu}\n", static_cast<unsigned long long>(relayed),
                static_cast<unsigned long long>(up_), static_cast<unsigned long long>(dropped));
  }

  std::vector<Leg> legs_;
  std::unique_ptr<bpf::KernelRelay> relay_;
  bpf::Routes routes_{bpf::Routes::open().value()};
  int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  std::uint64_t up_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 9) {
    std::fputs("usage: kernel_relay_server A_IP B_IP FIRST_PORT CALLS GENERATORS CALLER_IP CALLEE_IP PHONE_PORT\n", stderr);
    return 2;
  }
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  const auto number = [&](int at) { return static_cast<std::size_t>(std::atoi(argv[at])); };
  const auto address = [&](int at, std::size_t port) { return net::Address::parse(argv[at], static_cast<std::uint16_t>(port)).value(); };
  const std::size_t calls = number(4);
  Server server{calls, address(1, 0), address(2, 0)};
  for (std::size_t i = 0; i < calls; ++i) {
    Leg& a = server.leg(2 * i);
    Leg& b = server.leg(2 * i + 1);
    const std::size_t phone = number(8) + i % number(5);
    a = {-1, address(1, number(3) + 2 * i), address(6, phone), &b};
    b = {-1, address(2, number(3) + 2 * i + 1), address(7, phone), &a};
    server.open(a);
    server.open(b);
    server.offload(a);
    server.offload(b);
  }
  server.run();
  return 0;
}
