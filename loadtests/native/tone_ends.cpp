// Both ends of many calls: each sends its own tone code as RTP and listens for the other's.
//
//   tone_ends CODEC_A CODEC_B LISTEN_MS
// Reads from its input, one line each:
//   call NUMBER IP_A PORT_A IP_B PORT_B      binds both ends of a call; before the first start
//   break NUMBER SIDE AT_MS                  plants a fault: this end stops sending
//   confuse NUMBER SIDE AT_MS CODE           plants a fault: it sends another code
//   start NUMBER IP_A PORT_A IP_B PORT_B     where a and b send to: the call runs from now on
// Prints "bound" at the first empty line. At the end of the input it waits until all calls that were started have been
// listened to, and prints one line of JSON per end: what it heard of the other, and how far this program was behind its time table. Side a of call N says the code 2 N,
// side b 2 N + 1. Whoever relays the call turns the codec of its side a into that of its side b, if they differ. An end goes on sending for a second after it has stopped listening.
//
// The ends are spread over 80 slots of 250 us, as those of rtp_load are; each is read when its next packet is due.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <sstream>
#include <string>
#include <unordered_map>

#include "hearing.hpp"
#include "net/address.hpp"

using namespace sipfarm::loadtests;
using sipfarm::net::Address;

namespace {

constexpr std::int64_t k_second_ns = 1'000'000'000;
constexpr std::int64_t k_ms_ns = 1'000'000;
constexpr std::int64_t k_frame_ns = static_cast<std::int64_t>(k_frame_ms) * k_ms_ns;
constexpr std::size_t k_slots = 80;
constexpr std::int64_t k_slot_ns = k_frame_ns / static_cast<std::int64_t>(k_slots);
constexpr std::int64_t k_talk_on_ms = 1'000;
constexpr std::size_t k_batch = 8;
constexpr std::size_t k_datagram_bytes = 1'500;
constexpr std::size_t k_header_bytes = 12;

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * k_second_ns + now.tv_nsec;
}

void sleep_until_ns(std::int64_t when) {
  const timespec until{when / k_second_ns, when % k_second_ns};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "tone_ends: %s\n", what.c_str());
  std::exit(1);
}

/// What arrives in one go.
struct Batch {
  std::array<std::array<std::uint8_t, k_datagram_bytes>, k_batch> bytes;
  std::array<iovec, k_batch> vectors;
  std::array<mmsghdr, k_batch> messages;
};

struct Fault {
  std::int64_t at_ms = INT64_MAX;
  std::optional<std::uint16_t> instead;  // the code that is said; nothing: silence
};

/// What all ends of one side share.
struct Tongue {
  explicit Tongue(const AudioCodec& codec) : voice{codec}, spectrum{codec.format.sample_rate_hz} {}
  Voice voice;
  Spectrum spectrum;
};

/// One end of a call.
class End {
 public:
  End(const Address& local, std::uint16_t code, const Tongue& tongue)
      : fd_{::socket(local.v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)},
        code_{code}, voice_{&tongue.voice}, own_{voice_->say(code)}, hearing_{tongue.spectrum, Ear{voice_->codec()}} {
    sockaddr_storage storage{};
    const socklen_t size = local.to_sockaddr(storage);
    if (fd_ < 0 || ::bind(fd_, reinterpret_cast<sockaddr*>(&storage), size) != 0) {
      fail("cannot bind " + local.text() + ": " + std::strerror(errno));
    }
    packet_[0] = 0x80;
    packet_[1] = voice_->codec().payload_type;
    write32(8, 0x7000'0000U + code);
  }

  void plant(const Fault& fault) {
    fault_ = fault;
    if (fault.instead) wrong_ = voice_->say(*fault.instead);
  }

  void start(const Address& remote) { remote_bytes_ = remote.to_sockaddr(remote_); }

  void listen(Batch& batch, std::int64_t at_ms, bool heard) {
    for (;;) {
      for (std::size_t i = 0; i < k_batch; ++i) {
        batch.vectors[i] = {batch.bytes[i].data(), k_datagram_bytes};
        batch.messages[i] = {};
        batch.messages[i].msg_hdr.msg_iov = &batch.vectors[i];
        batch.messages[i].msg_hdr.msg_iovlen = 1;
      }
      const int count = ::recvmmsg(fd_, batch.messages.data(), k_batch, 0, nullptr);
      if (count < 0 && errno == ECONNREFUSED) continue;
      if (count <= 0) return;
      for (std::size_t i = 0; heard && i < static_cast<std::size_t>(count); ++i) {
        hearing_.receive({batch.bytes[i].data(), batch.messages[i].msg_len}, at_ms);
      }
      if (static_cast<std::size_t>(count) < k_batch) return;
    }
  }

  void talk(std::int64_t at_ms) {
    const std::size_t frame = frame_++;
    const bool broken = at_ms >= fault_.at_ms;
    if (broken && !fault_.instead) return;
    const std::vector<std::uint8_t>& payload = (broken ? wrong_ : own_)[frame % k_word_frames];
    packet_[2] = static_cast<std::uint8_t>(sequence_ >> 8U);
    packet_[3] = static_cast<std::uint8_t>(sequence_++);
    write32(4, static_cast<std::uint32_t>(frame) * voice_->codec().frame_ticks());
    std::memcpy(packet_.data() + k_header_bytes, payload.data(), payload.size());
    const std::size_t bytes = k_header_bytes + payload.size();
    const bool sent = ::sendto(fd_, packet_.data(), bytes, 0, reinterpret_cast<const sockaddr*>(&remote_), remote_bytes_) ==
                      static_cast<ssize_t>(bytes);
    ++(sent ? sent_ : unsent_);
  }

  void tell(std::uint32_t call, char side, std::int64_t behind_ms) const {
    const Hearing::Counters& heard = hearing_.counters();
    std::printf("{\"call\": %u, \"side\": \"%c\", \"said\": %u, \"sent\": %llu, \"unsent\": %llu", call, side, unsigned{code_},
                static_cast<unsigned long long>(sent_), static_cast<unsigned long long>(unsent_));
    const std::pair<const char*, std::uint64_t> counters[] = {
        {"packets", heard.packets},           {"bytes", heard.bytes},
        {"lost", heard.lost},                 {"out_of_order", heard.out_of_order},
        {"malformed", heard.malformed},       {"other", heard.other},
        {"sources", heard.sources},           {"sounding_frames", heard.sounding_frames},
        {"silent_frames", heard.silent_frames}, {"gap_count", heard.gaps},
        {"other_words", hearing_.tallies().more()}};
    for (const auto& [name, value] : counters) std::printf(", \"%s\": %llu", name, static_cast<unsigned long long>(value));
    std::printf(", \"behind_ms\": %lld", static_cast<long long>(behind_ms));
    std::printf(", \"first_ms\": %lld, \"last_ms\": %lld, \"late_ms\": %lld, \"level_dbfs\": %.1f, \"gaps\": [",
                static_cast<long long>(heard.first_ms), static_cast<long long>(heard.last_ms), static_cast<long long>(heard.late_ms),
                dbfs(heard.power_sum, heard.sounding_frames));
    const char* comma = "";
    for (const Gap& gap : hearing_.gaps()) {
      std::printf("%s[%lld, %lld]", comma, static_cast<long long>(gap.start_ms), static_cast<long long>(gap.length_ms));
      comma = ", ";
    }
    std::printf("], \"codes\": [");
    comma = "";
    for (const CodeTally& code : hearing_.tallies().codes()) {
      std::printf("%s{\"number\": %u, \"words\": %u, \"first_ms\": %lld, \"last_ms\": %lld, \"level_dbfs\": %.1f}", comma,
                  unsigned{code.number}, code.words, static_cast<long long>(code.first_ms), static_cast<long long>(code.last_ms),
                  dbfs(code.power_sum, code.words));
      comma = ", ";
    }
    std::puts("]}");
  }

 private:
  static double dbfs(double power_sum, std::uint64_t count) {
    return count == 0 ? -120.0 : std::max(-120.0, 10.0 * std::log10(power_sum / static_cast<double>(count) + 1e-12));
  }

  void write32(std::size_t at, std::uint32_t value) {
    for (std::size_t i = 0; i < 4; ++i) packet_[at + i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
  }

  int fd_;
  std::uint16_t code_;
  const Voice* voice_;
  Speech own_;
  Speech wrong_;
  Hearing hearing_;
  Fault fault_;
  sockaddr_storage remote_{};
  socklen_t remote_bytes_ = 0;
  std::array<std::uint8_t, k_datagram_bytes> packet_{};
  std::size_t frame_ = 0;
  std::uint16_t sequence_ = 0;
  std::uint64_t sent_ = 0;
  std::uint64_t unsent_ = 0;
};

struct Call {
  std::uint32_t number;
  End a;
  End b;
  std::int64_t started_ns = -1;
};

/// What was asked for on standard input.
class Ends {
 public:
  Ends(const AudioCodec& a, const AudioCodec& b, std::int64_t listen_ms) : a_{a}, b_{b}, listen_ms_{listen_ms} {}

  void take(const std::string& line, std::int64_t now) {
    std::istringstream words{line};
    std::string verb;
    std::uint32_t number = 0;
    if (line.empty()) {
      std::puts("bound");
      std::fflush(stdout);
      return;
    }
    words >> verb >> number;
    if (verb == "call") {
      const Address a = read_address(words);
      const Address b = read_address(words);
      const auto code = static_cast<std::uint16_t>(2 * number);
      if (number > 0x7fff || by_number_.contains(number)) fail("a call number is 0 to 32767 and its own: " + line);
      calls_.push_back(std::make_unique<Call>(Call{number, End{a, code, a_}, End{b, static_cast<std::uint16_t>(code + 1), b_}}));
      by_number_[number] = calls_.back().get();
      return;
    }
    const auto found = by_number_.find(number);
    if (words.fail() || found == by_number_.end()) fail("not understood: " + line);
    Call& call = *found->second;
    if (verb == "start") {
      call.a.start(read_address(words));
      call.b.start(read_address(words));
      call.started_ns = now;
    } else {
      plant(call, verb, words, line);
    }
  }

  /// Serves every end once per frame until the input is at its end and all calls are over.
  void run() {
    ::fcntl(STDIN_FILENO, F_SETFL, ::fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    const std::int64_t begin = now_ns();
    for (std::int64_t slot = 0;; ++slot) {
      sleep_until_ns(begin + slot * k_slot_ns);
      const std::size_t turn = static_cast<std::size_t>(slot) % k_slots;
      if (turn == 0) read_input();
      const std::int64_t now = now_ns();
      behind_ns_ = std::max(behind_ns_, now - begin - slot * k_slot_ns);
      if (turn == 0 && !open_ && !any_running(now)) return;
      for (std::size_t i = turn; i < 2 * calls_.size(); i += k_slots) {
        Call& call = *calls_[i / 2];
        serve(call, i % 2 == 0 ? call.a : call.b, now);
      }
    }
  }

  void tell() const {
    for (const auto& call : calls_) {
      if (call->started_ns < 0) continue;
      call->a.tell(call->number, 'a', behind_ns_ / k_ms_ns);
      call->b.tell(call->number, 'b', behind_ns_ / k_ms_ns);
    }
  }

 private:
  static Address read_address(std::istringstream& words) {
    std::string host;
    std::uint16_t port = 0;
    words >> host >> port;
    const std::optional<Address> address = Address::parse(host, port);
    if (words.fail() || !address) fail("no address: " + words.str());
    return *address;
  }

  static void plant(Call& call, const std::string& verb, std::istringstream& words, const std::string& line) {
    char side = 0;
    Fault fault;
    words >> side >> fault.at_ms;
    if (verb == "confuse") {
      words >> fault.instead.emplace();
    }
    if (words.fail() || (verb != "break" && verb != "confuse") || (side != 'a' && side != 'b')) fail("not understood: " + line);
    (side == 'a' ? call.a : call.b).plant(fault);
  }

  void read_input() {
    std::array<char, 65'536> bytes;
    while (open_) {
      const ssize_t count = ::read(STDIN_FILENO, bytes.data(), bytes.size());
      if (count < 0 && errno == EAGAIN) return;
      if (count <= 0) open_ = false;
      else input_.append(bytes.data(), static_cast<std::size_t>(count));
      const std::int64_t now = now_ns();
      std::size_t from = 0;
      for (std::size_t end = 0; (end = input_.find('\n', from)) != std::string::npos; from = end + 1) take(input_.substr(from, end - from), now);
      input_.erase(0, from);
    }
  }

  bool is_over(const Call& call, std::int64_t now) const {
    return call.started_ns < 0 || now - call.started_ns > (listen_ms_ + k_talk_on_ms) * k_ms_ns;
  }

  bool any_running(std::int64_t now) const {
    for (const auto& call : calls_) {
      if (!is_over(*call, now)) return true;
    }
    return false;
  }

  void serve(const Call& call, End& end, std::int64_t now) {
    if (is_over(call, now)) return;
    const std::int64_t at_ms = (now - call.started_ns) / k_ms_ns;
    end.listen(*batch_, at_ms, at_ms <= listen_ms_);
    end.talk(at_ms);
  }

  Tongue a_;
  Tongue b_;
  std::int64_t listen_ms_;
  std::unique_ptr<Batch> batch_ = std::make_unique<Batch>();
  std::vector<std::unique_ptr<Call>> calls_;
  std::unordered_map<std::uint32_t, Call*> by_number_;
  std::string input_;
  std::int64_t behind_ns_ = 0;  // of the time table, at its worst
  bool open_ = true;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) fail("usage: tone_ends CODEC_A CODEC_B LISTEN_MS");
  const std::optional<AudioCodec> a = codec_named(argv[1]);
  const std::optional<AudioCodec> b = codec_named(argv[2]);
  if (!a || !b) fail("no such codec in this build");
  Ends ends{*a, *b, std::atoi(argv[3])};
  ends.run();
  ends.tell();
  return 0;
}
