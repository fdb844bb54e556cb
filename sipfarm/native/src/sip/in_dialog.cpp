#include "sip/forwarder.hpp"
#include "sip/headers.hpp"

// Requests of forwarded calls that stand: routed by Route and Request-URI alone, on whichever member (RFC 3261 §16.4, §16.12).

namespace sipfarm::sip {

bool begins_nothing(Method method) noexcept {
  return method == Method::bye || method == Method::ack || method == Method::prack || method == Method::update || method == Method::info ||
         method == Method::notify;
}

/// The mark itself is bound to Call-ID and caller's tag. Of a call that is kept here the far end's tag is known too; that of a member that
/// is gone can be no more than believed.
bool Forwarder::belongs(const Message& request, const OwnRoute& route) noexcept {
  if (!route.mark) return false;
  if (route.mark->handle == 0) return request.method() != Method::invite;  // the mark of no call: a subscription's
  if (!core_.is_own(*route.mark)) return true;
  const Call* call = call_of(*route.mark);
  if (call == nullptr || call->call_id != request.call_id()) return begins_nothing(request.method());
  const std::string_view callee_tag = route.from == Party::caller ? request.to_tag() : request.from_tag();
  return leg_of(*call, callee_tag) != Fork::no_leg;
}

Forwarder::InDialog Forwarder::dialog_of(const Message& request, const OwnRoute& route) noexcept {
  const rtp::Side from = route.from == Party::callee ? rtp::Side::b : rtp::Side::a;
  const Call* call = call_of(*route.mark);
  if (call == nullptr || call->call_id != request.call_id()) return {route, 0, Fork::no_leg, from};
  return {route, route.mark->handle, leg_of(*call, from == rtp::Side::a ? request.to_tag() : request.from_tag()), from};
}

bool Forwarder::locate_in_dialog(const Message& request, const OwnRoute& route, NextHop& next) const {
  if (route.flow) {
    next.known = true;
    next.hop = *route.flow;
    return true;
  }
  const auto onward = onward_of(request, route);
  const auto uri = onward ? Uri::parse(onward->next) : std::nullopt;
  const auto found = uri ? next_hop_of(core_.config, *uri) : std::nullopt;
  if (!found) return false;
  next = *found;
  return true;
}

Fate Forwarder::pass_ack(const MessageRef& ack, const net::Hop& source, const OwnRoute& route, std::int64_t now_ms, Output& out) {
  NextHop next;
  if (ack->max_forwards() == 0 || !locate_in_dialog(*ack, route, next)) return core_.drop(Drop::unanswerable);
  if (next.known) return send_ack(*ack, source, route, next.hop, {}, now_ms, out);
  if (!ask({0, 0, TimerId::none, ack, source, {}, {}}, next, now_ms, out)) return core_.drop(Drop::limit);
  return {};
}

/// ACK to a 2xx: stateless, its branch follows from that of the ACK received (RFC 3261 §16.11).
Fate Forwarder::send_ack(const Message& ack, const net::Hop& source, const OwnRoute& route, const net::Hop& hop, std::string_view name,
                         std::int64_t now_ms, Output& out) {
  const net::Hop sending = sending_hop(core_.config, hop);
  std::string wire;
  if (!compose_in_dialog(ack, source, dialog_of(ack, route), sending, 0, now_ms, out, wire)) return core_.drop(Drop::unanswerable);
  out.send(sending, wire, 0, sending.transport == net::Transport::tls ? name : std::string_view{});
  return {};
}

Fate Forwarder::forward_in_dialog(MessageRef request, const net::Hop& source, const OwnRoute& route, std::int64_t now_ms, Output& out) {
  if (request->method() == Method::ack) return pass_ack(request, source, route, now_ms, out);
  std::uint64_t server = 0;
  ServerTransaction* transaction = transactions_.open_server(request, source, now_ms, server, Work::standing);
  if (transaction == nullptr) return core_.drop(Drop::limit);
  std::string headers;
  const int refused = refusal_of(*request, nullptr, headers);
  std::uint64_t handle = 0;
  Fork* fork = refused == 0 ? open_fork(server, *transaction, handle) : nullptr;
  if (fork == nullptr) {
    answer(server, refused != 0 ? refused : 503, headers, now_ms, out);
    return {};
  }
  const InDialog dialog = dialog_of(*request, route);
  fork->in_dialog = true;
  fork->route = route;
  fork->call = dialog.call;
  fork->leg = dialog.leg;
  fork->from = dialog.from;
  fork->ends_call = request->method() == Method::bye;
  note_number(*fork, *request);
  fork->refreshes_call = fork->invite || request->method() == Method::update;
  note_offer(*fork, *request);
  if (fork->invite) answer(server, 100, {}, now_ms, out);
  fork->branches.emplace_back().leg = dialog.leg;
  fork->open = 1;
  launch(handle, 0, now_ms, out);
  settle(handle, now_ms, out);
  return {};
}

}  // namespace sipfarm::sip
