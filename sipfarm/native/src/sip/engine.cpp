#include "sip/engine.hpp"

#include "sip/compose.hpp"
#include "sip/headers.hpp"
#include "sip/route.hpp"
#include "sip/stun.hpp"
#include "sip/text.hpp"

namespace sipfarm::sip {

namespace {

constexpr std::string_view magic_cookie = "z9hG4bK";

TransactionLayer::Limits limits_of(const EngineConfig& config) noexcept {
  return {config.transactions_max, config.transactions_max + config.transactions_max / 2, config.messages_bytes_max,
          config.unanswered_ms};
}

Event request_event(EventKind kind, std::uint64_t transaction, MessageRef message, const net::Hop& source) {
  Event event;
  event.kind = kind;
  event.id = transaction;
  event.message = std::move(message);
  event.hop = source;
  return event;
}

}  // namespace

Engine::Engine(EngineConfig config, rtp::PortPool& ports, std::int64_t now_ms)
    : core_{std::move(config), ports, now_ms},
      transactions_{core_.wheel, core_.config.timers, core_.config.transaction_key, limits_of(core_.config)},
      forwarder_{core_, transactions_},
      protect_{core_.config.protect, core_.config.transaction_key},
      view_{core_.config.member, core_.config.epoch, core_.config.transaction_key},
      directory_{core_.config.directory_max},
      born_ms_{now_ms} {
  view_.set({});
}

void Engine::receive(const net::Batch& batch, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  for (const net::Batch::Item& item : batch.items()) {
    const std::size_t record = out.came(0, item.hop, item.bytes);
    out.became(record, receive_one(item, now_ms, out));
  }
}

Fate Engine::receive_one(const net::Batch::Item& item, std::int64_t now_ms, Output& out) {
  ++core_.counters.received;
  if (is_stun(item.bytes)) {
    scratch_.clear();
    if (append_binding_response(scratch_, item.bytes, item.hop.remote)) out.send(item.hop, scratch_);
    return core_.drop(Drop::keepalive);
  }
  if (text::trim(item.bytes).empty()) return core_.drop(Drop::keepalive);
  return receive_sip(item.bytes, {item.hop}, now_ms, out);
}

Fate Engine::receive_sip(std::string_view bytes, const Arrival& arrival, std::int64_t now_ms, Output& out) {
  if (core_.messages.bytes() > core_.config.messages_bytes_max + core_.config.messages_bytes_max / 8) return core_.drop(Drop::limit);
  bool ok = false;
  MessageRef message = core_.messages.parse(bytes, ok);
  if (!ok) {
    core_.counters.drop(Drop::malformed);
    return answer_malformed(*message, arrival, now_ms, out);
  }
  if (message->is_request()) {
    ++core_.counters.requests;
    return receive_request(std::move(message), arrival, now_ms, out);
  }
  ++core_.counters.responses;
  return receive_response(message, arrival, now_ms, out);
}

/// What another member sent here had its rate judged there; who is banned here stays so.
std::optional<Fate> Engine::held_off(const Arrival& arrival, std::int64_t now_ms) noexcept {
  if (arrival.settled) return std::nullopt;
  if (arrival.hops > 0) return protect_.is_banned(arrival.hop, now_ms) ? std::optional{core_.drop(Drop::banned)} : std::nullopt;
  const Admission admission = protect_.admit(arrival.hop, now_ms);
  if (admission == Admission::admitted) return std::nullopt;
  return core_.drop(admission == Admission::banned ? Drop::banned : Drop::over_rate);
}

void Engine::prove(const net::Hop& source, std::int64_t now_ms, Output& out) {
  protect_.prove(source, now_ms);
  if (source.passed_on_by != 0) tell_of_sender(source, std::nullopt, out);
}

void Engine::blame(const net::Hop& source, Fault fault, std::int64_t now_ms, Output& out) {
  constexpr std::int64_t told_each_us = 100'000;
  if (source.passed_on_by != 0) {
    if (fault == Fault::credentials) protect_.disprove(source);
    return tell_of_sender(source, fault, out);
  }
  if (!protect_.fault(source, fault, now_ms) || !bans_told_.fill(now_ms * 1'000, told_each_us, 10 * told_each_us)) return;
  Event event;
  event.kind = EventKind::banned;
  event.hop = source;
  event.text = fault_names[static_cast<std::size_t>(fault)];
  out.events.push_back(std::move(event));
}

void Engine::tell_of_sender(const net::Hop& source, std::optional<Fault> fault, Output& out) {
  if (!core_.config.protect.enabled || view_.find(source.passed_on_by) == nullptr) return;
  BusMessage message;
  message.kind = BusMessage::Kind::sender;
  message.hop = source;
  message.fault = fault;
  tell_member(source.passed_on_by, message, out);
}

Fate Engine::answer_malformed(const Message& request, const Arrival& arrival, std::int64_t now_ms, Output& out) {
  if (!request.is_request() && request.wire().starts_with("SIP/2.0")) return core_.drop(Drop::unanswerable);
  if (const auto fate = held_off(arrival, now_ms)) return *fate;
  blame(arrival.hop, Fault::malformed, now_ms, out);
  const ParseFailure& failure = request.failure();
  const bool answerable = failure.status != 0 && request.is_request() && request.method() != Method::ack &&
                          !request.top_via().host.empty() && !request.value(Header::from).empty() &&
                          !request.value(Header::to).empty() && !request.call_id().empty() && !request.value(Header::cseq).empty();
  if (!answerable) return core_.drop(Drop::unanswerable);
  return refuse(request, arrival.hop, {failure.status, failure.reason, {}, {}, {}}, Drop::malformed, out);
}

/// Answers what no transaction is made for.
Fate Engine::refuse(const Message& request, const net::Hop& source, const Answer& answer, Drop why, Output& out) {
  scratch_.clear();
  const std::string tag = stateless_tag(request);
  append_response(scratch_, request, source, {answer.status, answer.reason, tag, answer.headers, answer.body});
  out.send(reply_hop(request.top_via(), source), scratch_);
  return {Fate::What::answered, why};
}

Fate Engine::receive_response(const MessageRef& response, const Arrival& arrival, std::int64_t now_ms, Output& out) {
  const std::string_view branch = response->top_via().branch;
  const auto mark = branch.size() >= magic_cookie.size() + mark_chars && branch.starts_with(magic_cookie)
                        ? core_.keys.open(MarkKind::branch, branch.substr(magic_cookie.size(), mark_chars), response->call_id())
                        : std::nullopt;
  if (!mark) return core_.drop(Drop::foreign_response);
  if (!core_.is_own(*mark)) {
    if (!view_.is_live(mark->member, mark->epoch)) return core_.drop(Drop::no_owner);
    return pass_on(mark->member, response->wire(), arrival, out);
  }
  const ClientTransaction* transaction = transactions_.find_client(mark->handle);
  if (transaction == nullptr) return core_.drop(Drop::stale_response);
  User user = transaction->user;
  // Behind us nobody, and no answer to our CANCEL: it would go nowhere (RFC 3261 §16.7 step 3).
  if (user == User::forward && response->status() > 100 && response->method() != Method::cancel && !via_at(*response, 1)) {
    return core_.drop(Drop::foreign_response);
  }
  std::uint64_t user_id = transaction->user_id;
  const std::uint32_t branch_index = transaction->branch_index;
  if (!transactions_.receive_response(mark->handle, *response, now_ms, out)) return core_.absorb();
  if (response->method() == Method::cancel) return {};
  if (user == User::own) {
    const auto key = forwarder_.receive_own(user_id, mark->handle, response->status(), now_ms, out);
    if (!key || *key == 0) return {};
    user = User::tasks;
    user_id = *key;
  }
  if (user == User::forward) {
    forwarder_.receive_response(user_id, branch_index, response, arrival.hop, now_ms, out);
  } else if (user == User::tasks) {
    Event event = request_event(EventKind::response, user_id, response, arrival.hop);
    event.status = static_cast<std::uint16_t>(response->status());
    out.events.push_back(std::move(event));
  }
  return {};
}

Fate Engine::receive_request(MessageRef request, const Arrival& arrival, std::int64_t now_ms, Output& out) {
  const bool in_dialog = !request->to_tag().empty();
  if (request->method() == Method::ack && in_dialog && is_answered_statelessly(*request)) return {Fate::What::absorbed};
  const OwnRoute route = request->find(Header::route) != nullptr ? own_route_of(core_, *request) : OwnRoute{};
  const auto owner = !in_dialog || arrival.settled ? std::nullopt : route.mark ? route.mark : dialog_mark_of(*request);
  if (owner && !core_.is_own(*owner) && view_.is_live(owner->member, owner->epoch)) {
    return pass_on(owner->member, request->wire(), arrival, out);
  }
  if (owner && !core_.is_own(*owner) && !route.mark && owner->handle != 0) {
    return tell_orphan(std::move(request), *owner, arrival, now_ms, out);
  }
  if (request->method() == Method::ack) {
    const auto mark = in_dialog ? dialog_mark_of(*request) : std::nullopt;
    const bool ours = mark && (core_.is_own(*mark) || (arrival.settled && !route.mark));  // settled: inherited
    return receive_ack(request, arrival, route, ours, now_ms, out);
  }
  if (request->method() == Method::cancel) return receive_cancel(std::move(request), arrival, now_ms, out);
  std::uint64_t handle = 0;
  if (transactions_.match_server(*request, request->method(), handle) != nullptr) {
    transactions_.receive_request(handle, Input::request, now_ms, out);
    return core_.absorb();
  }
  // A call that was let in. A mark alone tells no more than that its holder was answered once.
  const bool stands = owner && (route.mark ? forwarder_.belongs(*request, route) : owner->handle != 0 && begins_nothing(request->method()));
  if (!stands) {
    if (const auto fate = held_off(arrival, now_ms)) return *fate;
  }
  const bool idempotent = request->method() == Method::register_ || request->method() == Method::options;
  const bool ours = owner && core_.is_own(*owner);
  const bool is_new = !arrival.settled && !ours && core_.config.claims && !view_.alone();
  if (is_new && !idempotent) return claim(std::move(request), arrival, now_ms, out);
  if (is_new && !view_.is_pbx()) {
    const std::uint16_t worker = view_.place(transaction_key(core_.config.transaction_key, *request, request->method()));
    if (worker != core_.config.member) {
      ++core_.counters.placed;
      return pass_on(worker, request->wire(), arrival, out);
    }
  }
  const bool awaited = !cancels_by_key_.empty() && request->method() == Method::invite;
  const std::uint64_t key = awaited ? transaction_key(core_.config.transaction_key, *request, Method::invite) : 0;
  const Fate fate = in_dialog && forwarder_.belongs(*request, route)
                        ? forwarder_.forward_in_dialog(std::move(request), arrival.hop, route, now_ms, out)
                        : open_request(std::move(request), arrival.hop, now_ms, out);
  if (!awaited) return fate;
  for (Waiting& waiting : take_cancels(key)) {
    take_up(std::move(waiting.request), waiting.arrival, out,
            [&](MessageRef cancel) { return receive_cancel(std::move(cancel), waiting.arrival, now_ms, out); });
  }
  return fate;
}

Fate Engine::receive_ack(const MessageRef& ack, const Arrival& arrival, const OwnRoute& route, bool in_own_dialog, std::int64_t now_ms,
                         Output& out) {
  std::uint64_t handle = 0;
  const ServerTransaction* transaction = transactions_.match_server(*ack, Method::invite, handle);
  if (transaction != nullptr && transaction->state != State::accepted) {
    transactions_.receive_request(handle, Input::ack, now_ms, out);
    return {};
  }
  if (in_own_dialog) {
    out.events.push_back(request_event(EventKind::ack, handle, ack, arrival.hop));
    return {};
  }
  // Where the dialog's owner is gone, this may be the ACK to a failure that another member answered with.
  const bool known_here = transaction != nullptr || (route.mark && core_.is_own(*route.mark));
  if (!known_here && !arrival.settled && core_.config.claims && !view_.alone()) {
    if (const auto fate = held_off(arrival, now_ms)) return *fate;
    return look_up(ack, arrival, now_ms, out);
  }
  if (!ack->to_tag().empty() && forwarder_.belongs(*ack, route)) {
    return forwarder_.forward_in_dialog(ack, arrival.hop, route, now_ms, out);
  }
  return core_.drop(Drop::foreign_ack);
}

Fate Engine::receive_cancel(MessageRef cancel, const Arrival& arrival, std::int64_t now_ms, Output& out) {
  std::uint64_t own = 0;
  if (transactions_.match_server(*cancel, Method::cancel, own) != nullptr) {
    transactions_.receive_request(own, Input::request, now_ms, out);
    return core_.absorb();
  }
  std::uint64_t invite = 0;
  ServerTransaction* transaction = transactions_.match_server(*cancel, Method::invite, invite);
  if (transaction == nullptr) {
    if (const auto fate = held_off(arrival, now_ms)) return *fate;
  }
  if (transaction == nullptr && !arrival.waited && core_.config.claims && !view_.alone()) {
    if (!arrival.settled) return look_up(std::move(cancel), arrival, now_ms, out);
    const std::uint64_t key = transaction_key(core_.config.transaction_key, *cancel, Method::invite);
    return wait_for_invite(key, std::move(cancel), arrival, now_ms);
  }
  if (transaction == nullptr) return refuse(*cancel, arrival.hop, {481, {}, {}, {}, {}}, Drop::none, out);
  Fate fate;
  if (may_be_strangers(*transaction)) {
    fate = refuse(*cancel, arrival.hop, {200, {}, {}, {}, {}}, Drop::none, out);
  } else {
    if (transactions_.open_server(cancel, arrival.hop, now_ms, own, Work::standing) == nullptr) return core_.drop(Drop::limit);
    std::string& tag = transaction->to_tag;  // that of the INVITE's answers (RFC 3261 §9.2)
    if (tag.empty()) core_.keys.append(tag, MarkKind::tag, core_.own_mark(invite), cancel->call_id());
    respond(own, {200, {}, {}, {}, tag}, now_ms, out);
  }
  if (transaction->cancelled || transaction->status >= 200) return fate;
  transaction->cancelled = true;
  if (transaction->user == User::forward) {
    std::string reason;
    for (const Line& line : cancel->lines()) {
      if (line.header == Header::reason) reason += "Reason: " + std::string{cancel->value(line)} + "\r\n";
    }
    forwarder_.cancel(transaction->user_id, reason, now_ms, out);
    return fate;
  }
  out.events.push_back(request_event(EventKind::cancel, invite, std::move(cancel), arrival.hop));
  return fate;
}

Fate Engine::open_request(MessageRef request, const net::Hop& source, std::int64_t now_ms, Output& out) {
  std::uint64_t handle = 0;
  ServerTransaction* transaction = has_room() ? transactions_.open_server(request, source, now_ms, handle) : nullptr;
  if (transaction == nullptr) {
    core_.counters.drop(Drop::limit);
    return refuse(*request, source, {503, {}, "Retry-After: 5\r\n", {}, {}}, Drop::limit, out);
  }
  transaction->user = User::tasks;
  out.events.push_back(request_event(EventKind::request, handle, std::move(request), source));
  return {};
}

void Engine::expire(std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  fired_.clear();
  core_.wheel.expire(now_ms, [&](const ExpiredTimer& timer) {
    if (TransactionLayer::owns(timer.payload)) {
      transactions_.expire(timer.payload, now_ms, out, fired_);
    } else if (Forwarder::owns(timer.payload)) {
      forwarder_.expire(timer.payload, now_ms, out);
    } else {
      expire_waiting(timer.payload & ((std::uint64_t{1} << 40) - 1), now_ms, out);
    }
  });
  tell(fired_, now_ms, out);
}

/// Python has forgotten an INVITE, or fails at it: its caller gets an end, and Python is told as if the caller had given up.
void Engine::end_unanswered(std::uint64_t handle, std::int64_t now_ms, Output& out) {
  core_.counters.drop(Drop::unanswered);
  respond(handle, {408, {}, {}, {}, {}}, now_ms, out);
  out.events.push_back(request_event(EventKind::cancel, handle, {}, {}));
}

void Engine::tell(std::span<const Fired> fired, std::int64_t now_ms, Output& out) {
  for (const Fired& what : fired) {
    const int status = what.what == Fired::What::timeout ? 408 : 503;
    if (what.what == Fired::What::unanswered) {
      end_unanswered(what.handle, now_ms, out);
    } else if (what.user == User::forward && what.what == Fired::What::server_ended) {
      forwarder_.server_ended(what.user_id, now_ms, out);
    } else if (what.user == User::forward) {
      forwarder_.fail_branch(what.user_id, what.branch_index, what.handle, status, now_ms, out);
    } else if (what.user == User::own) {
      const std::uint64_t key = forwarder_.fail_own(what.user_id, now_ms, out);
      if (key != 0) out.events.push_back(unanswered(key, status));
    } else if (what.user == User::tasks && what.what != Fired::What::server_ended) {
      out.events.push_back(unanswered(what.user_id, status));
    }
  }
}

}  // namespace sipfarm::sip
