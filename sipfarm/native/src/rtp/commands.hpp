#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include "net/address.hpp"

namespace sipfarm::rtp {

/// The two faces of a relayed stream: a looks at the caller, b at the callee.
enum class Side : std::uint8_t { a = 0, b = 1 };

constexpr Side opposite(Side side) noexcept { return side == Side::a ? Side::b : Side::a; }
constexpr std::size_t index(Side side) noexcept { return static_cast<std::size_t>(side); }

/// Where a side's far end takes packets, as its SDP said. An empty address is "not known yet" (before
/// the answer): packets from there are passed on, none are sent there.
struct Remote {
  net::Address rtp;
  net::Address rtcp;        // a=rtcp (RFC 3605); empty: the RTP address, port + 1
  net::Address signalling;  // where the SIP message came from: preferred when latching behind a NAT; may be empty
  bool rtcp_mux = false;    // RFC 5761, negotiated on this side
};

/// What the control thread asks of the plane. A stream is one m-line of one call branch: two sides, each
/// with a port pair of the pool (RTP even, RTCP + 1).
struct Command {
  enum class Kind : std::uint8_t { open_relay, open_echo, set_remote, set_held, set_bridge, set_security, close };

  Kind kind = Kind::close;
  Side side = Side::a;  // set_remote, set_security
  bool held = false;    // set_held: a held stream is not reported as silent
  bool opaque = false;  // open_relay: the m-line is not RTP (T.38, unknown): every datagram is passed on
  std::uint64_t stream = 0;
  std::array<std::uint16_t, 2> ports{};  // by side; an echo stream has side a only
  std::array<Remote, 2> remotes{};       // by side; set_remote reads remotes[index(side)]

  static Command open_relay(std::uint64_t stream, std::uint16_t port_a, std::uint16_t port_b,
                            const Remote& remote_a = {}, const Remote& remote_b = {}) noexcept {
    Command command;
    command.kind = Kind::open_relay;
    command.stream = stream;
    command.ports = {port_a, port_b};
    command.remotes = {remote_a, remote_b};
    return command;
  }
  /// RTP goes back to its sender, with our SSRC; RTCP is not reflected.
  static Command open_echo(std::uint64_t stream, std::uint16_t port, const Remote& remote = {}) noexcept {
    Command command;
    command.kind = Kind::open_echo;
    command.stream = stream;
    command.ports = {port, 0};
    command.remotes = {remote, Remote{}};
    return command;
  }
  /// A (new) SDP of that side: opens its latch again.
  static Command set_remote(std::uint64_t stream, Side side, const Remote& remote) noexcept {
    Command command;
    command.kind = Kind::set_remote;
    command.stream = stream;
    command.side = side;
    command.remotes[index(side)] = remote;
    return command;
  }
  static Command set_held(std::uint64_t stream, bool held) noexcept {
    Command command;
    command.kind = Kind::set_held;
    command.stream = stream;
    command.held = held;
    return command;
  }
  /// The worker finds the sessions in its order.
  static Command set_security(std::uint64_t stream, Side side) noexcept {
    Command command;
    command.kind = Kind::set_security;
    command.stream = stream;
    command.side = side;
    return command;
  }
  /// The ports may be given back to the pool at once; the plane refuses to open one that is still closing.
  static Command close(std::uint64_t stream) noexcept {
    Command command;
    command.kind = Kind::close;
    command.stream = stream;
    return command;
  }
};

/// What one side saw: in = from its far end, out = to its far end. RTCP counts too.
struct SideCounters {
  std::uint64_t packets_in = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t packets_out = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t strangers = 0;   // refused by the latch, or by the kernel for it; uncounted where a port with its own socket is locked
  std::uint64_t malformed = 0;   // neither RTP, RTCP, STUN, DTLS nor ZRTP, or cut short
  std::uint64_t flooded = 0;     // above the packet rate one port may have
  std::uint64_t unsent = 0;      // no address known yet, or the kernel refused; of a protected side also: may not be protected
  std::uint64_t unauthentic = 0; // no SRTP by the key of this side, or none at all
  std::uint64_t replayed = 0;    // SRTP that was seen before, or is older than the window
  std::int64_t last_in_ms = 0;   // when the last accepted packet came; the opening time before the first
};

/// What the plane tells the control thread.
struct Event {
  enum class Kind : std::uint8_t {
    latched,  // packets of `side` come from (and go to) `address`, which is not what was said before
    silence,  // no packet on either side for the silence timeout; told again each time that it has lasted so long
    closed,   // the stream is gone; `counters` are final
    failed,   // the open command could not be carried out (port unknown or busy, stream known, plane full)
  };

  Kind kind = Kind::closed;
  Side side = Side::a;
  bool rtcp = false;  // latched: the RTCP port of the side
  std::uint64_t stream = 0;
  net::Address address;
  std::array<SideCounters, 2> counters{};  // silence and closed
};

static_assert(std::is_trivially_copyable_v<Command>);
static_assert(std::is_trivially_copyable_v<Event>);

}  // namespace sipfarm::rtp
