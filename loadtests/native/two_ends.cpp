// The RTP of many calls from one socket at each end: as little work as sending takes, so that a relay without userspace shows.
//
//   two_ends WARM_S SECONDS CALLS STEP  NETNS IP PORT TO_IP TO_PORT  NETNS IP PORT TO_IP TO_PORT
// Each end stands in the named network namespace ("-": this one) and sends 172-byte packets, 50 a second for each call, to
// the ports TO_PORT, TO_PORT + STEP, .. (STEP 0: straight to the other end). Calls are spread over 80 slots of 250 us. Prints
// "measuring" and "measured" at the edges of the window, then one line of JSON. Latency is from before the sending call of
// up to 64 packets to the kernel's receive stamp.
#include <fcntl.h>
#include <sched.h>
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
#include <string>
#include <vector>

#include "net/address.hpp"

using sipfarm::net::Address;

namespace {

constexpr std::int64_t k_second_ns = 1'000'000'000;
constexpr std::int64_t k_slot_ns = 250'000;
constexpr std::size_t k_slots = 80;
constexpr std::size_t k_packet_bytes = 172;
constexpr std::size_t k_stamp_at = 12;
constexpr std::size_t k_batch = 64;
constexpr int k_buffer_bytes = 64 << 20;

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

void enter(const std::string& name) {
  if (name == "-") return;
  const int fd = ::open(("/var/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || ::setns(fd, CLONE_NEWNET) != 0) fail(name.c_str());
  ::close(fd);
}

struct Result {
  std::int64_t from_ns = 0;  // CLOCK_REALTIME: what was sent in between counts
  std::int64_t to_ns = 0;
  std::uint64_t sent = 0;
  std::uint64_t unsent = 0;
  std::uint64_t received = 0;
  std::uint64_t malformed = 0;
  std::vector<std::uint32_t> latencies_ns;
  bool contains(std::int64_t when) const { return when >= from_ns && when < to_ns; }
};

class End {
 public:
  End(const std::string& place, const Address& local, const Address& to, std::size_t calls, unsigned step) : to_(calls) {
    enter(place);
    fd_ = ::socket(local.v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (fd_ < 0) fail("socket");
    sockaddr_storage storage{};
    const socklen_t bytes = local.to_sockaddr(storage);
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&storage), bytes) != 0) fail("bind");
    const int on = 1;
    ::setsockopt(fd_, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &k_buffer_bytes, sizeof k_buffer_bytes);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDBUFFORCE, &k_buffer_bytes, sizeof k_buffer_bytes);
    Address each = to;
    for (std::size_t i = 0; i < calls; ++i) {
      each.port = static_cast<std::uint16_t>(to.port + i * step);
      to_bytes_ = each.to_sockaddr(to_[i]);
    }
    for (std::size_t i = 0; i < k_batch; ++i) {
      packets_[i].fill(0xd5);
      packets_[i][0] = 0x80;
      packets_[i][1] = 0;
      out_vectors_[i] = {packets_[i].data(), k_packet_bytes};
      in_vectors_[i] = {received_[i].data(), received_[i].size()};
    }
  }

  /// Each call of the slot sends its next packet.
  void send(std::size_t slot, std::uint16_t sequence, Result& result) {
    std::size_t count = 0;
    for (std::size_t call = slot; call < to_.size(); call += k_slots) {
      write_header(packets_[count], call, sequence);
      mmsghdr& message = out_[count];
      message.msg_hdr = {};
      message.msg_hdr.msg_name = &to_[call];
      message.msg_hdr.msg_namelen = to_bytes_;
      message.msg_hdr.msg_iov = &out_vectors_[count];
      message.msg_hdr.msg_iovlen = 1;
      if (++count == k_batch) flush(count, result);
    }
    flush(count, result);
  }

  void read_all(Result& result) {
    for (int count = static_cast<int>(k_batch); count == static_cast<int>(k_batch);) {
      for (std::size_t i = 0; i < k_batch; ++i) {
        in_[i].msg_hdr = {};
        in_[i].msg_hdr.msg_iov = &in_vectors_[i];
        in_[i].msg_hdr.msg_iovlen = 1;
        in_[i].msg_hdr.msg_control = controls_[i].bytes.data();
        in_[i].msg_hdr.msg_controllen = controls_[i].bytes.size();
      }
      count = ::recvmmsg(fd_, in_.data(), k_batch, 0, nullptr);
      for (int i = 0; i < count; ++i) take(static_cast<std::size_t>(i), result);
    }
  }

 private:
  using Packet = std::array<std::uint8_t, k_packet_bytes>;
  struct Control {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(timespec))> bytes;
  };

  static void write_header(Packet& packet, std::size_t call, std::uint16_t sequence) {
    packet[2] = static_cast<std::uint8_t>(sequence >> 8);
    packet[3] = static_cast<std::uint8_t>(sequence);
    const auto ssrc = static_cast<std::uint32_t>(0x5150'0000U + call);
    for (std::size_t i = 0; i < 4; ++i) packet[8 + i] = static_cast<std::uint8_t>(ssrc >> (24 - 8 * i));
  }

  void flush(std::size_t& count, Result& result) {
    const std::int64_t stamp = now_ns(CLOCK_REALTIME);
    for (std::size_t i = 0; i < count; ++i) std::memcpy(packets_[i].data() + k_stamp_at, &stamp, sizeof stamp);
    std::size_t sent = 0;
    while (sent < count) {
      const int now = ::sendmmsg(fd_, out_.data() + sent, static_cast<unsigned>(count - sent), 0);
      if (now > 0) sent += static_cast<std::size_t>(now);
      if (now < 0 && errno != EINTR && errno != ECONNREFUSED) break;
    }
    if (result.contains(stamp)) {
      result.sent += sent;
      result.unsent += count - sent;
    }
    count = 0;
  }

  void take(std::size_t i, Result& result) {
    const msghdr& message = in_[i].msg_hdr;
    if (in_[i].msg_len != k_packet_bytes || received_[i][0] != 0x80) {
      ++result.malformed;
      return;
    }
    std::int64_t stamp = 0;
    std::memcpy(&stamp, received_[i].data() + k_stamp_at, sizeof stamp);
    if (!result.contains(stamp)) return;
    ++result.received;
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header == nullptr || header->cmsg_type != SCM_TIMESTAMPNS) return;
    timespec arrival{};
    std::memcpy(&arrival, CMSG_DATA(header), sizeof arrival);
    const std::int64_t latency = std::int64_t{arrival.tv_sec} * k_second_ns + arrival.tv_nsec - stamp;
    result.latencies_ns.push_back(static_cast<std::uint32_t>(std::clamp<std::int64_t>(latency, 0, UINT32_MAX)));
  }

  int fd_ = -1;
  std::vector<sockaddr_storage> to_;
  socklen_t to_bytes_ = 0;
  std::array<Packet, k_batch> packets_{};
  std::array<std::array<std::uint8_t, 256>, k_batch> received_{};
  std::array<Control, k_batch> controls_{};
  std::array<iovec, k_batch> out_vectors_{};
  std::array<iovec, k_batch> in_vectors_{};
  std::array<mmsghdr, k_batch> out_{};
  std::array<mmsghdr, k_batch> in_{};
};

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

void run(End& a, End& b, std::int64_t warm_ns, std::int64_t window_ns, Result& result) {
  const std::int64_t begin = now_ns(CLOCK_MONOTONIC);
  result.from_ns = now_ns(CLOCK_REALTIME) + warm_ns;
  result.to_ns = result.from_ns + window_ns;
  const std::int64_t after_ns = k_second_ns / 2;  // for what is under way
  bool measuring = false;
  bool measured = false;
  for (std::int64_t slot = 0; slot * k_slot_ns < warm_ns + window_ns + after_ns; ++slot) {
    sleep_until_ns(begin + slot * k_slot_ns);
    if (!measuring && slot * k_slot_ns >= warm_ns) {
      measuring = true;
      say("measuring");
    }
    if (!measured && slot * k_slot_ns >= warm_ns + window_ns) {
      measured = true;
      say("measured");
    }
    const auto sequence = static_cast<std::uint16_t>(1 + slot / static_cast<std::int64_t>(k_slots));
    for (End* end : {&a, &b}) {
      if (!measured) end->send(static_cast<std::size_t>(slot) % k_slots, sequence, result);
      end->read_all(result);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 15) {
    std::fputs("usage: two_ends WARM_S SECONDS CALLS STEP  NETNS IP PORT TO_IP TO_PORT  NETNS IP PORT TO_IP TO_PORT\n", stderr);
    return 2;
  }
  const auto address = [&](int at) {
    return Address::parse(argv[at], static_cast<std::uint16_t>(std::atoi(argv[at + 1]))).value();
  };
  const auto calls = static_cast<std::size_t>(std::atoi(argv[3]));
  const auto step = static_cast<unsigned>(std::atoi(argv[4]));
  const std::int64_t window_ns = std::atoi(argv[2]) * k_second_ns;
  End a{argv[5], address(6), address(8), calls, step};
  End b{argv[10], address(11), address(13), calls, step};
  Result result;
  result.latencies_ns.reserve(2 * calls * static_cast<std::size_t>(window_ns / (k_slot_ns * static_cast<std::int64_t>(k_slots)) + 2));
  run(a, b, std::atoi(argv[1]) * k_second_ns, window_ns, result);
  std::printf("{\"sent\": %llu, \"unsent\": %llu, \"received\": %llu, \"malformed\": %llu, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
              static_cast<unsigned long long>(result.sent), static_cast<unsigned long long>(result.unsent),
              static_cast<unsigned long long>(result.received), static_cast<unsigned long long>(result.malformed),
              percentile_us(result.latencies_ns, 0.5), percentile_us(result.latencies_ns, 0.99));
  return 0;
}
