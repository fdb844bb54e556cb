#pragma once

#include <cstdint>
#include <string_view>

#include "net/address.hpp"

namespace sipfarm::net {

enum class Transport : std::uint8_t { udp, tcp, tls, ws, wss };

constexpr bool is_reliable(Transport transport) noexcept { return transport != Transport::udp; }
constexpr bool is_secure(Transport transport) noexcept { return transport == Transport::tls || transport == Transport::wss; }

/// The transport as it stands in a Via's sent-protocol (RFC 3261 §20.42, RFC 7118 §5).
constexpr std::string_view via_text(Transport transport) noexcept {
  constexpr std::string_view names[] = {"UDP", "TCP", "TLS", "WS", "WSS"};
  return names[static_cast<std::size_t>(transport)];
}

/// The value of a URI's transport parameter (RFC 3261 §19.1.1).
constexpr std::string_view uri_text(Transport transport) noexcept {
  constexpr std::string_view names[] = {"udp", "tcp", "tls", "ws", "wss"};
  return names[static_cast<std::size_t>(transport)];
}

/// Where a message came from, or where one goes: the farm's listening point, the far address, and for streams the connection.
struct Hop {
  Address remote;
  std::uint32_t flow = 0;    // connection of `member`; 0: none, a stream is opened or found by address
  std::uint16_t member = 0;  // who received it or holds the connection; 0: this member
  std::uint16_t local = 0;   // index of the listening point
  Transport transport = Transport::udp;
  std::uint16_t passed_on_by = 0;  // who took it off the wire, and judges its source; 0: this member

  friend bool operator==(const Hop&, const Hop&) = default;
};

}  // namespace sipfarm::net
