#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "rtp/commands.hpp"
#include "rtp/latch.hpp"

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
  bool take(std::int64_t now_ms, std::uint32_t limit) noexcept {
    if (const std::int64_t window = now_ms >> 10; window != window_) {
      window_ = window;
      used_ = 0;
    }
    return used_ < limit && ++used_ != 0;
  }

 private:
  std::int64_t window_ = -1;
  std::uint32_t used_ = 0;
};

struct Stream;
struct Face;

/// One socket of a stream: the RTP or the RTCP port of one face. Owned by a worker thread while open. What each packet
/// needs stands in the first cache line.
struct alignas(64) Channel {
  int fd = -1;
  Side side = Side::a;
  bool rtcp = false;
  bool connected = false;  // the kernel sends to, and takes from, the locked source only
  bool settled = false;    // .. and what had arrived before is off the queue
  socklen_t to_bytes = 0;  // 0: nowhere to send
  Stream* stream = nullptr;
  Allowance allowance;
  sockaddr_storage to{};
  SourceLatch latch;
};

/// The live counters of a side, the frequent ones first.
struct LiveCounters {
  Counter packets_in, bytes_in, last_in_ms, packets_out, bytes_out, strangers, malformed, flooded, unsent;

  SideCounters read() const noexcept {
    return {packets_in.get(), bytes_in.get(),  packets_out.get(), bytes_out.get(),
            strangers.get(),  malformed.get(), flooded.get(),     unsent.get(),
            static_cast<std::int64_t>(last_in_ms.get())};
  }
};

/// One side of a stream.
struct alignas(64) Face {
  bool mux = false;
  LiveCounters counters;
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
  std::int64_t silent_since_ms = 0;  // packets before this do not count
  std::size_t place = 0;             // in the relay's list
  std::array<Face, 2> faces;

  Face& face(Side side) noexcept { return faces[index(side)]; }
  std::array<SideCounters, 2> read_counters() const noexcept {
    return {faces[0].counters.read(), faces[1].counters.read()};
  }
};

}  // namespace sipfarm::rtp
