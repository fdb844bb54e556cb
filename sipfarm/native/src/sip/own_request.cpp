#include "sip/compose.hpp"
#include "sip/forwarder.hpp"

// Requests of the farm's own: a task's, and the BYEs that end a call for both sides. They find their way as those that are forwarded do.

namespace sipfarm::sip {

void OwnRequest::clear() {
  key = 0;
  method = Method::other;
  text.clear();
  call_id.clear();
  next.clear();
  flow.reset();
  way = {};
}

/// Where the far end was heard is a flow only where its own address does not lead there (needs_flow() tells it of a request).
bool Forwarder::send_own(OwnRequest own, std::int64_t now_ms, Output& out) {
  const auto uri = Uri::parse(own.next);
  const auto next = uri ? next_hop_of(core_.config, *uri) : std::nullopt;
  if (own.flow && !net::is_reliable(own.flow->transport) && next && next->known && next->hop.transport == own.flow->transport &&
      next->hop.remote == own.flow->remote) {
    own.flow.reset();
  }
  if (!own.flow && !next) return false;
  own.way.given = own.flow.has_value();
  if (own.flow || next->known) {
    own.way.hop = own.flow ? *own.flow : next->hop;
    return start_own(std::move(own), now_ms, out);
  }
  Query query;
  query.own = std::move(own);
  return ask(std::move(query), *next, now_ms, out);
}

bool Forwarder::start_own(OwnRequest own, std::int64_t now_ms, Output& out) {
  const auto compose = [&](std::uint64_t client, std::uint64_t unlike, const net::Hop& hop, std::string& wire) {
    const std::size_t first_line = own.text.find("\r\n") + 2;
    wire.assign(own.text, 0, first_line);
    append_via(wire, hop, client, own.call_id, unlike);
    wire.append(own.text, first_line);
    return true;
  };
  if (own.method == Method::ack) {  // to a 2xx: sent once, and no transaction (RFC 3261 §13.2.2.4)
    const net::Hop hop = sending_hop(core_.config, own.way.hop);
    compose(0, SipHasher{core_.config.transaction_key}.add(own.text).finish(), hop, scratch_);
    out.send(hop, scratch_, 0, hop.transport == net::Transport::tls ? own.way.name : std::string_view{});
    return true;
  }
  std::uint64_t client = 0;
  const User user = own.key != 0 ? User::tasks : User::none;
  ClientTransaction* transaction =
      transactions_.open_client(own.method, user, own.key, client, own.method == Method::invite ? Work::fresh : Work::standing);
  if (transaction == nullptr) return false;
  compose_for(own.way, core_.config, *transaction,
              [&](const net::Hop& hop, std::string& wire) { return compose(client, 0, hop, wire); });
  std::uint64_t handle = 0;
  OwnRequest* kept = own.flow || own.way.has_other() ? own_.insert(handle) : nullptr;
  if (kept != nullptr) {
    *kept = std::move(own);
    transaction->user = User::own;
    transaction->user_id = handle;
  }
  transactions_.start(client, now_ms, out);
  return true;
}

/// Where its flow is gone, the far end's own address is left.
bool Forwarder::send_own_elsewhere(std::uint64_t handle, std::int64_t now_ms, Output& out) {
  OwnRequest own = std::move(*own_.find(handle));
  own_.erase(handle);
  if (!own.way.turn()) {
    if (!own.flow) return false;
    const auto uri = Uri::parse(own.next);
    const auto next = uri ? next_hop_of(core_.config, *uri) : std::nullopt;
    if (!next || (next->known ? next->hop.remote == own.flow->remote : !net::is_reliable(own.flow->transport))) return false;
    own.flow.reset();
    own.way = {};
    return send_own(std::move(own), now_ms, out);
  }
  return start_own(std::move(own), now_ms, out);
}

std::optional<std::uint64_t> Forwarder::receive_own(std::uint64_t handle, std::uint64_t client, int status, std::int64_t now_ms, Output& out) {
  const OwnRequest* own = own_.find(handle);
  if (own == nullptr) return 0;
  const std::uint64_t key = own->key;
  if (status == 503 && send_own_elsewhere(handle, now_ms, out)) return std::nullopt;
  own_.erase(handle);
  if (ClientTransaction* transaction = transactions_.find_client(client)) {
    transaction->user = key != 0 ? User::tasks : User::none;
    transaction->user_id = key;
  }
  return key;
}

std::uint64_t Forwarder::fail_own(std::uint64_t handle, std::int64_t now_ms, Output& out) {
  const OwnRequest* own = own_.find(handle);
  if (own == nullptr) return 0;
  const std::uint64_t key = own->key;
  return send_own_elsewhere(handle, now_ms, out) ? 0 : key;
}

/// Its name was looked up.
void Forwarder::own_resolved(OwnRequest own, std::string name, std::span<const net::Hop> found, std::int64_t now_ms, Output& out) {
  const std::uint64_t key = own.key;
  if (!found.empty()) {
    own.way.lead_to(std::move(name), found);
    if (start_own(std::move(own), now_ms, out)) return;
  }
  if (key != 0) out.events.push_back(unanswered(key, 503));
}

}  // namespace sipfarm::sip
