#include <algorithm>

#include "sip/engine.hpp"
#include "sip/uri.hpp"

// Packets that other members own, and the directory of those that carry no mark of ours.

namespace sipfarm::sip {

namespace {

constexpr std::uint64_t handle_mask = (std::uint64_t{1} << 40) - 1;

constexpr std::uint64_t directory_tick = 0;  // among the ids of what waits, which begin at 1
constexpr std::int64_t directory_tick_min_ms = 10;

constexpr std::uint64_t waiting_payload(std::uint64_t id) noexcept { return (std::uint64_t{3} << 62) | (id & handle_mask); }

}  // namespace

/// The mark of a dialog whose user agent a member of the farm is: in the To tag, which stays that of the member that began it, or in the
/// Request-URI as the Contact of an heir.
std::optional<OwnerMark> Engine::dialog_mark_of(const Message& request) const noexcept {
  const auto tag = core_.keys.open(MarkKind::tag, request.to_tag(), request.call_id());
  if (tag && view_.is_live(tag->member, tag->epoch)) return tag;
  const auto uri = Uri::parse(request.request_uri());
  if (!uri || uri->user.size() != mark_chars) return tag;
  const auto contact = core_.keys.open(MarkKind::contact, uri->user, request.call_id());
  if (!tag || !contact) return tag ? tag : contact;
  return view_.is_live(contact->member, contact->epoch) ? OwnerMark{contact->member, contact->epoch, tag->handle} : tag;
}

/// The farm was its user agent, and no member that a mark of it names is there any more: the store knows who has the call now.
Fate Engine::tell_orphan(MessageRef request, const OwnerMark& tag, const Arrival& arrival, std::int64_t now_ms, Output& out) {
  if (const auto fate = held_off(arrival, now_ms)) return *fate;
  if (!has_room()) return core_.drop(Drop::limit);
  Event event;
  event.kind = EventKind::orphan;
  event.number = tag.member;
  event.id = tag.epoch;
  event.message = std::move(request);
  event.hop = arrival.hop;
  out.events.push_back(std::move(event));
  return {Fate::What::waits};
}

void Engine::place_orphan(MessageRef request, const net::Hop& source, std::uint16_t member, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  const Arrival arrival{source, true, 1, false, 0};  // it may have been passed on before
  take_up(std::move(request), arrival, out, [&](MessageRef orphan) {
    if (member == core_.config.member) return receive_request(std::move(orphan), arrival, now_ms, out);
    if (member != 0) return pass_on(member, orphan->wire(), arrival, out);
    if (orphan->method() == Method::ack) return core_.drop(Drop::foreign_ack);
    return refuse(*orphan, source, {481, {}, {}, {}, {}}, Drop::none, out);
  });
}

/// The ACK to a final answer of ours that no transaction was kept for, whichever member gave it.
bool Engine::is_answered_statelessly(const Message& ack) const noexcept {
  const auto tag = core_.keys.open(MarkKind::tag, ack.to_tag(), ack.call_id());
  return tag && tag->handle == 0;
}

void Engine::tell_member(std::uint16_t member, const BusMessage& message, Output& out) {
  frame_.clear();
  append_bus_message(frame_, message);
  out.frame(member, frame_);
}

Fate Engine::pass_on(std::uint16_t member, std::string_view bytes, const Arrival& arrival, Output& out) {
  if (arrival.hops >= bus_hops_max) return core_.drop(Drop::hop_limit);
  BusMessage message;
  message.kind = BusMessage::Kind::packet;
  message.hop = arrival.hop;
  const bool bound = net::is_reliable(arrival.hop.transport) || core_.config.reply_via_receiver;
  if (bound && message.hop.member == 0) message.hop.member = core_.config.member;
  message.bytes = bytes;
  const FarmMember* owner = view_.find(member);
  message.epoch = owner != nullptr ? owner->epoch : 0;
  message.settled = true;
  message.hops = static_cast<std::uint8_t>(arrival.hops + 1);
  tell_member(member, message, out);
  ++core_.counters.passed_on;
  return {Fate::What::passed_on, Drop::none, member};
}

std::uint64_t Engine::wait(Waiting waiting, std::int64_t now_ms) {
  const std::uint64_t id = next_waiting_++;
  const std::int64_t wait_ms = waiting.is_cancel ? core_.config.cancel_wait_ms : core_.config.claim_wait_ms;
  waiting.timer = core_.wheel.schedule(now_ms + wait_ms, waiting_payload(id));
  waiting_.emplace(id, std::move(waiting));
  return id;
}

/// New work: who owns it is settled at the home of its Call-ID before anything is done.
Fate Engine::claim(MessageRef request, const Arrival& arrival, std::int64_t now_ms, Output& out, std::uint8_t tries) {
  const std::uint64_t key = transaction_key(core_.config.transaction_key, *request, request->method());
  if (claims_by_key_.contains(key)) return core_.absorb();
  ++core_.counters.claims;
  const FarmView::Ranked home = view_.rank(request->call_id());
  const std::uint16_t chosen = view_.place(key);
  const FarmMember* member = view_.find(chosen);
  const Directory::Owner proposed{chosen, member != nullptr ? member->epoch : core_.config.epoch};
  const bool at_home = home.first == core_.config.member;
  if (at_home && is_settled()) {
    const std::uint64_t merge = merge_of(*request);
    const Directory::Owner meant = owner_of_merged(merge, now_ms).value_or(proposed);
    const auto owner = test_and_set(key, meant, now_ms, out);
    if (!owner) return core_.drop(Drop::unclaimed);
    note_merged(merge, *owner, now_ms);
    if (*owner == meant) copy_entry(key, *owner, home.second, now_ms, out);
    return hand_over(std::move(request), arrival, *owner, now_ms, out);
  }
  if (waiting_.size() >= core_.config.waiting_max) return core_.drop(Drop::limit);
  BusMessage message;
  message.kind = BusMessage::Kind::claim;
  message.key = key;
  message.member = proposed.member;
  message.epoch = proposed.epoch;
  message.merge = merge_of(*request);
  message.claim = wait({key, std::move(request), arrival, false, TimerId::none, tries}, now_ms);
  claims_by_key_[key] = message.claim;
  if (!at_home) tell_member(home.first, message, out);
  return {Fate::What::waits};
}

/// Who owns a key from now on. Nothing where the one proposed is not in this member's view: an entry of his would count as a dead
/// one's, and be given to somebody else. The packet is dropped then, and comes again when the views agree.
std::optional<Directory::Owner> Engine::test_and_set(std::uint64_t key, Directory::Owner proposed, std::int64_t now_ms, Output& out) {
  const auto known = directory_.find(key, now_ms);
  if (known && view_.is_live(known->member, known->epoch)) return known;
  if (transactions_.has_server(key)) proposed = {core_.config.member, core_.config.epoch};  // begun while this member was alone
  if (!view_.is_live(proposed.member, proposed.epoch)) return std::nullopt;
  enter(key, proposed, now_ms + core_.config.directory_ms, now_ms, out);
  return proposed;
}

std::uint64_t Engine::merge_of(const Message& request) const noexcept {
  return request.method() == Method::invite ? merge_key(core_.config.transaction_key, request) : 0;
}

/// An INVITE that comes by several ways meets itself at one member (RFC 3261 §8.2.2.2): who owns the first of its transactions.
std::optional<Directory::Owner> Engine::owner_of_merged(std::uint64_t merge, std::int64_t now_ms) const noexcept {
  const auto first = merge != 0 ? directory_.find(merge, now_ms) : std::nullopt;
  return first && view_.is_live(first->member, first->epoch) ? first : std::nullopt;
}

void Engine::note_merged(std::uint64_t merge, Directory::Owner owner, std::int64_t now_ms) {
  if (merge != 0 && !owner_of_merged(merge, now_ms)) put(merge, owner, now_ms + core_.config.directory_ms, now_ms);
}

void Engine::put(std::uint64_t key, Directory::Owner owner, std::int64_t until_ms, std::int64_t now_ms) {
  if (!directory_.put(key, owner, until_ms)) core_.counters.drop(Drop::limit);
  if (!directory_tick_) tidy_directory(now_ms);
}

void Engine::tidy_directory(std::int64_t now_ms) {
  directory_.expire(now_ms);
  const auto deadline = directory_.next_deadline_ms();
  directory_tick_ = deadline.has_value();
  if (deadline) core_.wheel.schedule(std::max(*deadline, now_ms + directory_tick_min_ms), waiting_payload(directory_tick));
}

/// Writes an entry, and sends CANCELs on that waited for it.
void Engine::enter(std::uint64_t key, Directory::Owner owner, std::int64_t until_ms, std::int64_t now_ms, Output& out) {
  put(key, owner, until_ms, now_ms);
  for (Waiting& waiting : take_cancels(key)) {
    take_up(std::move(waiting.request), waiting.arrival, out,
            [&](MessageRef cancel) { return hand_over(std::move(cancel), waiting.arrival, owner, now_ms, out); });
  }
}

/// A CANCEL that came before its INVITE waits: at the home for the claim, then at the owner, since the claim's answer and the INVITE may
/// be on their way.
Fate Engine::wait_for_invite(std::uint64_t key, MessageRef cancel, const Arrival& arrival, std::int64_t now_ms) {
  if (waiting_.size() >= core_.config.waiting_max) return core_.drop(Drop::limit);
  cancels_by_key_.emplace(key, wait({key, std::move(cancel), arrival, true, TimerId::none, 0}, now_ms));
  return {Fate::What::waits};
}

std::vector<Engine::Waiting> Engine::take_cancels(std::uint64_t key) {
  std::vector<Waiting> taken;
  if (cancels_by_key_.empty()) return taken;
  const auto [begin, end] = cancels_by_key_.equal_range(key);
  for (auto it = begin; it != end; ++it) {
    const auto found = waiting_.find(it->second);
    if (found == waiting_.end()) continue;
    core_.wheel.cancel(found->second.timer);
    taken.push_back(std::move(found->second));
    waiting_.erase(found);
  }
  cancels_by_key_.erase(begin, end);
  return taken;
}

void Engine::copy_entry(std::uint64_t key, Directory::Owner owner, std::uint16_t second, std::int64_t now_ms, Output& out) {
  if (second == 0) return;
  if (second == core_.config.member) {
    enter(key, owner, now_ms + core_.config.directory_ms, now_ms, out);
    return;
  }
  BusMessage message;
  message.kind = BusMessage::Kind::note;
  message.key = key;
  message.member = owner.member;
  message.epoch = owner.epoch;
  message.ttl_ms = static_cast<std::uint32_t>(core_.config.directory_ms);
  tell_member(second, message, out);
}

Fate Engine::hand_over(MessageRef request, const Arrival& arrival, Directory::Owner owner, std::int64_t now_ms, Output& out) {
  // the home does not know yet; the sender tries again
  if (!view_.is_live(owner.member, owner.epoch)) return core_.drop(Drop::no_owner);
  if (owner.member == core_.config.member) {
    return receive_request(std::move(request), {arrival.hop, true, arrival.hops, false, arrival.from}, now_ms, out);
  }
  const Fate fate = pass_on(owner.member, request->wire(), arrival, out);
  if (fate.what == Fate::What::passed_on) ++core_.counters.placed;
  return fate;
}

/// A CANCEL, or an ACK to a relayed failure: only the directory knows whose it is.
Fate Engine::look_up(MessageRef request, const Arrival& arrival, std::int64_t now_ms, Output& out) {
  const FarmView::Ranked home = view_.rank(request->call_id());
  if (home.first != core_.config.member) {
    if (arrival.hops >= bus_hops_max) return core_.drop(Drop::hop_limit);
    BusMessage message;
    message.kind = BusMessage::Kind::lookup;
    message.hop = arrival.hop;
    const bool bound = net::is_reliable(arrival.hop.transport) || core_.config.reply_via_receiver;
    if (bound && message.hop.member == 0) message.hop.member = core_.config.member;
    message.bytes = request->wire();
    message.hops = static_cast<std::uint8_t>(arrival.hops + 1);
    tell_member(home.first, message, out);
    ++core_.counters.passed_on;
    return {Fate::What::passed_on, Drop::none, home.first};
  }
  const std::uint64_t key = transaction_key(core_.config.transaction_key, *request, Method::invite);
  const auto owner = directory_.find(key, now_ms);
  if (owner && view_.is_live(owner->member, owner->epoch)) {
    return hand_over(std::move(request), arrival, *owner, now_ms, out);
  }
  if (request->method() == Method::ack) {  // no failure's: one to a 2xx may still find its way by Route
    return receive_request(std::move(request), {arrival.hop, true, arrival.hops, false, arrival.from}, now_ms, out);
  }
  return wait_for_invite(key, std::move(request), arrival, now_ms);
}

void Engine::expire_waiting(std::uint64_t id, std::int64_t now_ms, Output& out) {
  if (id == directory_tick) return tidy_directory(now_ms);
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;
  Waiting waiting = std::move(found->second);
  waiting_.erase(found);
  if (!waiting.is_cancel) {
    claims_by_key_.erase(waiting.key);
    const bool again = net::is_reliable(waiting.arrival.hop.transport) && waiting.tries < core_.config.claim_tries;
    take_up(std::move(waiting.request), waiting.arrival, out, [&](MessageRef request) {
      if (!again) return core_.drop(Drop::unclaimed);
      return claim(std::move(request), waiting.arrival, now_ms, out, static_cast<std::uint8_t>(waiting.tries + 1));
    });
    return;
  }
  const auto [begin, end] = cancels_by_key_.equal_range(waiting.key);
  for (auto it = begin; it != end; ++it) {
    if (it->second != id) continue;
    cancels_by_key_.erase(it);
    break;
  }
  take_up(std::move(waiting.request), waiting.arrival, out, [&](MessageRef cancel) {
    if (!is_settled()) return core_.drop(Drop::unclaimed);  // nobody knows yet that there is no such INVITE
    return receive_request(std::move(cancel), {waiting.arrival.hop, true, waiting.arrival.hops, true, waiting.arrival.from}, now_ms, out);
  });
}

void Engine::receive_bus(std::uint16_t from, std::string_view payload, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  net::MsgpackReader reader{payload};
  while (!reader.empty()) {
    const auto message = read_bus_message(reader);
    if (!message) {
      core_.counters.drop(Drop::bus_malformed);
      return;
    }
    receive_bus_message(from, *message, now_ms, out);
  }
}

void Engine::receive_bus_message(std::uint16_t from, const BusMessage& message, std::int64_t now_ms, Output& out) {
  using Kind = BusMessage::Kind;
  ++core_.counters.from_bus;
  // What was meant for an earlier life of this member is looked up anew.
  Arrival arrival{message.hop, message.settled && message.epoch == core_.config.epoch, message.hops, false, from};
  if (arrival.hop.member == core_.config.member) arrival.hop.member = 0;
  switch (message.kind) {
    case Kind::packet:
    case Kind::lookup: {
      arrival.hop.passed_on_by = from;
      const std::size_t record = out.came(from, arrival.hop, message.bytes);
      out.became(record, receive_sip(message.bytes, arrival, now_ms, out));
      return;
    }
    case Kind::claim:
      answer_claim(from, message, now_ms, out);
      return;
    case Kind::claimed:
      receive_claimed(message, now_ms, out);
      return;
    case Kind::note:
      enter(message.key, {message.member, message.epoch}, now_ms + std::min<std::int64_t>(message.ttl_ms, core_.config.directory_ms), now_ms,
            out);
      return;
    case Kind::send:
      out.send(arrival.hop, message.bytes,
               message.claim == 0 ? 0 : transaction_of(from, message.claim));
      if (out.tracing) out.packets.back().from = from;
      return;
    case Kind::failed:
      fired_.clear();
      transactions_.transport_failed(message.claim, now_ms, out, fired_);
      tell(fired_, now_ms, out);
      return;
    case Kind::undelivered:
      fail_undelivered(message.claim, message.hop, message.bytes, now_ms, out);
      return;
    case Kind::sync:
      if (message.epoch == core_.config.epoch) hear_sync({from, message.sender_epoch}, now_ms, out);
      return;
    case Kind::synced: {
      const auto peer = peers_.find(from);
      if (peer != peers_.end() && peer->second.epoch == message.epoch) peer->second.told = true;
      return;
    }
    case Kind::sender:
      if (message.fault) return blame(message.hop, *message.fault, now_ms, out);
      prove(message.hop, now_ms, out);
      return;
  }
}

void Engine::answer_claim(std::uint16_t from, const BusMessage& claim, std::int64_t now_ms, Output& out) {
  // An owner that is not known here yet, or dead: who asks will ask again.
  const Directory::Owner proposed{claim.member, claim.epoch};
  const auto owner =
      is_settled() ? test_and_set(claim.key, owner_of_merged(claim.merge, now_ms).value_or(proposed), now_ms, out) : std::nullopt;
  if (!owner) return core_.counters.drop(Drop::unclaimed);
  note_merged(claim.merge, *owner, now_ms);
  BusMessage answer = claim;
  answer.kind = BusMessage::Kind::claimed;
  answer.member = owner->member;
  answer.epoch = owner->epoch;
  tell_member(from, answer, out);
}

void Engine::receive_claimed(const BusMessage& answer, std::int64_t now_ms, Output& out) {
  const auto found = waiting_.find(answer.claim);
  if (found == waiting_.end() || found->second.key != answer.key || found->second.is_cancel) return;
  Waiting waiting = std::move(found->second);
  waiting_.erase(found);
  claims_by_key_.erase(waiting.key);
  core_.wheel.cancel(waiting.timer);
  const Directory::Owner owner{answer.member, answer.epoch};
  copy_entry(waiting.key, owner, view_.rank(waiting.request->call_id()).second, now_ms, out);
  take_up(std::move(waiting.request), waiting.arrival, out,
          [&](MessageRef request) { return hand_over(std::move(request), waiting.arrival, owner, now_ms, out); });
}

void Engine::set_view(std::span<const FarmMember> members, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  const FarmView before = view_;
  const bool changed = view_.set(members);
  if (changed) fail_through_gone(now_ms, out);
  if (!core_.config.claims) return;
  if (now_ms - born_ms_ < core_.config.joining_ms) {
    for (const FarmMember& member : view_.members()) {
      if (member.number != core_.config.member && !before.is_live(member.number, member.epoch)) unheard_.push_back({member.number, member.epoch});
    }
  }
  std::erase_if(unheard_, [&](const Directory::Owner& owner) { return !view_.is_live(owner.member, owner.epoch); });
  greet(now_ms, out);
  if (changed) note_again(now_ms, out, before);
}

/// Who is new, or was not heard for a while, is told what it is home of. What is told may be lost (there may be no link yet), so it is
/// told at each view again until the other has confirmed it.
void Engine::greet(std::int64_t now_ms, Output& out) {
  constexpr std::int64_t patience_ms = 1'000;
  std::erase_if(peers_, [&](const auto& peer) { return !view_.is_live(peer.first, peer.second.epoch); });
  for (const FarmMember& member : view_.members()) {
    if (member.number == core_.config.member) continue;
    Peer& peer = peers_[member.number];
    peer.epoch = member.epoch;
    if (member.ready && !peer.ready) peer.told = false;
    peer.ready = member.ready;
    if (peer.told || (!member.ready && now_ms < peer.again_ms)) continue;
    peer.again_ms = now_ms + patience_ms;
    note_to(member.number, now_ms, out);
  }
}

void Engine::note_to(std::uint16_t member, std::int64_t now_ms, Output& out) {
  const Directory::Owner self{core_.config.member, core_.config.epoch};
  transactions_.each_server([&](std::uint64_t, const ServerTransaction& transaction) {
    const FarmView::Ranked home = view_.rank(transaction.home);
    if (home.first == member || home.second == member) copy_entry(transaction.key, self, member, now_ms, out);
  });
  BusMessage message;
  message.kind = BusMessage::Kind::sync;
  const FarmMember* told = view_.find(member);
  message.epoch = told != nullptr ? told->epoch : 0;
  message.sender_epoch = core_.config.epoch;
  tell_member(member, message, out);
}

void Engine::hear_sync(Directory::Owner from, std::int64_t now_ms, Output& out) {
  // Whose view is behind, or has the sender's life before, would wait for a sync that has come already: without an answer it comes again.
  if (!view_.is_live(from.member, from.epoch)) return;
  BusMessage answer;
  answer.kind = BusMessage::Kind::synced;
  answer.epoch = core_.config.epoch;
  tell_member(from.member, answer, out);
  if (is_settled()) return;
  std::erase(unheard_, from);
  if (is_settled()) claim_again(now_ms, out);
}

/// Homes have moved: what this member owns is noted at the new ones, and claims under way are asked again there.
void Engine::note_again(std::int64_t now_ms, Output& out, const FarmView& before) {
  const Directory::Owner self{core_.config.member, core_.config.epoch};
  transactions_.each_server([&](std::uint64_t, const ServerTransaction& transaction) {
    if (view_.alone()) return;
    const FarmView::Ranked was = before.rank(transaction.home);
    const FarmView::Ranked is = view_.rank(transaction.home);
    // Who is new was greeted already; a member that was alone kept no directory.
    const auto had_it = [&](std::uint16_t number) {
      if (number == core_.config.member && before.alone()) return false;
      const FarmMember* member = view_.find(number);
      return number == was.first || number == was.second || member == nullptr || !before.is_live(number, member->epoch);
    };
    if (!had_it(is.first)) copy_entry(transaction.key, self, is.first, now_ms, out);
    if (!had_it(is.second)) copy_entry(transaction.key, self, is.second, now_ms, out);
  });
  claim_again(now_ms, out);
}

void Engine::claim_again(std::int64_t now_ms, Output& out) {
  std::vector<Waiting> again;
  for (auto& [id, waiting] : waiting_) {
    if (waiting.is_cancel) continue;
    core_.wheel.cancel(waiting.timer);
    again.push_back(std::move(waiting));
  }
  std::erase_if(waiting_, [](const auto& entry) { return !entry.second.is_cancel; });
  claims_by_key_.clear();
  for (Waiting& waiting : again) {
    take_up(std::move(waiting.request), waiting.arrival, out,
            [&](MessageRef request) { return claim(std::move(request), waiting.arrival, now_ms, out, waiting.tries); });
  }
}

}  // namespace sipfarm::sip
