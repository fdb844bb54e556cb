#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstdint>

#include "bpf/flow_table.hpp"
#include "rtp/commands.hpp"
#include "rtp/latch.hpp"
#include "rtp/secured.hpp"

namespace sipfarm::rtp {

/// A number that one thread counts and others may read.
class Counter {
 public:
  void add(std::uint64_t n) noexcept { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
  std::uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// Bounds the packets of one port by fixed windows of about a second.
class Allowance {
 public:
  static constexpr std::uint32_t window(std::int64_t now_ms) noexcept { return static_cast<std::uint32_t>(now_ms >> 10); }

  bool take(std::int64_t now_ms, std::uint32_t limit) noexcept {
    if (const std::uint32_t current = window(now_ms); current != window_) {
      window_ = current;
      used_ = 0;
    }
    return used_ < limit && ++used_ != 0;
  }

 private:
  std::uint32_t window_ = ~0U;
  std::uint32_t used_ = 0;
};

class Bridge;
struct Stream;
struct Face;

/// An address as the kernel takes it.
union SocketAddress {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

/// One port of a stream: RTP or RTCP of one face. Owned by a worker thread while open. What each packet needs stands in the
/// first cache line.
struct alignas(64) Channel {
  Stream* stream = nullptr;
  int fd = -1;             // its socket, where each port has one
  std::uint16_t port = 0;  // 0: none, an echo has one face
  Side side = Side::a;
  bool rtcp = false;
  bool locked = false;     // packets are taken from `to` only, and the kernel has been told
  bool settled = false;    // .. and what had arrived before is off the queue
  bool shed = false;       // above its rate: the kernel drops what comes until the allowance is new
  std::uint32_t way_sum = 0;  // of the checksum: what is the same in all that leaves for `to`
  socklen_t to_bytes = 0;     // 0: nowhere to send
  Allowance allowance;
  SocketAddress to{};
  SourceLatch latch;
  Allowance elsewhere;  // of a protected face: what comes from where its latch does not point

  bool present() const noexcept { return port != 0; }
};

/// The live counters of a side, the frequent ones first.
struct LiveCounters {
  Counter packets_in, bytes_in, last_in_ms, packets_out, bytes_out, strangers, malformed, flooded, unsent, unauthentic, replayed;

  SideCounters read() const noexcept {
    return {packets_in.get(), bytes_in.get(),  packets_out.get(), bytes_out.get(),
            strangers.get(),  malformed.get(), flooded.get(),     unsent.get(),    unauthentic.get(), replayed.get(),
            static_cast<std::int64_t>(last_in_ms.get())};
  }
};

/// What the kernel does of a side's incoming RTP.
struct Relayed {
  bpf::FlowTable::Handle flow = bpf::FlowTable::none;
  std::int64_t retry_ms = 0;       // not to be tried before then
  bpf::FlowCounters collected;     // of this flow, counted already
};

/// One side of a stream.
struct alignas(64) Face {
  bool mux = false;
  SecuritySlot security;
  LiveCounters counters;
  Relayed relayed;
  Channel rtp;
  Channel rtcp;
};

/// The state of one relayed (or echoed) m-line. Made and freed by the control thread; in between the worker
/// that it was given to owns all but the counters' reading.
struct Stream {
  std::uint64_t id = 0;
  bool echo = false;
  bool opaque = false;
  bool held = false;
  std::uint32_t echo_ssrc = 0;
  Bridge* bridge = nullptr;  // none: what comes from one side goes to the other as it is
  std::atomic<std::uint32_t> bridges_taken{0};  // by the worker; it uses none but the last any more
  std::int64_t silent_since_ms = 0;  // packets before this do not count
  std::size_t place = 0;             // in the relay's list
  Stream* next_closed = nullptr;     // in the relay's list of those that are ending
  std::uint64_t drained_at = 0;      // closed: none of its packets is in a queue from here on (MediaSockets::drains)
  std::array<Face, 2> faces;

  Face& face(Side side) noexcept { return faces[index(side)]; }
  bool is_protected() const noexcept { return faces[0].security.current() != nullptr || faces[1].security.current() != nullptr; }
  std::array<SideCounters, 2> read_counters() const noexcept {
    return {faces[0].counters.read(), faces[1].counters.read()};
  }
};

}  // namespace sipfarm::rtp
