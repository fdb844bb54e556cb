#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "net/address.hpp"
#include "rtp/bridge_plan.hpp"
#include "rtp/commands.hpp"
#include "rtp/port_pool.hpp"
#include "rtp/secured.hpp"

namespace sipfarm::rtp {

/// What carries the packets of many ports.
enum class SocketMode : std::uint8_t {
  automatic,  // steered where it can be had
  per_port,   // a socket, and so a descriptor, for each port
  steered,    // a socket for each thread; the kernel steers packets to it
};

struct PlaneConfig {
  net::Address address;    // IP that the ports are bound on; its port is not used
  net::Address advertise;  // IP that SDP shows; empty: `address`
  std::uint16_t first_port = 20'000;
  std::uint16_t last_port = 29'999;
  unsigned threads = 1;
  std::size_t spare_pairs = 64;            // ports bound ahead
  std::size_t max_streams = 16'384;        // per thread
  std::int64_t silence_timeout_ms = 60'000;
  std::int64_t latch_window_ms = 3'000;
  unsigned coalesce_us = 1'000;            // how long a thread lets packets gather after a batch; 0: not at all
  std::uint32_t max_packets_per_s = 5'000; // of one port; bounds floods and relay loops
  unsigned dscp = 46;                      // EF (RFC 3246); 0..63
  SocketMode sockets = SocketMode::automatic;
  bool kernel_relay = true;                // where it can be had
};

/// Sums over all threads since the start.
struct PlaneTotals {
  std::uint64_t packets_relayed = 0;
  std::uint64_t packets_in_kernel = 0; // of those, by the kernel; counted a few times a second
  std::uint64_t bytes_relayed = 0;
  std::uint64_t dropped = 0;          // strangers, malformed, flooded, unsent
  std::uint64_t unauthentic = 0;      // of those: no SRTP by the key of their side
  std::uint64_t replayed = 0;         // .. and SRTP that came twice, or too late
  std::uint64_t late = 0;             // steered: came for ports at rest; known when the port is next used
  std::uint64_t queue_full = 0;       // steered: lost since a thread did not read in time
  std::uint64_t wakeups = 0;
  std::uint64_t events_lost = 0;      // latched or silence events that found the ring full
  std::uint64_t commands_refused = 0; // for unknown streams, or above the bound
  std::size_t streams = 0;            // open now
  std::size_t ports_bound = 0;
  std::size_t ports_foreign = 0;      // found in use by another process when last tried
  int bind_errno = 0;                 // the last reason, other than that, why a port could not be bound (EMFILE)
};

/// The media plane as the control thread sees it: binds ports ahead, hands commands to the worker threads,
/// collects their events. All methods are for the control thread.
class Plane {
 public:
  /// Throws std::system_error if the address is not of this machine, there are no threads or descriptors to be
  /// had, or steering was asked for and cannot be had; std::invalid_argument if the port range holds no pair.
  Plane(const PlaneConfig& config, PortPool& pool);
  ~Plane();
  Plane(const Plane&) = delete;
  Plane& operator=(const Plane&) = delete;

  /// Binds ports until the pool has its spare ones; bounded work per call, nearly none when there is enough.
  /// Returns how many pairs were bound.
  std::size_t replenish(std::int64_t now_ms);

  void apply(std::span<const Command> commands);
  /// The sides of an open relay have different codecs from now on; without a plan they have not. Why it cannot be done, in words; nullptr: it is
  /// done, or the stream has ended by now.
  const char* set_bridge(std::uint64_t stream, const BridgePlan* plan);

  /// Readable while there are events to poll.
  /// Protects what a side of a stream hears and sends from now on, or no more of it (`plain`). False, and nothing was changed,
  /// for a stream that is not there, or whose thread has not taken the last sixteen.
  bool set_security(std::uint64_t stream, Side side, FaceSecurity security);
  /// What was set last; nothing before.
  const FaceSecurity* security(std::uint64_t stream, Side side) const;

  int event_fd() const noexcept;
  /// Appends the events that are there.
  void poll_events(std::vector<Event>& out);

  std::optional<std::array<SideCounters, 2>> stats(std::uint64_t stream) const;
  PlaneTotals totals() const;
  const net::Address& advertise() const noexcept;
  /// Never `automatic`.
  SocketMode socket_mode() const noexcept;
  /// Why ports have sockets of their own; empty where they have none, or where that was asked for.
  const std::string& socket_mode_reason() const noexcept;
  /// At which interfaces the kernel relays; empty: at none.
  std::string kernel_relay() const;
  /// Why not; empty where it does, or where it was not wanted.
  const std::string& kernel_relay_reason() const noexcept;

  /// Ends the threads and closes the sockets; what is open is cut off. Called by the destructor.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sipfarm::rtp
