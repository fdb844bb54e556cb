#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/hop.hpp"
#include "sip/core.hpp"
#include "sip/route.hpp"
#include "sip/transaction_layer.hpp"

namespace sipfarm::sip {

/// How a request gets to its next hop, and what is left to try where that fails: UDP after TCP (RFC 3261 §18.1.1), and the other addresses
/// of the name (RFC 3263 §4.3).
struct Way {
  enum class Size : std::uint8_t { untold, over_tcp, tcp_failed };  // of a request too large for UDP

  Size size = Size::untold;
  bool given = false;  // a flow: no other transport would do
  net::Hop hop;
  std::string name;  // that was looked up; "": the address was known
  std::vector<net::Hop> others;  // the last one is next

  /// What a name was found to be, best first; there is one.
  void lead_to(std::string looked_up, std::span<const net::Hop> found) {
    constexpr std::size_t addresses_max = 8;  // of one name
    const auto rest = found.subspan(1, std::min(found.size(), addresses_max) - 1);
    others.assign(rest.rbegin(), rest.rend());
    name = std::move(looked_up);
    hop = found.front();
  }
  bool has_other() const noexcept { return size == Size::over_tcp || !others.empty(); }
  /// Takes the next one; false where there is none.
  bool turn() {
    if (size == Size::over_tcp) {
      size = Size::tcp_failed;
    } else if (!others.empty()) {
      hop = others.back();
      others.pop_back();
      size = Size::untold;
    } else {
      return false;
    }
    return true;
  }
};

/// Has the request of a client transaction composed for its way: `compose` is given the hop and the text to fill. False where it cannot be.
template <typename Compose>
bool compose_for(Way& way, const EngineConfig& config, ClientTransaction& transaction, Compose compose) {
  way.hop = sending_hop(config, way.hop);
  transaction.hop = way.hop;
  if (!compose(transaction.hop, transaction.request)) return false;
  if (!way.given && way.size == Way::Size::untold && way.hop.transport == net::Transport::udp && way.hop.flow == 0 &&
      transaction.request.size() > config.large_request_bytes) {
    if (const auto local = local_for(config, net::Transport::tcp, way.hop.remote.v6)) {
      way.size = Way::Size::over_tcp;
      transaction.hop.transport = net::Transport::tcp;
      transaction.hop.local = *local;
      if (!compose(transaction.hop, transaction.request)) return false;
    }
  }
  if (transaction.hop.transport == net::Transport::tls) transaction.server = way.name;
  return true;
}

}  // namespace sipfarm::sip
