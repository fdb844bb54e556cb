// Sends the RTP of many calls whose ends have different codecs, and counts what comes back; 50 packets a second from each end.
//
//   transcode_load WARM_S SECONDS CODING_A CODING_B BITRATE COMPLEXITY
// Reads one call end per line, "LOCAL_IP LOCAL_PORT RELAY_IP RELAY_PORT", callers and callees in turn, up to an empty line. Each
// sends two seconds of speech-like sound over and over, really coded. Prints "measuring" and "measured" at the edges of the
// window, then one line of JSON: packets sent and received in it, and those whose payload type or size is not of the end's codec.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "coding_named.hpp"
#include "net/address.hpp"
#include "rtp/header.hpp"

using namespace sipfarm;

namespace {

constexpr std::int64_t k_second_ns = 1'000'000'000;
constexpr std::int64_t k_period_ns = 20'000'000;
constexpr std::size_t k_slots = 80;
constexpr std::size_t k_packets = 100;

using Packet = std::vector<std::uint8_t>;

void sleep_until_ns(std::int64_t when) {
  const timespec until{when / k_second_ns, when % k_second_ns};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

/// A voice: a pitch of 120 Hz with its harmonics, louder and softer four times a second.
std::vector<Packet> speech(const rtp::PayloadFormat& coding) {
  const auto encoder = codec::make_encoder(coding.format);
  if (!encoder) fail("no such codec in this build");
  const std::size_t frame = coding.format.sample_rate_hz / 50;
  std::vector<Packet> packets;
  for (std::size_t i = 0; i < k_packets; ++i) {
    std::vector<std::int16_t> pcm(frame);
    for (std::size_t k = 0; k < frame; ++k) {
      const double at = static_cast<double>(i * frame + k) / coding.format.sample_rate_hz;
      double sum = 0;
      for (int harmonic = 1; harmonic <= 20; ++harmonic) sum += std::sin(2 * M_PI * 120 * harmonic * at) / harmonic;
      pcm[k] = static_cast<std::int16_t>(5'000 * sum * (0.6 + 0.4 * std::sin(2 * M_PI * 4 * at)));
    }
    Packet packet(rtp::k_fixed_header_bytes + codec::k_payload_bytes_max);
    packet.resize(rtp::k_fixed_header_bytes + encoder->encode(pcm, std::span{packet}.subspan(rtp::k_fixed_header_bytes)));
    packets.push_back(std::move(packet));
  }
  return packets;
}

struct Result {
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  std::uint64_t foreign = 0;
};

class End {
 public:
  End(const net::Address& local, const net::Address& relay, std::uint32_t ssrc, const rtp::PayloadFormat& coding, const std::vector<Packet>& speech)
      : fd_{::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)}, coding_{coding}, speech_{speech}, stamp_{ssrc, 0, 0, false} {
    sockaddr_storage storage{};
    socklen_t size = local.to_sockaddr(storage);
    if (fd_ < 0 || ::bind(fd_, reinterpret_cast<sockaddr*>(&storage), size) != 0) fail("bind");
    size = relay.to_sockaddr(storage);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&storage), size) != 0) fail("connect");
  }

  bool send() {
    Packet packet = speech_[stamp_.sequence % k_packets];
    rtp::write_header(packet, stamp_, coding_.payload_type);
    ++stamp_.sequence;
    stamp_.timestamp += coding_.format.clock_rate_hz / 50;
    return ::send(fd_, packet.data(), packet.size(), 0) == static_cast<ssize_t>(packet.size());
  }

  void read_all(bool counts, Result& result) {
    std::array<std::uint8_t, 2048> bytes;
    for (;;) {
      const ssize_t count = ::recv(fd_, bytes.data(), bytes.size(), 0);
      if (count < 0 && errno == ECONNREFUSED) continue;
      if (count < 0) return;
      if (!counts) continue;
      const auto header = rtp::Header::read(std::span{bytes}.first(static_cast<std::size_t>(count)));
      const bool is_ours = header && header->payload_type == coding_.payload_type && !header->payload.empty();
      ++(is_ours ? result.received : result.foreign);
    }
  }

 private:
  int fd_;
  rtp::PayloadFormat coding_;
  const std::vector<Packet>& speech_;
  audio::Stamp stamp_;
};

void say(const char* what) {
  std::puts(what);
  std::fflush(stdout);
}

Result run(std::vector<End>& ends, std::int64_t warm_ns, std::int64_t window_ns) {
  Result result;
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const std::int64_t begin = std::int64_t{now.tv_sec} * k_second_ns + now.tv_nsec;
  const std::int64_t slot_ns = k_period_ns / static_cast<std::int64_t>(k_slots);
  const std::int64_t first = warm_ns / slot_ns;
  const std::int64_t last = (warm_ns + window_ns) / slot_ns;
  for (std::int64_t slot = 0; slot <= last; ++slot) {
    sleep_until_ns(begin + slot * slot_ns);
    if (slot == first) say("measuring");
    if (slot == last) say("measured");
    const bool counts = slot >= first && slot < last;
    for (std::size_t i = static_cast<std::size_t>(slot) % k_slots; i < ends.size(); i += k_slots) {
      ends[i].read_all(counts, result);
      if (ends[i].send() && counts) ++result.sent;
    }
  }
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fputs("usage: transcode_load WARM_S SECONDS CODING_A CODING_B BITRATE COMPLEXITY\n", stderr);
    return 2;
  }
  const auto bitrate = static_cast<std::uint32_t>(std::atoi(argv[5]));
  const auto complexity = static_cast<unsigned>(std::atoi(argv[6]));
  const std::array codings{coding_named(argv[3], 48'000, bitrate, complexity), coding_named(argv[4], 48'000, bitrate, complexity)};
  const std::array<std::vector<Packet>, 2> sounds{speech(codings[0]), speech(codings[1])};
  std::vector<End> ends;
  for (std::string line; std::getline(std::cin, line) && !line.empty();) {
    std::istringstream words{line};
    std::string local;
    std::string relay;
    std::uint16_t local_port = 0;
    std::uint16_t relay_port = 0;
    words >> local >> local_port >> relay >> relay_port;
    const std::size_t which = ends.size() % 2;
    ends.emplace_back(net::Address::parse(local, local_port).value(), net::Address::parse(relay, relay_port).value(),
                      static_cast<std::uint32_t>(0x5150'0000U + ends.size()), codings[which], sounds[which]);
  }
  const Result result = run(ends, std::int64_t{std::atoi(argv[1])} * k_second_ns, std::int64_t{std::atoi(argv[2])} * k_second_ns);
  std::printf("{\"sent\": %llu, \"received\": %llu, \"foreign\": %llu}\n", static_cast<unsigned long long>(result.sent),
              static_cast<unsigned long long>(result.received), static_cast<unsigned long long>(result.foreign));
  return 0;
}
