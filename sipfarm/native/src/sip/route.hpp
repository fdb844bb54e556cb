#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/hop.hpp"
#include "sip/core.hpp"
#include "sip/message.hpp"
#include "sip/uri.hpp"

// Where a request goes: our own Route entries, flows in them, and the next hop (RFC 3261 §16.4-16.6).

namespace sipfarm::sip {

/// A next hop as far as it can be told without DNS.
struct NextHop {
  bool known = false;  // `hop` is complete
  net::Hop hop;
  std::string_view host;   // else: the name to look up
  std::uint16_t port = 0;  // 0: not given
  bool chosen = true;      // the URI names the transport: another one would not do
};

/// The listening point to send from, by transport and address family; nothing where there is none of that transport.
std::optional<std::uint16_t> local_for(const EngineConfig& config, net::Transport transport, bool v6) noexcept;
/// The hop with a listening point of its transport and address family, where there is one.
net::Hop sending_hop(const EngineConfig& config, const net::Hop& hop) noexcept;
/// Does host and port name a listening point of ours (as bound or as advertised)? Port 0 is the default port.
bool is_ours(const EngineConfig& config, std::string_view host, std::uint16_t port) noexcept;
std::optional<net::Transport> transport_of(const Uri& uri) noexcept;

/// The hop for a URI (RFC 3261 §8.1.2, RFC 3263 as far as literals go); nothing for a scheme or transport that is not served.
/// Deviation: maddr is not followed; it would let a Request-URI steer packets past every policy.
std::optional<NextHop> next_hop_of(const EngineConfig& config, const Uri& uri) noexcept;

/// A flow as text in a URI parameter. Streams name the member that holds them.
void append_flow(std::string& out, const net::Hop& hop, const EngineConfig& config);
std::optional<net::Hop> parse_flow(std::string_view text, std::uint16_t own_member) noexcept;

/// Does the contact differ from where the request came from, so that requests to it must take the same flow back?
bool needs_flow(const Message& request, const net::Hop& source) noexcept;

/// Appends "Record-Route: <sip:MARK@host:port;…;lr>\r\n". `flow` may be empty. The mark is bound to Call-ID, caller's tag and flow.
void append_record_route(std::string& out, const Core& core, std::uint16_t local, std::uint64_t call, const Message& request,
                         std::string_view flow);

/// Which side of a call a request within it comes from.
enum class Party : std::uint8_t { unknown, caller, callee };

/// What the Route header (or a strict router's Request-URI) of a request says of us.
struct OwnRoute {
  int popped = 0;                 // leading Route values that are ours
  bool strict = false;            // the Request-URI was our Record-Route, the target stands last in Route (RFC 3261 §16.4)
  Party from = Party::unknown;
  std::optional<OwnerMark> mark;  // of a Record-Route of ours that belongs to this dialog
  std::optional<net::Hop> flow;   // the far side's, from the last of ours
};
OwnRoute own_route_of(const Core& core, const Message& request) noexcept;

/// How a request goes on by its Route: Request-URI, Route, and the URI that says where to (RFC 3261 §16.4, §16.6 steps 6 and 7).
struct Onward {
  std::string_view request_uri;
  std::string_view next;
  std::string route;         // the whole value, where `rewritten`; else the values that are ours are popped
  bool rewritten = false;
};
std::optional<Onward> onward_of(const Message& request, const OwnRoute& own);
/// The same for a target with a route set of its own: a strict router as the first hop gets its URI as the Request-URI.
std::optional<Onward> onward_of(std::string_view target, std::string_view route);

}  // namespace sipfarm::sip
