#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "rtp/commands.hpp"
#include "rtp/demux.hpp"
#include "rtp/spsc_ring.hpp"
#include "rtp/stream.hpp"

namespace sipfarm::rtp {

struct RelayConfig {
  std::size_t max_streams = 16'384;
  std::int64_t silence_timeout_ms = 60'000;
  LatchTimes latch;
  std::uint32_t max_packets_per_s = 5'000;  // of one port
};

/// Sums of one relay, readable from any thread.
struct RelayTotals {
  Counter packets, bytes, dropped, wakeups, events_lost;
};

/// The streams of one thread and the way of their packets. Blocks only in `wait`; allocates only when built; time is an
/// argument. What happened goes into the event ring.
class Relay {
 public:
  /// Throws std::system_error if there is no epoll to be had.
  Relay(const RelayConfig& config, SpscRing<Event>& events);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /// `fd` makes `wait` return, besides packets. Level-triggered; the caller reads it empty.
  void watch(int fd) noexcept;

  /// The sockets' fds stand in the stream's channels already. At most max_streams may be open or closing.
  void open(Stream& stream, const Command& command, std::int64_t now_ms) noexcept;
  void set_remote(Stream& stream, Side side, const Remote& remote, std::int64_t now_ms) noexcept;
  void set_held(Stream& stream, bool held, std::int64_t now_ms) noexcept;
  /// Mutes the sockets. The stream is forgotten once `flush` has found room for its closed event.
  void close(Stream& stream) noexcept;
  void flush() noexcept;

  /// Waits for packets. True if the watched fd is readable.
  bool wait(int timeout_ms) noexcept;
  /// Carries the packets that `wait` saw, one of each port, so that none is starved. Returns how many were taken.
  std::size_t carry(std::int64_t now_ms) noexcept;
  /// Tells the streams that have fallen silent.
  void sweep(std::int64_t now_ms) noexcept;

  /// Were events pushed since the last call?
  bool take_told() noexcept { return std::exchange(told_, false); }

  const RelayTotals& totals() const noexcept { return totals_; }

 private:
  struct Datagram {
    std::span<std::uint8_t> bytes;
    net::Address source;  // filled in while the channel is not settled
  };
  enum class Received : std::uint8_t { packet, error, nothing };

  static constexpr std::size_t k_ready = 256;
  static constexpr int k_settle = 64;  // packets at most taken in a row while a queue from before the lock is read

  bool attach(Channel& channel, Stream& stream, Side side, bool rtcp) noexcept;
  void detach(Channel& channel) noexcept;
  void reopen(Channel& channel, const net::Address& signalled, const net::Address& signalling, std::int64_t now_ms) noexcept;
  static void prefetch(const Channel& channel) noexcept;
  void serve(Channel& channel, std::int64_t now_ms) noexcept;
  Received receive(Channel& channel, Datagram& datagram) noexcept;
  void pass(Channel& in, const Datagram& datagram, std::int64_t now_ms) noexcept;
  bool admit(Channel& in, const net::Address& source, std::int64_t now_ms) noexcept;
  void lock(Channel& channel) noexcept;
  Channel* route(Channel& in, Packet kind, std::span<std::uint8_t> bytes) noexcept;
  void send(Channel& out, std::span<const std::uint8_t> bytes) noexcept;
  void aim(Channel& channel) noexcept;
  bool tell(const Event& event) noexcept;
  void drop(Counter& reason) noexcept;

  RelayConfig config_;
  SpscRing<Event>& events_;
  int epoll_;
  std::size_t ready_count_ = 0;
  std::size_t taken_ = 0;
  bool told_ = false;
  std::array<epoll_event, k_ready> ready_{};
  std::vector<Stream*> streams_;  // open; a stream knows its place
  std::vector<Stream*> closed_;   // their events wait for room
  std::vector<std::uint8_t> buffer_;
  RelayTotals totals_;
};

}  // namespace sipfarm::rtp
