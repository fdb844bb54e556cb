#include <algorithm>

#include "sip/compose.hpp"
#include "sip/forwarder.hpp"
#include "sip/headers.hpp"

// Ending a forwarded call for both of its sides: what its dialogs are made of is noted as it passes (RFC 3261 §12), and a BYE to each end
// is written as the other one would have sent it.

namespace sipfarm::sip {

namespace {

void note_contact(FarEnd& end, const Message& message) {
  const auto contact = NameAddr::parse(message.value(Header::contact));
  if (contact) end.contact = contact->uri;
}

void append_value(std::string& list, std::string_view value) {
  if (!list.empty()) list += ", ";
  list += value;
}

bool is_own(const EngineConfig& config, std::string_view record_route) noexcept {
  const auto name_addr = NameAddr::parse(record_route);
  const auto uri = name_addr ? Uri::parse(name_addr->uri) : std::nullopt;
  return uri && uri->is_sip() && is_ours(config, uri->host, uri->port);
}

}  // namespace

void FarEnd::clear() noexcept {
  name.clear();
  contact.clear();
  route.clear();
  hop.reset();
  cseq = 0;
}

/// The caller, as the INVITE shows it: the proxies that it passed before us stand in Record-Route in the order of the way back.
void Forwarder::note_caller(Call& call, const Message& invite, const net::Hop& source) {
  call.end.name = invite.value(Header::from);
  note_contact(call.end, invite);
  HeaderCursor routes{invite, Header::record_route};
  for (std::string_view value; routes.next(value);) append_value(call.end.route, value);
  if (needs_flow(invite, source)) call.end.hop = source;
}

/// The callee, as its 2xx shows it: the proxies behind us stand before ours, the last one first. Where ours is not there, the dialog's
/// requests do not come by us, and we know too little of it.
void Forwarder::note_callee(const Fork& fork, Leg& leg, const Message& response) {
  leg.end.name = response.value(Header::to);
  leg.caller_cseq = std::max(leg.caller_cseq, response.cseq());
  std::vector<std::string_view> behind;
  bool passes_us = false;
  HeaderCursor routes{response, Header::record_route};
  for (std::string_view value; !passes_us && routes.next(value);) {
    passes_us = is_own(core_.config, value);
    if (!passes_us) behind.push_back(value);
  }
  if (!passes_us) return;
  note_contact(leg.end, response);
  leg.end.route.clear();
  for (auto value = behind.rbegin(); value != behind.rend(); ++value) append_value(leg.end.route, *value);
  for (const Branch& branch : fork.branches) {
    if (branch.leg == leg.media && branch.target.route.empty()) leg.end.hop = branch.target.hop;
  }
}

/// The number that a side has used (RFC 3261 §12.2.1.1): what is sent in its name later must be above it.
void Forwarder::note_number(const Fork& fork, const Message& request) {
  Call* call = calls_.find(fork.call);
  if (call == nullptr || fork.leg >= call->legs.size()) return;
  Leg& leg = call->legs[fork.leg];
  std::uint32_t& last = fork.from == rtp::Side::a ? leg.caller_cseq : leg.end.cseq;
  last = std::max(last, request.cseq());
}

/// A target refresh has succeeded (RFC 3261 §12.2).
void Forwarder::note_targets(const Fork& fork, const Message& response) {
  Call* call = calls_.find(fork.call);
  const ServerTransaction* server = transactions_.find_server(fork.server);
  if (call == nullptr || fork.leg >= call->legs.size() || server == nullptr || !server->request) return;
  const bool of_caller = fork.from == rtp::Side::a;
  FarEnd& callee = call->legs[fork.leg].end;
  if (callee.contact.empty()) return;  // nothing was noted of this dialog
  note_contact(of_caller ? call->end : callee, *server->request);
  note_contact(of_caller ? callee : call->end, response);
}

/// Ends an answered call in the name of each side to the other, as far as enough is known of them, and forgets it.
void Forwarder::hang_up(std::uint64_t handle, std::string_view by, std::int64_t now_ms, Output& out) {
  const Call* call = calls_.find(handle);
  if (call == nullptr) return;
  for (const Leg& leg : call->legs) {
    if (!leg.confirmed || leg.over || leg.end.contact.empty()) continue;
    send_bye(*call, leg.end, call->end.name, leg.caller_cseq + 1, now_ms, out);
    send_bye(*call, call->end, leg.end.name, leg.end.cseq + 1, now_ms, out);
  }
  end_call(handle, by, now_ms, out);
}

void Forwarder::send_bye(const Call& call, const FarEnd& to, std::string_view from, std::uint32_t cseq, std::int64_t now_ms, Output& out) {
  const auto onward = onward_of(to.contact, to.route);
  const auto uri = onward ? Uri::parse(onward->next) : std::nullopt;
  if (!onward || (!to.hop && !(uri && next_hop_of(core_.config, *uri)))) return;  // a route set that cannot be read: nobody knows where that end is
  OwnRequest bye;
  bye.method = Method::bye;
  bye.call_id = call.call_id;
  bye.next = onward->next;
  bye.flow = to.hop;
  bye.text = "BYE ";
  bye.text += onward->request_uri;
  bye.text += " SIP/2.0\r\nMax-Forwards: 70\r\n";
  if (!onward->route.empty()) bye.text += "Route: " + onward->route + "\r\n";
  bye.text.append("From: ").append(from).append("\r\nTo: ").append(to.name).append("\r\nCall-ID: ").append(call.call_id).append("\r\nCSeq: ");
  append_number(bye.text, cseq);
  bye.text += " BYE\r\nReason: SIP;cause=480;text=\"No media\"\r\nContent-Length: 0\r\n\r\n";
  if (!send_own(std::move(bye), now_ms, out)) core_.counters.drop(Drop::limit);
}

/// The streams of an answered call, of whose silence its end may follow; none where a side is on hold.
std::vector<std::uint64_t> Forwarder::streams_beside(std::uint64_t stream) noexcept {
  std::vector<std::uint64_t> found;
  const Call* call = calls_.find(StreamNames::call_of(stream));
  if (call == nullptr || !call->answered) return found;
  for (const Leg& leg : call->legs) {
    if (!leg.confirmed || leg.over) continue;
    for (const RelayStream& beside : call->legs[leg.media].relay.streams()) {
      if (beside.held()) return {};
      if (beside.id != 0) found.push_back(beside.id);
    }
  }
  if (std::find(found.begin(), found.end(), stream) == found.end()) found.clear();
  return found;
}

}  // namespace sipfarm::sip
