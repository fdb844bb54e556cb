#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "bpf/relay_flow.h"
#include "bpf/routes.hpp"
#include "net/address.hpp"

namespace sipfarm::bpf {

/// The RTP of one direction of a call, as the kernel is to relay it.
struct Flow {
  net::Address local;        // our port that it comes to
  net::Address source;       // the only one it may come from
  net::Address new_source;   // our port that it leaves from
  net::Address destination;
  Way way;
  std::array<std::uint64_t, 2> up_types{};  // payload types that somebody here wants to see, a bit each
  std::uint32_t packets_max = 5'000;        // in about a second
  std::uint8_t dscp = 0;
};

/// What the kernel has relayed or dropped of a flow.
struct FlowCounters {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;  // of UDP payload
  std::int64_t last_ms = 0;  // of the monotonic clock; 0: none yet
  std::uint64_t flooded = 0;
  std::uint64_t strangers = 0;
};

/// Flows that one thread puts, moves and removes: the program reads the same memory, so nothing here is a system call. No two
/// tables share a local address and port.
class FlowTable {
 public:
  using Handle = std::uint32_t;
  static constexpr Handle none = 0;

  /// Places `first` to `first + count - 1` of `flows` are this table's.
  FlowTable(std::span<relay_port> ports, std::span<relay_flow> flows, std::uint32_t first, std::uint32_t count);

  /// All of its packets go up as before, until it is `open`ed. None if there is no room, or the local port has a flow.
  Handle put(const Flow& flow, std::int64_t now_ms) noexcept;

  /// To be called after a packet of the flow has been received here *and has left*. True if it was the last one that went up:
  /// from now on the kernel relays, and no packet overtakes another.
  bool open(Handle handle, std::uint32_t ssrc, std::uint16_t sequence) noexcept;
  bool is_open(Handle handle) const noexcept;

  void set_up_types(Handle handle, const std::array<std::uint64_t, 2>& types) noexcept;
  FlowCounters read(Handle handle) const noexcept;

  /// From now on everything goes up. Its place is given to another flow only when no packet can be looking at it any more.
  FlowCounters remove(Handle handle, std::int64_t now_ms) noexcept;

  std::size_t size() const noexcept { return count_ - free_.size(); }

 private:
  struct Free {
    Handle place;
    std::int64_t since_ms;
  };
  /// First in, first out; as large as the table.
  class Queue {
   public:
    explicit Queue(std::uint32_t count) : places_(count) {}
    std::size_t size() const noexcept { return size_; }
    const Free& front() const noexcept { return places_[first_]; }
    void push(const Free& free) noexcept { places_[(first_ + size_++) % places_.size()] = free; }
    void pop() noexcept {
      first_ = (first_ + 1) % places_.size();
      --size_;
    }

   private:
    std::vector<Free> places_;
    std::size_t first_ = 0;
    std::size_t size_ = 0;
  };

  bool publish(const net::Address& local, Handle handle) noexcept;

  std::span<relay_port> ports_;
  std::span<relay_flow> flows_;
  std::uint32_t count_;
  Queue free_;
};

}  // namespace sipfarm::bpf
