#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <span>

#include "rtp/stream.hpp"

namespace sipfarm::rtp {

inline constexpr std::size_t k_batch = 64;
inline constexpr std::size_t k_datagram_bytes = 65'536;
inline constexpr std::size_t k_headroom = 8;  // before the bytes of an arrival or departure: room for a UDP header
inline constexpr std::size_t k_tailroom = srtp::k_overhead_bytes_max;  // behind them

/// A datagram that came for a channel. Its bytes may be changed, and live until the next receive().
struct Arrival {
  Channel* channel = nullptr;
  std::span<std::uint8_t> bytes;
  const sockaddr_storage* source = nullptr;
  bool vouched = false;  // it comes from where the channel is locked to
};

/// A datagram that is to leave by a channel that has somewhere to send.
struct Departure {
  Channel* channel = nullptr;
  std::span<std::uint8_t> bytes;
  bool sent = false;
};

/// Readable from any thread.
struct SocketTotals {
  Counter late;           // came for a port at rest
  Counter kept_off;       // dropped by the kernel for us: strangers of locked ports, and what is above a port's rate
  Counter queue_full;     // lost since we did not read in time
};

/// The ports of one thread, by whatever sockets. Two kinds: a socket for each port (PortSockets), or one for all (SteeredSockets).
/// Nothing here allocates or throws once it is made, and only `wait` blocks.
class MediaSockets {
 public:
  virtual ~MediaSockets() = default;

  /// `fd` makes `wait` return, besides packets. Level-triggered; the caller reads it empty.
  virtual void watch(int fd) noexcept = 0;

  /// From now on packets come from the channel's port. False if the kernel will not have it.
  virtual bool open(Channel& channel) noexcept = 0;
  /// No more arrivals for the channel; what is queued for it is thrown away, at the latest when `drains` has gone up by two.
  virtual void close(Channel& channel) noexcept = 0;
  /// Sends go to the channel's latched remote; `aim` follows each change of it.
  virtual void aim(Channel& channel) noexcept = 0;
  /// From now on the kernel lets nobody in but the channel's remote. Where it cannot, the channel stays unlocked.
  virtual void lock(Channel& channel) noexcept = 0;
  virtual void unlock(Channel& channel) noexcept = 0;
  /// The channel is above its rate: nothing need arrive for it until its allowance is new.
  virtual void shed(Channel& channel, std::int64_t now_ms) noexcept = 0;

  /// Waits for packets. True if the watched fd is readable.
  virtual bool wait(int timeout_ms) noexcept = 0;
  /// The next batch of what has come; where many ports have packets, each has its turn.
  virtual std::span<Arrival> receive(std::int64_t now_ms) noexcept = 0;
  /// There may be more without another `wait`.
  bool more() const noexcept { return more_; }
  /// In the order given. At most k_batch.
  virtual void send(std::span<Departure> departures) noexcept = 0;

  /// Collects what the kernel has counted for us; to be called a few times a second.
  virtual void sweep() noexcept {}

  std::uint64_t drains() const noexcept { return drains_; }
  const SocketTotals& totals() const noexcept { return totals_; }

 protected:
  MediaSockets() = default;
  MediaSockets(const MediaSockets&) = delete;
  MediaSockets& operator=(const MediaSockets&) = delete;

  bool more_ = false;
  std::uint64_t drains_ = 0;
  SocketTotals totals_;
};

/// The counters of the channel's side.
inline LiveCounters& counters_of(const Channel& channel) noexcept { return channel.stream->face(channel.side).counters; }

inline void set_destination(Channel& channel) noexcept {
  sockaddr_storage storage;
  const net::Address& remote = channel.latch.remote();
  channel.to_bytes = remote.empty() ? 0 : remote.to_sockaddr(storage);
  std::memcpy(&channel.to, &storage, channel.to_bytes);
}

/// With thousands of streams each packet meets a cold cache: fetch early what it will need.
inline void prefetch(const Channel& channel) noexcept {
  const Stream& stream = *channel.stream;
  const Face& out = stream.faces[index(opposite(channel.side))];
  __builtin_prefetch(&stream);
  __builtin_prefetch(&stream.faces[index(channel.side)], 1);
  __builtin_prefetch(&out, 1);
  __builtin_prefetch(&out.rtp);
}

}  // namespace sipfarm::rtp
