#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "net/address.hpp"

namespace sipfarm::sip {

inline constexpr std::size_t media_lines_max = 16;
inline constexpr std::size_t sdp_bytes_max = 65'535;

/// What a connection field names (RFC 8866 §5.7).
enum class ConnectionKind : std::uint8_t {
  none,     // no c= line
  unicast,  // an address or a host name: rewritten
  held,     // 0.0.0.0, :: or a name under .invalid (RFC 3264 §8.4, RFC 6157): stays
  foreign   // multicast, or not of network type IN: stays
};

struct Connection {
  ConnectionKind kind = ConnectionKind::none;
  std::string_view host;              // without TTL and count
  std::optional<net::Address> ip;     // port 0; nothing for a host name
};

/// What carries a media description (RFC 8866 §5.14).
enum class Carrier : std::uint8_t {
  rtp,   // RTP/… and UDP/TLS/RTP/…: RTP with RTCP beside it
  udp,   // udptl, udp and other UDP/…: datagrams of another kind, no RTCP
  other  // TCP/… and the rest: none of the relay's business
};

enum class Direction : std::uint8_t { sendrecv, sendonly, recvonly, inactive };

/// One media description; all texts are views into the body.
struct MediaLine {
  std::string_view media;        // "audio"
  std::string_view proto;        // "RTP/AVP"
  std::string_view formats;      // "0 8 101"
  std::uint16_t port = 0;
  std::uint16_t port_count = 1;  // of the port/count form
  Carrier carrier = Carrier::other;
  Direction direction = Direction::sendrecv;
  Connection connection;         // its own, or the session's
  bool own_connection = false;
  bool rtcp_mux = false;         // offered or accepted (RFC 5761): whether it holds is known from offer and answer together
  bool rtcp_attribute = false;   // a=rtcp is there (RFC 3605)
  bool ice = false;              // a=candidate is there (RFC 8839)
  bool bundle_only = false;      // port 0 that is no rejection (RFC 9143 §6)

  /// Where this side wants its packets; nothing when rejected, held, foreign or named by a host name.
  std::optional<net::Address> rtp;
  /// Where it wants RTCP when rtcp-mux does not hold: a=rtcp, or the port after RTP's. Nothing where `rtp` is nothing, or there is
  /// no RTCP.
  std::optional<net::Address> rtcp;

  bool rejected() const noexcept { return port == 0; }
  bool held() const noexcept { return connection.kind == ConnectionKind::held; }
  /// Whether a relay can stand in this line: datagrams, a port, and an address that is not multicast.
  bool relayable() const noexcept {
    return !rejected() && carrier != Carrier::other && connection.kind != ConnectionKind::foreign;
  }
};

/// An index over a session description (RFC 8866) as far as a relay needs it; the body must outlive it.
class SdpView {
 public:
  /// Nothing when the body does not begin with v=, has an m= or c= line that cannot be read, or exceeds a limit.
  static std::optional<SdpView> parse(std::string_view body) noexcept;

  std::string_view body() const noexcept { return body_; }
  const Connection& connection() const noexcept { return connection_; }  // the session's
  std::span<const MediaLine> media() const noexcept { return {media_.data(), media_count_}; }

 private:
  std::string_view body_;
  Connection connection_;
  std::array<MediaLine, media_lines_max> media_{};
  std::size_t media_count_ = 0;
};

/// What the relay holds for the m-line of the same place: RTP at `rtp_port`, RTCP at the port after it.
struct RelayLine {
  std::uint16_t rtp_port = 0;
  bool relayed = false;
};

/// Appends the body to `out` (another string than the body's) with the relay in the place of every line that is relayable and
/// relayed: c= addresses, the m= port and a=rtcp. All else, o= too, leaves as it came. False, and nothing appended, when `lines`
/// are not as many as the m-lines, a relayed one has no port pair, or `relay` is no unicast address. `relay`'s port is not looked at.
///
/// A session-level c= that a line outside the relay depends on stays, and the relayed lines get a c= of their own. A held address
/// stays held; its port is the relay's all the same. An a=rtcp that names the RTP port goes on doing so (RFC 5761 §5.1).
/// Deviation: of port/count only one port is left, because the relay holds one pair for each line.
/// With ICE (RFC 8839 §4.2.5) the peer sees that the default destination is no candidate, says a=ice-mismatch and goes on without.
bool put_relay_in(const SdpView& sdp, std::span<const RelayLine> lines, const net::Address& relay, std::string& out);

}  // namespace sipfarm::sip
