#include "sip/forwarder.hpp"
#include "sip/headers.hpp"
#include "sip/text.hpp"

namespace sipfarm::sip {

namespace {

constexpr std::size_t legs_max = 256;  // of one call: branches of all steps, and dialogs of forks behind them

bool carries_sdp(const Message& message) noexcept {
  if (message.body().empty()) return false;
  const std::string_view type = message.value(Header::content_type);
  constexpr std::string_view sdp = "application/sdp";
  return type.size() >= sdp.size() && text::iequals(type.substr(0, sdp.size()), sdp);
}

Event call_event(CallState state, std::uint64_t call, std::uint64_t transaction, int status) {
  Event event;
  event.kind = EventKind::call;
  event.state = state;
  event.id = transaction;
  event.call = call;
  event.status = static_cast<std::uint16_t>(status);
  return event;
}

}  // namespace

void Call::clear() {
  call_id.clear();
  from_tag.clear();
  caller.clear();
  callee.clear();
  answered = false;
  started_ms = answered_ms = 0;
  limit = TimerId::none;
  end.clear();
  legs.clear();
}

Call* Forwarder::open_call(const Message& invite, const net::Hop& source, std::int64_t now_ms, std::uint64_t& handle) {
  Call* call = calls_.insert(handle);
  if (call == nullptr) return nullptr;
  call->call_id = invite.call_id();
  call->from_tag = invite.from_tag();
  const auto from = NameAddr::parse(invite.value(Header::from));
  if (from) call->caller = from->uri;
  call->callee = invite.request_uri();
  call->started_ms = now_ms;
  note_caller(*call, invite, source);
  call->limit = core_.wheel.schedule(now_ms + core_.config.call_max_ms, payload(Clock::call, handle));
  return call;
}

/// The dialog that a callee's tag names, one that is not over before one that is.
std::uint32_t Forwarder::leg_of(const Call& call, std::string_view callee_tag) const noexcept {
  std::uint32_t found = Fork::no_leg;
  for (std::uint32_t i = 0; i < call.legs.size(); ++i) {
    const Leg& leg = call.legs[i];
    if (leg.to_tag != callee_tag || leg.to_tag.empty()) continue;
    if (!leg.over) return i;
    found = i;
  }
  return found;
}

/// The leg of a dialog that a branch's response begins or goes on with.
std::uint32_t Forwarder::note_dialog(std::uint64_t handle, std::uint32_t branch_leg, std::string_view to_tag) {
  Call* call = calls_.find(handle);
  if (call == nullptr || branch_leg >= call->legs.size()) return Fork::no_leg;
  if (to_tag.empty()) return branch_leg;
  Leg& first = call->legs[branch_leg];
  if (first.to_tag.empty()) first.to_tag = to_tag;
  for (std::uint32_t i = 0; i < call->legs.size(); ++i) {
    if (call->legs[i].media == branch_leg && call->legs[i].to_tag == to_tag) return i;
  }
  if (call->legs.size() >= legs_max) return branch_leg;
  Leg& further = call->legs.emplace_back();
  further.to_tag = to_tag;
  further.media = branch_leg;
  return static_cast<std::uint32_t>(call->legs.size() - 1);
}

/// The call that a Record-Route mark names, if it is kept here: another member's handle means nothing.
Call* Forwarder::call_of(const OwnerMark& mark) noexcept { return core_.is_own(mark) ? calls_.find(mark.handle) : nullptr; }

void Forwarder::note_answer(const Fork& fork, std::uint32_t leg, const Message& response, std::int64_t now_ms, Output& out) {
  Call* call = calls_.find(fork.call);
  if (call == nullptr || leg >= call->legs.size()) return;
  call->legs[leg].confirmed = true;
  call->legs[leg].over = false;
  note_callee(fork, call->legs[leg], response);
  if (call->answered) return;
  call->answered = true;
  call->answered_ms = now_ms;
  out.events.push_back(call_event(CallState::answered, fork.call, fork.server, response.status()));
}

void Forwarder::note_failure(const Fork& fork, int status, std::int64_t now_ms, Output& out) {
  Call* call = calls_.find(fork.call);
  if (call == nullptr) return;
  for (Leg& leg : call->legs) leg.relay.release(core_.ports, now_ms, out);
  core_.wheel.cancel(call->limit);
  out.events.push_back(call_event(CallState::failed, fork.call, fork.server, status));
  calls_.erase(fork.call);
}

/// A branch has failed, and its early dialogs with it.
void Forwarder::drop_legs(std::uint64_t handle, std::uint32_t branch_leg, std::int64_t now_ms, Output& out) {
  Call* call = calls_.find(handle);
  if (call == nullptr || branch_leg >= call->legs.size()) return;
  for (Leg& leg : call->legs) leg.over = leg.over || leg.media == branch_leg;
  call->legs[branch_leg].relay.release(core_.ports, now_ms, out);
}

/// Keeps what the relay does now, in case that what a request within a dialog offers is refused.
void Forwarder::note_offer(Fork& fork, const Message& request) {
  const Call* call = calls_.find(fork.call);
  if (!fork.refreshes_call || !carries_sdp(request) || call == nullptr || fork.leg >= call->legs.size()) return;
  fork.offers = true;
  fork.before = call->legs[call->legs[fork.leg].media].relay.streams();
}

/// RFC 3261 §14.1: the session is as if the offer had not been made.
void Forwarder::take_offer_back(Fork& fork, std::int64_t now_ms, Output& out) {
  Call* call = calls_.find(fork.call);
  if (!fork.offers || call == nullptr || fork.leg >= call->legs.size()) return;
  RelaySession& relay = call->legs[call->legs[fork.leg].media].relay;
  if (fork.answered_early) relay.take_back(rtp::opposite(fork.from), fork.before, core_.ports, now_ms, out);
  relay.take_back(fork.from, fork.before, core_.ports, now_ms, out);
}

void Forwarder::end_leg(std::uint64_t handle, std::uint32_t index, std::string_view by, std::int64_t now_ms, Output& out) {
  Call* call = calls_.find(handle);
  if (call == nullptr || index >= call->legs.size()) return;
  const std::uint32_t media = call->legs[index].media;
  call->legs[index].over = true;
  bool stands = false;
  bool media_used = false;
  for (const Leg& leg : call->legs) {
    if (!leg.confirmed || leg.over) continue;
    stands = true;
    media_used = media_used || leg.media == media;
  }
  if (!call->answered) return;  // an early dialog ended by BYE (RFC 3261 §15): its INVITE is answered yet
  if (!stands) return end_call(handle, by, now_ms, out);
  if (!media_used) call->legs[media].relay.release(core_.ports, now_ms, out);
}

void Forwarder::end_call(std::uint64_t handle, std::string_view by, std::int64_t now_ms, Output& out) {
  Call* call = calls_.find(handle);
  if (call == nullptr) return;
  for (Leg& leg : call->legs) leg.relay.release(core_.ports, now_ms, out);
  core_.wheel.cancel(call->limit);
  Event event = call_event(CallState::ended, handle, 0, 200);
  event.text = by;
  out.events.push_back(std::move(event));
  calls_.erase(handle);
}

/// Passes the message's SDP through the leg's relay where there is one (or, in an INVITE's offer, is to be one); what goes on stands in
/// body_ where it was rewritten.
SdpOutcome Forwarder::relay_sdp(std::uint64_t handle, std::uint32_t index, rtp::Side from, Media media, const net::Hop& source,
                                const Message& message, std::int64_t now_ms, Output& out) {
  if (media == Media::none || !carries_sdp(message)) return SdpOutcome::untouched;
  Call* call = calls_.find(handle);
  if (call == nullptr || index >= call->legs.size()) return SdpOutcome::untouched;
  Leg& leg = call->legs[call->legs[index].media];
  if (!leg.relayed) return SdpOutcome::untouched;
  body_.clear();
  if (media == Media::again) return leg.relay.pass_again(from, message.body(), core_.config.media, body_);
  StreamNames names{handle, streams_named_};
  return leg.relay.pass(from, source, message.body(), core_.config.media, core_.ports, names, media == Media::tentative, now_ms, out, body_);
}

}  // namespace sipfarm::sip
