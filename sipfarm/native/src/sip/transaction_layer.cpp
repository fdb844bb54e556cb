#include "sip/transaction_layer.hpp"

#include <bit>

#include "sip/compose.hpp"
#include "sip/text.hpp"

namespace sipfarm::sip {

namespace {

// The payload of a timer: two bits who (0 server, 1 client), six bits which, forty bits handle.
constexpr std::uint64_t server_payload(std::uint64_t handle) noexcept { return handle; }
constexpr std::uint64_t client_payload(std::uint64_t handle) noexcept { return (std::uint64_t{1} << 62) | handle; }
constexpr std::uint64_t with_timer(std::uint64_t base, Timer timer) noexcept {
  return base | (static_cast<std::uint64_t>(timer) << 56);
}
constexpr std::uint64_t handle_mask = (std::uint64_t{1} << 40) - 1;

/// A non-INVITE that no user answered: its client has given up long ago (RFC 3261 §17.1.2.2, timer F). Told apart from Timer J by the
/// state it fires in, as the clock of an unanswered INVITE is from Timer H.
constexpr std::int64_t unanswered_ms(const TransactionTimers& timers) noexcept { return 128 * timers.t1_ms; }

/// What is kept free for standing work, beside `limit`.
constexpr std::size_t reserve_of(std::size_t limit) noexcept { return limit / 8; }

constexpr std::size_t spare_max = 4'096;
constexpr std::size_t spare_bytes_max = 8'192;  // a larger buffer is not worth keeping

constexpr bool retransmits(Timer timer) noexcept { return timer == Timer::a || timer == Timer::e || timer == Timer::g; }

TimerId& slot_of(RunningTimers& timers, Timer timer) noexcept {
  if (timer == Timer::trying_100) return timers.trying;
  return retransmits(timer) ? timers.retransmit : timers.bound;
}

}  // namespace

std::uint64_t transaction_key(const SipKey& key, const Message& request, Method as) noexcept {
  constexpr std::string_view magic_cookie = "z9hG4bK";
  SipHasher hasher{key};
  const Via& via = request.top_via();
  hasher.add(request.call_id()).add(std::uint64_t{request.cseq()});
  if (via.branch.size() > magic_cookie.size() && via.branch.starts_with(magic_cookie)) {
    hasher.add(via.branch).add("\n").add(via.host).add(std::uint64_t{via.port});
  } else {
    hasher.add("2543\n").add(request.request_uri()).add("\n").add(request.from_tag()).add("\n").add(via.value);
  }
  if (as == Method::other) {
    hasher.add(request.method_text());
  } else {
    hasher.add(static_cast<std::uint64_t>(as));
  }
  return hasher.finish();
}

std::uint64_t merge_key(const SipKey& key, const Message& request) noexcept {
  if (!request.to_tag().empty()) return 0;
  SipHasher hasher{key};
  hasher.add("merge\n").add(request.call_id()).add("\n").add(request.from_tag()).add("\n").add(std::uint64_t{request.cseq()});
  return hasher.add(request.method_text()).finish();
}

TransactionLayer::TransactionLayer(TimerWheel& wheel, const TransactionTimers& timers, const SipKey& key, Limits limits)
    : wheel_{wheel},
      timers_{timers},
      key_{key},
      servers_{limits.server_transactions + reserve_of(limits.server_transactions)},
      clients_{limits.client_transactions + reserve_of(limits.client_transactions)},
      limits_{limits} {
  spare_.reserve(spare_max);
}

/// Fills a buffer that lives as long as its transaction needs it.
void TransactionLayer::keep(std::string& kept, std::string_view text) {
  if (kept.capacity() < text.size() && !spare_.empty()) {
    bytes_ -= kept.size();
    kept = std::move(spare_.back());
    spare_.pop_back();
    kept.clear();
  }
  bytes_ += text.size();
  bytes_ -= kept.size();
  kept.assign(text);
}

void TransactionLayer::release(std::string& kept) noexcept {
  bytes_ -= kept.size();
  kept.clear();
  if (kept.capacity() <= std::string{}.capacity()) return;
  if (spare_.size() < spare_max && kept.capacity() <= spare_bytes_max) spare_.push_back(std::move(kept));
  kept = std::string{};
}

bool TransactionLayer::has_room(std::size_t size, std::size_t limit, Work work) const noexcept {
  if (work == Work::fresh) return size < limit && bytes_ < limits_.bytes;
  return bytes_ < limits_.bytes + reserve_of(limits_.bytes);  // the table itself ends with the reserve
}

ServerTransaction* TransactionLayer::match_server(const Message& request, Method as, std::uint64_t& handle) noexcept {
  const std::uint64_t found = server_by_key_.find(transaction_key(key_, request, as));
  if (found == 0) return nullptr;
  handle = found;
  return servers_.find(handle);
}

ServerTransaction* TransactionLayer::open_server(MessageRef request, const net::Hop& source, std::int64_t now_ms, std::uint64_t& handle,
                                                 Work work) {
  ServerTransaction* transaction = has_room(servers_.size(), limits_.server_transactions, work) ? servers_.insert(handle) : nullptr;
  if (transaction == nullptr) return nullptr;
  transaction->machine = request->method() == Method::invite ? Machine::invite_server : Machine::non_invite_server;
  transaction->key = transaction_key(key_, *request, request->method());
  transaction->home = siphash(key_, request->call_id());
  transaction->source = source;
  transaction->reply_to = reply_hop(request->top_via(), source);
  transaction->request = std::move(request);
  server_by_key_.put(transaction->key, handle);
  const Step first = open_transaction(transaction->machine);
  transaction->state = first.next;
  run_timers(server_payload(handle), *transaction, first.actions, net::is_reliable(source.transport), now_ms);
  transaction->heard_ms = now_ms;
  const bool invite = transaction->machine == Machine::invite_server;
  transaction->timers.bound = wheel_.schedule(now_ms + (invite ? limits_.unanswered_ms : unanswered_ms(timers_)),
                                              with_timer(server_payload(handle), invite ? Timer::h : Timer::j));
  return transaction;
}

bool TransactionLayer::take_as_user_agent(std::uint64_t handle) {
  ServerTransaction* transaction = servers_.find(handle);
  if (transaction == nullptr || !transaction->request || transaction->status >= 200) return false;
  const std::uint64_t merge = merge_key(key_, *transaction->request);
  if (merge == 0) return true;
  const std::uint64_t first = user_agent_by_merge_.find(merge);
  if (first != 0 && first != handle) return false;
  transaction->merge = merge;
  user_agent_by_merge_.put(merge, handle);
  return true;
}

void TransactionLayer::receive_request(std::uint64_t handle, Input input, std::int64_t now_ms, Output& out) {
  ServerTransaction* transaction = servers_.find(handle);
  if (transaction == nullptr) return;
  step_server(handle, *transaction, input, {}, now_ms, out);
}

bool TransactionLayer::respond(std::uint64_t handle, std::string_view response, int status, std::int64_t now_ms, Output& out) {
  ServerTransaction* transaction = servers_.find(handle);
  if (transaction == nullptr) return false;
  const auto input = input_from_tu(transaction->machine, status);
  if (!input) return false;
  const Step next = step(transaction->machine, transaction->state, *input);
  if (next.next == transaction->state && next.actions == Action::none) return false;
  transaction->status = status;
  transaction->heard_ms = now_ms;
  step_server(handle, *transaction, *input, response, now_ms, out);
  return true;
}

void TransactionLayer::answer_statelessly(std::uint64_t handle, std::string_view response, Output& out) {
  ServerTransaction* transaction = servers_.find(handle);
  if (transaction == nullptr) return;
  out.send(transaction->reply_to, response);
  end_server(handle, *transaction);
}

void TransactionLayer::retransmit(std::uint64_t handle, Output& out) {
  const ServerTransaction* transaction = servers_.find(handle);
  if (transaction != nullptr && !transaction->response.empty()) out.send(transaction->reply_to, transaction->response);
}

void TransactionLayer::pass_success(std::uint64_t handle, std::string_view response, Output& out) {
  const ServerTransaction* transaction = servers_.find(handle);
  if (transaction != nullptr && transaction->state == State::accepted) out.send(transaction->reply_to, response);
}

ClientTransaction* TransactionLayer::open_client(Method method, User user, std::uint64_t user_id, std::uint64_t& handle, Work work) {
  ClientTransaction* transaction = has_room(clients_.size(), limits_.client_transactions, work) ? clients_.insert(handle) : nullptr;
  if (transaction == nullptr) return nullptr;
  if (!spare_.empty()) {
    transaction->request = std::move(spare_.back());
    spare_.pop_back();
    transaction->request.clear();
  }
  transaction->method = method;
  transaction->machine = method == Method::invite ? Machine::invite_client : Machine::non_invite_client;
  transaction->user = user;
  transaction->user_id = user_id;
  return transaction;
}

void TransactionLayer::start(std::uint64_t handle, std::int64_t now_ms, Output& out) {
  ClientTransaction* transaction = clients_.find(handle);
  if (transaction == nullptr) return;
  const Step first = open_transaction(transaction->machine);
  transaction->state = first.next;
  bytes_ += transaction->request.size();
  transaction->started = true;
  out.send(transaction->hop, transaction->request, handle, transaction->server);
  run_timers(client_payload(handle), *transaction, first.actions, net::is_reliable(transaction->hop.transport), now_ms);
}

bool TransactionLayer::receive_response(std::uint64_t handle, const Message& response, std::int64_t now_ms, Output& out) {
  ClientTransaction* transaction = clients_.find(handle);
  if (transaction == nullptr) return false;
  if (response.method() == Method::cancel && transaction->method == Method::invite) {
    const std::uint64_t cancel_handle = transaction->cancel;
    return cancel_handle != 0 && receive_response(cancel_handle, response, now_ms, out);
  }
  if (response.method() != transaction->method) return false;
  bool pass = false;
  step_client(handle, *transaction, input_from_wire(response.status()), &response, now_ms, out, nullptr, pass);
  return pass;
}

void TransactionLayer::cancel(std::uint64_t handle, std::string_view reason_lines, std::int64_t now_ms, Output& out) {
  ClientTransaction* invite = clients_.find(handle);
  if (invite == nullptr || invite->state != State::proceeding || invite->cancel != 0) return;
  if (!parsed_.parse(invite->request)) return;
  std::uint64_t cancel_handle = 0;
  ClientTransaction* transaction = open_client(Method::cancel, User::none, 0, cancel_handle, Work::standing);
  if (transaction == nullptr) return;
  invite->cancel = cancel_handle;
  transaction->hop = invite->hop;
  transaction->server = invite->server;
  append_cancel(transaction->request, parsed_, reason_lines);
  start(cancel_handle, now_ms, out);
}

void TransactionLayer::drop_client(std::uint64_t handle) {
  ClientTransaction* transaction = clients_.find(handle);
  if (transaction != nullptr) end_client(handle, *transaction);
}

void TransactionLayer::transport_failed(std::uint64_t handle, std::int64_t now_ms, Output& out, std::vector<Fired>& fired) {
  ClientTransaction* transaction = clients_.find(handle);
  if (transaction == nullptr) return;
  bool pass = false;
  step_client(handle, *transaction, Input::transport_error, nullptr, now_ms, out, &fired, pass);
}

void TransactionLayer::expire(std::uint64_t payload, std::int64_t now_ms, Output& out, std::vector<Fired>& fired) {
  const std::uint64_t handle = payload & handle_mask;
  const auto timer = static_cast<Timer>((payload >> 56) & 0x3f);
  if ((payload >> 62) == 0) {
    ServerTransaction* transaction = servers_.find(handle);
    if (transaction == nullptr) return;
    slot_of(transaction->timers, timer) = TimerId::none;
    const User user = transaction->user;
    const std::uint64_t user_id = transaction->user_id;
    if (timer == Timer::h && transaction->state == State::proceeding) {
      const std::int64_t until_ms = user == User::forward ? now_ms + limits_.unanswered_ms : transaction->heard_ms + limits_.unanswered_ms;
      if (until_ms > now_ms) {
        transaction->timers.bound = wheel_.schedule(until_ms, with_timer(server_payload(handle), timer));
      } else {
        fired.push_back({Fired::What::unanswered, handle, user, user_id, 0});
      }
      return;
    }
    if (timer == Timer::j && transaction->state != State::completed) {
      end_server(handle, *transaction);
    } else {
      step_server(handle, *transaction, input_of(timer), {}, now_ms, out);
    }
    transaction = servers_.find(handle);
    if (transaction == nullptr) {
      fired.push_back({Fired::What::server_ended, handle, user, user_id, 0});
      return;
    }
    if (retransmits(timer) && transaction->timers.retransmit == TimerId::none && transaction->state == State::completed) {
      transaction->timers.retransmit_ms = retransmit_ms(timer, transaction->state, transaction->timers.retransmit_ms, timers_);
      transaction->timers.retransmit =
          wheel_.schedule(now_ms + transaction->timers.retransmit_ms, with_timer(server_payload(handle), timer));
    }
    return;
  }
  ClientTransaction* transaction = clients_.find(handle);
  if (transaction == nullptr) return;
  slot_of(transaction->timers, timer) = TimerId::none;
  bool pass = false;
  step_client(handle, *transaction, input_of(timer), nullptr, now_ms, out, &fired, pass);
}

void TransactionLayer::step_server(std::uint64_t handle, ServerTransaction& transaction, Input input, std::string_view response,
                                   std::int64_t now_ms, Output& out) {
  const Step next = step(transaction.machine, transaction.state, input);
  transaction.state = next.next;
  if (has(next.actions, Action::send_response)) {
    transaction.provisional_sent = true;
    out.send(transaction.reply_to, response);
    // Who forwards a 2xx is not asked for it again: the callee repeats it (RFC 6026 §7.1).
    if (next.next == State::accepted && transaction.user == User::forward) {
      release(transaction.response);
    } else {
      keep(transaction.response, response);
    }
  }
  if (has(next.actions, Action::retransmit_response) && !transaction.response.empty()) out.send(transaction.reply_to, transaction.response);
  if (has(next.actions, Action::send_100) && transaction.request) {
    scratch_.clear();
    append_response(scratch_, *transaction.request, transaction.source, {100, {}, {}, {}, {}});
    keep(transaction.response, scratch_);
    transaction.provisional_sent = true;
    transaction.status = 100;
    out.send(transaction.reply_to, transaction.response);
  }
  if (next.next == State::completed || next.next == State::accepted) transaction.request.reset();
  if (has(next.actions, Action::terminate) || next.next == State::terminated) {
    end_server(handle, transaction);
    return;
  }
  run_timers(server_payload(handle), transaction, next.actions, net::is_reliable(transaction.source.transport), now_ms);
}

void TransactionLayer::step_client(std::uint64_t handle, ClientTransaction& transaction, Input input, const Message* response,
                                   std::int64_t now_ms, Output& out, std::vector<Fired>* fired, bool& pass) {
  const State before = transaction.state;
  const Step next = step(transaction.machine, before, input);
  transaction.state = next.next;
  if (has(next.actions, Action::retransmit_request)) out.send(transaction.hop, transaction.request, handle, transaction.server);
  if (has(next.actions, Action::send_ack) && response != nullptr) send_failure_ack(transaction, *response, before != State::completed, out);
  pass = has(next.actions, Action::pass_to_tu);
  if (fired != nullptr && has(next.actions, Action::report_timeout | Action::report_transport_error)) {
    const auto what = has(next.actions, Action::report_timeout) ? Fired::What::timeout : Fired::What::transport_error;
    fired->push_back({what, handle, transaction.user, transaction.user_id, transaction.branch_index});
  }
  if (has(next.actions, Action::terminate) || next.next == State::terminated) {
    end_client(handle, transaction);
    return;
  }
  const bool final = next.next == State::accepted || next.next == State::completed;
  if (final && !has(next.actions, Action::send_ack) && transaction.machine == Machine::non_invite_client) release(transaction.request);
  if (next.next == State::accepted) release(transaction.request);
  const bool reliable = net::is_reliable(transaction.hop.transport);
  run_timers(client_payload(handle), transaction, next.actions, reliable, now_ms);
  const bool fired_retransmission = input == Input::timer_a || input == Input::timer_e;
  if (fired_retransmission && transaction.timers.retransmit == TimerId::none) {
    const Timer timer = input == Input::timer_a ? Timer::a : Timer::e;
    transaction.timers.retransmit_ms = retransmit_ms(timer, before, transaction.timers.retransmit_ms, timers_);
    transaction.timers.retransmit = wheel_.schedule(now_ms + transaction.timers.retransmit_ms, with_timer(client_payload(handle), timer));
  }
}

/// RFC 3261 §17.1.1.3: the ACK has the INVITE's branch, and goes again with every repeat of the failure.
void TransactionLayer::send_failure_ack(ClientTransaction& transaction, const Message& response, bool first, Output& out) {
  if (first) {
    if (!parsed_.parse(transaction.request)) return;
    scratch_.clear();
    append_failure_ack(scratch_, parsed_, response.value(Header::to));
    keep(transaction.request, scratch_);
  }
  out.send(transaction.hop, transaction.request, 0, transaction.server);
}

void TransactionLayer::stop(TimerId& timer) noexcept {
  if (timer == TimerId::none) return;
  wheel_.cancel(timer);
  timer = TimerId::none;
}

template <typename Transaction>
void TransactionLayer::run_timers(std::uint64_t payload_base, Transaction& transaction, Action actions, bool reliable,
                                  std::int64_t now_ms) {
  RunningTimers& timers = transaction.timers;
  if (has(actions, Action::stop_100)) stop(timers.trying);
  if (has(actions, Action::stop_a | Action::stop_e | Action::stop_g)) stop(timers.retransmit);
  if (has(actions, Action::stop_b | Action::stop_f | Action::stop_h)) stop(timers.bound);
  constexpr auto first_start = static_cast<unsigned>(std::countr_zero(static_cast<std::uint32_t>(Action::start_100)));
  constexpr std::uint32_t all_timers = (1U << timer_count) - 1;
  for (std::uint32_t left = static_cast<std::uint32_t>(actions) >> first_start & all_timers; left != 0; left &= left - 1) {
    const auto timer = static_cast<Timer>(std::countr_zero(left));
    const bool again = retransmits(timer) && timers.retransmit_ms != 0;  // its next length is the caller's
    const auto length_ms = timer_ms(transaction.machine, timer, timers_, reliable);
    if (!length_ms || again) continue;
    TimerId& slot = slot_of(timers, timer);
    stop(slot);
    if (retransmits(timer)) timers.retransmit_ms = *length_ms;
    slot = wheel_.schedule(now_ms + *length_ms, with_timer(payload_base, timer));
  }
}

void TransactionLayer::stop_timers(RunningTimers& timers) noexcept {
  stop(timers.trying);
  stop(timers.retransmit);
  stop(timers.bound);
}

void TransactionLayer::end_server(std::uint64_t handle, ServerTransaction& transaction) {
  stop_timers(transaction.timers);
  release(transaction.response);
  if (server_by_key_.find(transaction.key) == handle) server_by_key_.erase(transaction.key);
  if (transaction.merge != 0) user_agent_by_merge_.erase(transaction.merge);
  servers_.erase(handle);
}

void TransactionLayer::end_client(std::uint64_t handle, ClientTransaction& transaction) {
  stop_timers(transaction.timers);
  if (!transaction.started) transaction.request.clear();  // it was not counted yet
  release(transaction.request);
  clients_.erase(handle);
}

}  // namespace sipfarm::sip
