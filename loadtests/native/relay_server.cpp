// The media plane of sipfarm as a process of its own, for bench_relay: no SIP, no Python, the shipped worker.
//
//   relay_server HOST FIRST_PORT LAST_PORT THREADS COALESCE_US auto|per_port|steered [CODING_A CODING_B BITRATE COMPLEXITY]
// Reads one call per line, "CALLER_IP CALLER_PORT CALLEE_IP CALLEE_PORT", up to an empty line; prints each call's two
// relay ports, then "ready". With codings, each call is a bridge from the caller's to the callee's. Prints its totals as JSON when standard input ends, and stops.
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "coding_named.hpp"
#include "rtp/plane.hpp"

using namespace sipfarm;

namespace {

std::int64_t monotonic_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000 + now.tv_nsec / 1'000'000;
}

struct CallEnds {
  rtp::Remote caller;
  rtp::Remote callee;
};

std::vector<CallEnds> read_calls() {
  std::vector<CallEnds> calls;
  for (std::string line; std::getline(std::cin, line) && !line.empty();) {
    std::istringstream words{line};
    std::string caller;
    std::string callee;
    std::uint16_t caller_port = 0;
    std::uint16_t callee_port = 0;
    words >> caller >> caller_port >> callee >> callee_port;
    CallEnds ends;
    ends.caller.rtp = net::Address::parse(caller, caller_port).value();
    ends.callee.rtp = net::Address::parse(callee, callee_port).value();
    calls.push_back(ends);
  }
  return calls;
}

std::uint16_t take(rtp::PortPool& pool, rtp::Plane& plane) {
  for (int tries = 0; tries < 1'000; ++tries) {
    if (const auto port = pool.take(monotonic_ms())) return *port;
    plane.replenish(monotonic_ms());
  }
  std::fputs("relay_server: no free ports in the range\n", stderr);
  std::exit(1);
}

void serve_until_eof(rtp::Plane& plane) {
  std::vector<rtp::Event> events;
  for (;;) {
    pollfd ready[] = {{STDIN_FILENO, POLLIN, 0}, {plane.event_fd(), POLLIN, 0}};
    ::poll(ready, 2, 1'000);
    events.clear();
    plane.poll_events(events);
    plane.replenish(monotonic_ms());
    char byte = 0;
    if (ready[0].revents != 0 && ::read(STDIN_FILENO, &byte, 1) <= 0) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7 && argc != 11) {
    std::fputs("usage: relay_server HOST FIRST_PORT LAST_PORT THREADS COALESCE_US SOCKETS [CODING_A CODING_B BITRATE COMPLEXITY]\n", stderr);
    return 2;
  }
  rtp::PlaneConfig config;
  config.address = net::Address::parse(argv[1], 0).value();
  config.first_port = static_cast<std::uint16_t>(std::atoi(argv[2]));
  config.last_port = static_cast<std::uint16_t>(std::atoi(argv[3]));
  config.threads = static_cast<unsigned>(std::atoi(argv[4]));
  config.coalesce_us = static_cast<unsigned>(std::atoi(argv[5]));
  const std::string sockets = argv[6];
  if (sockets == "per_port") config.sockets = rtp::SocketMode::per_port;
  if (sockets == "steered") config.sockets = rtp::SocketMode::steered;
  rtp::PortPool pool;
  rtp::Plane plane{config, pool};

  rtp::BridgePlan bridge;
  for (std::size_t i = 0; argc == 11 && i < 2; ++i) {
    const auto coding = coding_named(argv[7 + i], 8'000, static_cast<std::uint32_t>(std::atoi(argv[9])), static_cast<unsigned>(std::atoi(argv[10])));
    bridge.sides[i].receive = {coding};
    bridge.sides[i].send = coding;
  }

  std::uint64_t stream = 0;
  for (const CallEnds& call : read_calls()) {
    const std::uint16_t a = take(pool, plane);
    const std::uint16_t b = take(pool, plane);
    const rtp::Command open = rtp::Command::open_relay(++stream, a, b, call.caller, call.callee);
    plane.apply({&open, 1});
    if (argc == 11 && plane.set_bridge(stream, &bridge) != nullptr) {
      std::fputs("relay_server: no such bridge\n", stderr);
      return 1;
    }
    std::printf("%u %u\n", unsigned{a}, unsigned{b});
  }
  std::puts("ready");
  std::fflush(stdout);
  serve_until_eof(plane);
  const rtp::PlaneTotals totals = plane.totals();
  const auto print = [](const char* name, std::uint64_t value) {
    std::printf("\"%s\": %llu, ", name, static_cast<unsigned long long>(value));
  };
  std::putchar('{');
  print("relayed", totals.packets_relayed);
  print("dropped", totals.dropped);
  print("late", totals.late);
  print("queue_full", totals.queue_full);
  print("wakeups", totals.wakeups);
  std::printf("\"sockets\": \"%s\"}\n", plane.socket_mode() == rtp::SocketMode::steered ? "steered" : "per_port");
  return 0;
}
