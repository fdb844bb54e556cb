#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "rtp/bridge.hpp"
#include "rtp/commands.hpp"
#include "rtp/demux.hpp"
#include "rtp/kernel_path.hpp"
#include "rtp/media_sockets.hpp"
#include "rtp/outgoing.hpp"
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
  Counter packets, packets_in_kernel, bytes, dropped, unauthentic, replayed, events_lost;
};

/// The streams of one thread and the way of their packets. Never blocks; allocates only when built; time is an argument. What happened goes into the event ring.
class Relay {
 public:
  /// The sockets are waited on by the caller. Without `kernel` all packets are carried here.
  Relay(const RelayConfig& config, MediaSockets& sockets, SpscRing<Event>& events, KernelPath* kernel = nullptr);
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /// The ports stand in the stream's channels already. At most max_streams may be open or closing.
  void open(Stream& stream, const Command& command, std::int64_t now_ms) noexcept;
  void set_remote(Stream& stream, Side side, const Remote& remote, std::int64_t now_ms) noexcept;
  void set_held(Stream& stream, bool held, std::int64_t now_ms) noexcept;
  /// The control thread keeps the bridge until the stream has taken another.
  void set_bridge(Stream& stream, Bridge* bridge, std::int64_t now_ms) noexcept;
  /// Protects a face from now on, or not any more. A protected port follows its far end by valid tags, so the kernel is not
  /// told to keep others out.
  void set_security(Stream& stream, Side side, FaceSecurity& security, std::int64_t now_ms) noexcept;
  /// The ports rest. The stream is forgotten once `flush` has told that it is closed: none of its packets is queued any more,
  /// and the event has found room. True while some wait for the former.
  void close(Stream& stream, std::int64_t now_ms) noexcept;
  bool flush() noexcept;

  /// Carries the packets that have come, batch by batch, but not for ever. Returns how many were taken.
  std::size_t carry(std::int64_t now_ms) noexcept;
  /// Tells the streams that have fallen silent.
  void sweep(std::int64_t now_ms) noexcept;

  /// Were events pushed since the last call?
  bool take_told() noexcept { return std::exchange(told_, false); }

  const RelayTotals& totals() const noexcept { return totals_; }

 private:
  static constexpr int k_batches = 16;  // carried in a row
  static constexpr std::uint32_t k_elsewhere_per_s = 100;  // tags looked at for a locked port, of packets from elsewhere

  void reopen(Channel& channel, const net::Address& signalled, const net::Address& signalling, std::int64_t now_ms) noexcept;
  void attach(Channel& channel, Stream& stream, Side side, bool rtcp) noexcept;
  void detach(Channel& channel) noexcept;
  void pass(Arrival& arrival, std::int64_t now_ms) noexcept;
  bool within_rate(Channel& in, const Arrival& arrival, std::int64_t now_ms) noexcept;
  bool open_protected(const FaceSecurity& security, Packet kind, Arrival& arrival, std::int64_t now_ms) noexcept;
  bool admit(Channel& in, const sockaddr_storage& from, std::int64_t now_ms) noexcept;
  class Sink;

  void expire(Stream& stream, std::int64_t now_ms) noexcept;
  void convert(Channel& in, Packet kind, std::span<const std::uint8_t> bytes, std::int64_t now_ms) noexcept;
  bool follow(Channel& in, SourceLatch::Verdict verdict, const net::Address& before) noexcept;
  Channel* route(Channel& in, Packet kind, std::span<std::uint8_t> bytes) noexcept;
  void depart(Channel& out, Packet kind, std::span<std::uint8_t> bytes) noexcept;
  void send() noexcept;
  void recall(Stream& stream, std::int64_t now_ms) noexcept;
  void take_note(const KernelPath::Done& done) noexcept;
  bool tell(const Event& event) noexcept;
  void refuse(LiveCounters& counters, srtp::Result why) noexcept;
  void drop(Counter& reason) noexcept;

  RelayConfig config_;
  MediaSockets& sockets_;
  SpscRing<Event>& events_;
  KernelPath* kernel_;
  bool told_ = false;
  std::array<Departure, k_batch> departures_;
  std::size_t departing_ = 0;
  std::int64_t carried_ms_ = 0;  // the time of what is being carried
  Outgoing outgoing_;
  std::vector<Stream*> streams_;         // open; a stream knows its place
  Stream* closed_ = nullptr;             // in the order closed
  Stream** closed_end_ = &closed_;
  RelayTotals totals_;
};

}  // namespace sipfarm::rtp
