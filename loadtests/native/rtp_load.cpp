// Sends and receives the RTP of many calls: 172-byte PCMU packets, 50 a second from each end.
//
//   rtp_load WARM_S SECONDS
// Reads one end per line, "LOCAL_IP LOCAL_PORT RELAY_IP RELAY_PORT", up to an empty line or the end; each end sends to its
// relay port from its local one and listens there. Prints "measuring" and "measured" at the edges of the window,
// then one line of JSON.
//
// The ends are spread over 80 slots of 250 us. A packet carries the time of its send call; latency is from there to the
// kernel's receive stamp (SO_TIMESTAMPNS), so an end is read only when its next packet is due: no wake-up of this
// process falls into the relay's time.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "net/address.hpp"

using sipfarm::net::Address;

namespace {

constexpr std::int64_t k_second_ns = 1'000'000'000;
constexpr std::int64_t k_period_ns = 20'000'000;
constexpr std::size_t k_slots = 80;
constexpr std::size_t k_packet_bytes = 172;
constexpr std::size_t k_stamp_at = 12;  // in the payload

std::int64_t now_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * k_second_ns + now.tv_nsec;
}

void sleep_until_ns(std::int64_t when) {
  const timespec until{when / k_second_ns, when % k_second_ns};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

struct Window {
  std::int64_t from_ns = 0;  // CLOCK_REALTIME
  std::int64_t to_ns = 0;
  bool contains(std::int64_t when) const { return when >= from_ns && when < to_ns; }
};

struct Result {
  std::uint64_t sent = 0;
  std::uint64_t unsent = 0;
  std::uint64_t received = 0;
  std::uint64_t malformed = 0;
  std::vector<std::uint32_t> latencies_ns;
};

/// One end of a call.
class End {
 public:
  End(const Address& local, const Address& relay, std::uint32_t ssrc) : fd_{::socket(local.v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)} {
    if (fd_ < 0) fail("socket");
    sockaddr_storage storage{};
    socklen_t size = local.to_sockaddr(storage);
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&storage), size) != 0) fail("bind");
    size = relay.to_sockaddr(storage);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&storage), size) != 0) fail("connect");
    const int on = 1;
    ::setsockopt(fd_, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    packet_[0] = 0x80;
    for (std::size_t i = 0; i < 4; ++i) packet_[8 + i] = static_cast<std::uint8_t>(ssrc >> (24 - 8 * i));
    std::fill(packet_.begin() + k_stamp_at, packet_.end(), std::uint8_t{0xd5});
  }

  void send(const Window& window, Result& result) {
    ++sequence_;
    timestamp_ += 160;
    packet_[2] = static_cast<std::uint8_t>(sequence_ >> 8);
    packet_[3] = static_cast<std::uint8_t>(sequence_);
    for (std::size_t i = 0; i < 4; ++i) packet_[4 + i] = static_cast<std::uint8_t>(timestamp_ >> (24 - 8 * i));
    const std::int64_t stamp = now_ns(CLOCK_REALTIME);
    std::memcpy(packet_.data() + k_stamp_at, &stamp, sizeof stamp);
    const bool sent = ::send(fd_, packet_.data(), packet_.size(), 0) == k_packet_bytes;
    if (!window.contains(stamp)) return;
    ++(sent ? result.sent : result.unsent);
  }

  void read_all(const Window& window, Result& result) {
    std::array<std::uint8_t, 2048> bytes;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(timespec))> control;
    for (;;) {
      iovec vector{bytes.data(), bytes.size()};
      msghdr message{};
      message.msg_iov = &vector;
      message.msg_iovlen = 1;
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      const ssize_t count = ::recvmsg(fd_, &message, 0);
      if (count < 0 && errno == ECONNREFUSED) continue;
      if (count < 0) return;
      if (count != k_packet_bytes || bytes[0] != 0x80) {
        ++result.malformed;
        continue;
      }
      std::int64_t stamp = 0;
      std::memcpy(&stamp, bytes.data() + k_stamp_at, sizeof stamp);
      if (!window.contains(stamp)) continue;
      ++result.received;
      const cmsghdr* header = CMSG_FIRSTHDR(&message);
      if (header == nullptr || header->cmsg_type != SCM_TIMESTAMPNS) continue;
      timespec arrival{};
      std::memcpy(&arrival, CMSG_DATA(header), sizeof arrival);
      const std::int64_t latency = std::int64_t{arrival.tv_sec} * k_second_ns + arrival.tv_nsec - stamp;
      result.latencies_ns.push_back(static_cast<std::uint32_t>(std::clamp<std::int64_t>(latency, 0, UINT32_MAX)));
    }
  }

 private:
  int fd_;
  std::array<std::uint8_t, k_packet_bytes> packet_{};
  std::uint16_t sequence_ = 0;
  std::uint32_t timestamp_ = 0;
};

std::vector<End> read_ends() {
  std::vector<End> ends;
  for (std::string line; std::getline(std::cin, line) && !line.empty();) {
    std::istringstream words{line};
    std::string local;
    std::string relay;
    std::uint16_t local_port = 0;
    std::uint16_t relay_port = 0;
    words >> local >> local_port >> relay >> relay_port;
    ends.emplace_back(Address::parse(local, local_port).value(), Address::parse(relay, relay_port).value(),
                      static_cast<std::uint32_t>(0x5150'0000U + ends.size()));
  }
  return ends;
}

void say(const char* what) {
  std::puts(what);
  std::fflush(stdout);
}

double percentile_us(std::vector<std::uint32_t>& values, double share) {
  if (values.empty()) return 0;
  const auto rank = static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + rank, values.end());
  return static_cast<double>(values[static_cast<std::size_t>(rank)]) / 1'000.0;
}

Result run(std::vector<End>& ends, std::int64_t warm_ns, std::int64_t window_ns) {
  Result result;
  result.latencies_ns.reserve(ends.size() * static_cast<std::size_t>(window_ns / k_period_ns + 2));
  const std::int64_t begin = now_ns(CLOCK_MONOTONIC);
  const std::int64_t to_real = now_ns(CLOCK_REALTIME) - begin;
  const Window window{begin + to_real + warm_ns, begin + to_real + warm_ns + window_ns};
  const std::int64_t slot_ns = k_period_ns / static_cast<std::int64_t>(k_slots);
  const std::int64_t last_slot = (warm_ns + window_ns + k_second_ns / 2) / slot_ns;
  bool measuring = false;
  bool measured = false;
  for (std::int64_t slot = 0; slot < last_slot; ++slot) {
    sleep_until_ns(begin + slot * slot_ns);
    if (!measuring && slot * slot_ns >= warm_ns) {
      measuring = true;
      say("measuring");
    }
    if (!measured && slot * slot_ns >= warm_ns + window_ns) {
      measured = true;
      say("measured");
    }
    for (std::size_t i = static_cast<std::size_t>(slot) % k_slots; i < ends.size(); i += k_slots) {
      ends[i].read_all(window, result);
      ends[i].send(window, result);
    }
  }
  for (End& end : ends) end.read_all(window, result);
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fputs("usage: rtp_load WARM_S SECONDS\n", stderr);
    return 2;
  }
  std::vector<End> ends = read_ends();
  Result result = run(ends, std::int64_t{std::atoi(argv[1])} * k_second_ns, std::int64_t{std::atoi(argv[2])} * k_second_ns);
  std::printf("{\"sent\": %llu, \"unsent\": %llu, \"received\": %llu, \"malformed\": %llu, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
              static_cast<unsigned long long>(result.sent), static_cast<unsigned long long>(result.unsent),
              static_cast<unsigned long long>(result.received), static_cast<unsigned long long>(result.malformed),
              percentile_us(result.latencies_ns, 0.5), percentile_us(result.latencies_ns, 0.99));
  return 0;
}
