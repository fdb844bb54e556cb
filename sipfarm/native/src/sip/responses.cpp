#include "sip/compose.hpp"
#include "sip/forwarder.hpp"
#include "sip/headers.hpp"

namespace sipfarm::sip {

namespace {

constexpr int challenges_max = 64;
constexpr int flow_failed = 430;  // RFC 5626 §5.3, §11.5: a matter between proxies, never shown to a caller

bool is_challenge(int status) noexcept { return status == 401 || status == 407; }

/// Which of two final failures is the better answer (RFC 3261 §16.7 step 6): a 6xx, else the lowest class, and within 4xx one that
/// the caller can do something about. A branch that nobody answered says little, and so does a 503; one whose flow is gone says nothing.
int rank_of(int status) noexcept {
  if (status >= 600) return 0;
  if (status == flow_failed) return 99;
  int within = 1;
  if (is_challenge(status) || status == 415 || status == 420 || status == 484) within = 0;
  if (status == 408 || status == 503) within = 2;
  return (status / 100) * 10 + within;
}

}  // namespace

void Forwarder::receive_response(std::uint64_t handle, std::uint32_t index, const MessageRef& response, const net::Hop& source,
                                 std::int64_t now_ms, Output& out) {
  Fork* fork = forks_.find(handle);
  if (fork == nullptr || index >= fork->branches.size()) return;
  if (response->status() < 200) {
    receive_provisional(handle, *fork, index, *response, source, now_ms, out);
  } else if (response->status() < 300) {
    receive_success(handle, *fork, index, *response, source, now_ms, out);
  } else {
    receive_failure(handle, *fork, index, response, now_ms, out);
  }
}

void Forwarder::receive_provisional(std::uint64_t handle, Fork& fork, std::uint32_t index, const Message& response, const net::Hop& source,
                                    std::int64_t now_ms, Output& out) {
  Branch& branch = fork.branches[index];
  branch.provisional = true;
  if (branch.status != 0) return;
  if (branch.cancel_wanted) {  // now it may be sent (RFC 3261 §9.1)
    cancel_branch(handle, fork, index, {}, now_ms, out);
    return;
  }
  if (response.status() == 100) return;
  if (branch.clock != TimerId::none) {  // RFC 3261 §16.7 step 2
    core_.wheel.cancel(branch.clock);
    branch.clock = core_.wheel.schedule(now_ms + core_.config.timer_c_ms, payload(Clock::branch, handle, index));
  }
  if (fork.answered) return;
  const std::uint32_t leg = fork.in_dialog ? fork.leg : note_dialog(fork.call, branch.leg, response.to_tag());
  fork.answered_early = fork.answered_early || !response.body().empty();
  pass_response(fork, response, leg, fork.in_dialog ? Media::tentative : Media::first, source, now_ms, out);
}

void Forwarder::receive_success(std::uint64_t handle, Fork& fork, std::uint32_t index, const Message& response, const net::Hop& source,
                                std::int64_t now_ms, Output& out) {
  Branch& branch = fork.branches[index];
  const bool again = branch.status != 0;  // repeated, or of a fork further on: the first one has the relay
  branch.status = response.status();
  const std::uint32_t leg = fork.in_dialog ? fork.leg : note_dialog(fork.call, branch.leg, response.to_tag());
  if (fork.in_dialog && fork.refreshes_call && !again) note_targets(fork, response);
  pass_response(fork, response, leg, again ? Media::again : Media::first, source, now_ms, out);
  if (again) return;
  if (fork.invite && !fork.in_dialog) note_answer(fork, leg, response, now_ms, out);
  end_branch(fork, branch, now_ms, out);
  fork.answered = true;
  cancel_open(handle, fork, "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n", now_ms, out);
  settle(handle, now_ms, out);
}

void Forwarder::receive_failure(std::uint64_t handle, Fork& fork, std::uint32_t index, const MessageRef& response, std::int64_t now_ms,
                                Output& out) {
  Branch& branch = fork.branches[index];
  const int status = response->status();
  if (branch.status != 0) return;
  if (status == 503 && try_elsewhere(handle, index, now_ms, out)) return settle(handle, now_ms, out);
  branch.status = status;
  // That we ended a branch is nothing to tell a caller who did not.
  const bool ours = status == 487 && branch.cancel_wanted && !fork.cancelled;
  keep_best(fork, ours ? 408 : status, ours ? MessageRef{} : response);
  end_branch(fork, branch, now_ms, out);
  if (status >= 600) cancel_open(handle, fork, {}, now_ms, out);
  settle(handle, now_ms, out);
}

void Forwarder::pass_response(Fork& fork, const Message& response, std::uint32_t leg, Media media, const net::Hop& source,
                              std::int64_t now_ms, Output& out) {
  rewrite_.start(response);
  rewrite_.erase_first_value(Header::via);
  if (media != Media::none) {
    const rtp::Side from = fork.in_dialog ? rtp::opposite(fork.from) : rtp::Side::b;
    if (relay_sdp(fork.call, leg, from, media, source, response, now_ms, out) == SdpOutcome::rewritten) rewrite_.replace_body(body_);
  }
  if (is_challenge(response.status())) {  // RFC 3261 §16.7 step 7
    for (const MessageRef& other : fork.challenges) {
      if (&*other == &response) continue;
      lines_.clear();
      append_lines(lines_, *other, Header::www_authenticate);
      append_lines(lines_, *other, Header::proxy_authenticate);
      rewrite_.append(lines_);
    }
  }
  scratch_.clear();
  rewrite_.write(scratch_);
  transactions_.respond(fork.server, scratch_, response.status(), now_ms, out);
}

void Forwarder::keep_best(Fork& fork, int status, const MessageRef& response) {
  if (response && is_challenge(status) && fork.challenges.size() < challenges_max) fork.challenges.push_back(response);
  if (fork.best_status != 0 && rank_of(fork.best_status) <= rank_of(status)) return;
  fork.best_status = status;
  fork.best = response;
}

void Forwarder::fail_branch(std::uint64_t handle, std::uint32_t index, std::uint64_t client, int status, std::int64_t now_ms, Output& out) {
  const Fork* fork = forks_.find(handle);
  if (fork == nullptr || index >= fork->branches.size()) return;
  const Branch& branch = fork->branches[index];
  if (branch.client != client || branch.status != 0) return;
  if (status == 503 && !fork->in_dialog && branch.target.hop) status = flow_failed;  // the flow of a binding
  if (!try_elsewhere(handle, index, now_ms, out)) mark_failed(handle, index, status, now_ms, out);
  settle(handle, now_ms, out);
}

void Forwarder::mark_failed(std::uint64_t handle, std::uint32_t index, int status, std::int64_t now_ms, Output& out) {
  Fork* fork = forks_.find(handle);
  if (fork == nullptr || index >= fork->branches.size() || fork->branches[index].status != 0) return;
  Branch& branch = fork->branches[index];
  branch.status = status;
  keep_best(*fork, status, {});
  end_branch(*fork, branch, now_ms, out);
}

void Forwarder::end_branch(Fork& fork, Branch& branch, std::int64_t now_ms, Output& out) {
  if (fork.open > 0) --fork.open;
  core_.wheel.cancel(branch.clock);
  branch.clock = TimerId::none;
  if (!fork.in_dialog) {
    if (branch.status >= 300) drop_legs(fork.call, branch.leg, now_ms, out);
    return;
  }
  if (branch.status >= 300) take_offer_back(fork, now_ms, out);
  const bool gone = fork.refreshes_call && (branch.status == 408 || branch.status == 481);
  if (gone || (fork.ends_call && !is_challenge(branch.status))) {
    end_leg(fork.call, fork.leg, fork.from == rtp::Side::a ? "caller" : "callee", now_ms, out);
  }
}

void Forwarder::cancel(std::uint64_t handle, std::string_view reason_lines, std::int64_t now_ms, Output& out) {
  Fork* fork = forks_.find(handle);
  if (fork == nullptr || fork->answered || fork->cancelled) return;
  fork->cancelled = true;
  fork->options.more = false;
  cancel_open(handle, *fork, reason_lines, now_ms, out);
  settle(handle, now_ms, out);
}

void Forwarder::cancel_open(std::uint64_t handle, Fork& fork, std::string_view reason_lines, std::int64_t now_ms, Output& out) {
  for (std::uint32_t i = 0; i < fork.branches.size(); ++i) {
    if (fork.branches[i].status == 0) cancel_branch(handle, fork, i, reason_lines, now_ms, out);
  }
}

/// RFC 3261 §9.1: not before a provisional response came; 64*T1 after it the branch counts as cancelled.
void Forwarder::cancel_branch(std::uint64_t handle, Fork& fork, std::uint32_t index, std::string_view reason_lines, std::int64_t now_ms,
                              Output& out) {
  if (!fork.invite) return;
  Branch& branch = fork.branches[index];
  branch.cancel_wanted = true;
  if (branch.client == 0) {
    mark_failed(handle, index, fork.cancelled ? 487 : 408, now_ms, out);
    return;
  }
  if (!branch.provisional || branch.cancel_sent) return;
  branch.cancel_sent = true;
  transactions_.cancel(branch.client, reason_lines, now_ms, out);
  core_.wheel.cancel(branch.clock);
  branch.clock = core_.wheel.schedule(now_ms + 64 * core_.config.timers.t1_ms, payload(Clock::branch, handle, index));
}

void Forwarder::settle(std::uint64_t handle, std::int64_t now_ms, Output& out) {
  Fork* fork = forks_.find(handle);
  if (fork == nullptr || fork->open > 0) return;
  core_.wheel.cancel(fork->step);
  fork->step = TimerId::none;
  if (fork->answered) {
    if (!fork->invite) drop_fork(handle);  // an INVITE's fork stays for further 2xx until its server transaction ends
    return;
  }
  if (!fork->options.more || fork->best_status >= 600) {
    send_best(handle, *fork, now_ms, out);
    return;
  }
  Event event;
  event.kind = EventKind::exhausted;
  event.id = fork->server;
  event.call = fork->call;
  event.status = static_cast<std::uint16_t>(fork->best_status);
  event.text = lost_flows_of(*fork);
  out.events.push_back(std::move(event));
  fork->step = core_.wheel.schedule(now_ms + 64 * core_.config.timers.t1_ms, payload(Clock::step, handle));
}

/// The branches of the step, counted from its first one, whose flow proved dead: "0,2".
std::string Forwarder::lost_flows_of(const Fork& fork) {
  std::string lost;
  for (std::size_t i = fork.step_first; i < fork.branches.size(); ++i) {
    if (fork.branches[i].status != flow_failed) continue;
    if (!lost.empty()) lost += ',';
    append_number(lost, i - fork.step_first);
  }
  return lost;
}

void Forwarder::finish(std::uint64_t server, std::int64_t now_ms, Output& out) {
  const ServerTransaction* transaction = transactions_.find_server(server);
  if (transaction == nullptr || transaction->user != User::forward) return;
  Fork* fork = forks_.find(transaction->user_id);
  if (fork == nullptr) return;
  fork->options.more = false;
  settle(transaction->user_id, now_ms, out);
}

void Forwarder::send_best(std::uint64_t handle, Fork& fork, std::int64_t now_ms, Output& out) {
  const bool unreached = fork.best_status == 0 || (fork.best_status == flow_failed && !fork.in_dialog);
  const int status = fork.cancelled ? 487 : unreached ? 480 : fork.best_status;
  if (!fork.in_dialog) note_failure(fork, status, now_ms, out);
  // Another's 503 would make the caller shun the whole farm (RFC 3261 §16.7 step 6).
  if (status == 503 && fork.no_ports) {
    answer(fork.server, status, "Retry-After: 5\r\n", now_ms, out);
  } else if (fork.best && fork.best_status == status && status != 503) {
    const MessageRef best = fork.best;
    pass_response(fork, *best, Fork::no_leg, Media::none, {}, now_ms, out);
  } else {
    answer(fork.server, status == 503 ? 500 : status, {}, now_ms, out);
  }
  drop_fork(handle);
}

void Forwarder::drop_fork(std::uint64_t handle) {
  Fork* fork = forks_.find(handle);
  if (fork == nullptr) return;
  core_.wheel.cancel(fork->step);
  for (Branch& branch : fork->branches) {
    core_.wheel.cancel(branch.clock);
    // Nothing else would end an INVITE that rings on, cancelled too late.
    if (branch.status == 0 && branch.client != 0) transactions_.drop_client(branch.client);
  }
  ServerTransaction* server = transactions_.find_server(fork->server);
  if (server != nullptr && server->user == User::forward) server->user = User::none;
  forks_.erase(handle);
}

void Forwarder::server_ended(std::uint64_t handle, std::int64_t now_ms, Output& out) {
  Fork* fork = forks_.find(handle);
  if (fork == nullptr) return;
  if (!fork->answered && !fork->in_dialog) note_failure(*fork, 408, now_ms, out);
  drop_fork(handle);
}

/// The time of a step is over: what rings is cancelled, and what was never heard of is waited for no longer.
void Forwarder::end_step(std::uint64_t handle, Fork& fork, std::int64_t now_ms, Output& out) {
  fork.step = TimerId::none;
  if (fork.open == 0) {
    fork.options.more = false;  // no answer to `exhausted`
  } else {
    cancel_open(handle, fork, "Reason: SIP;cause=408;text=\"No answer\"\r\n", now_ms, out);
    for (std::uint32_t i = 0; i < fork.branches.size(); ++i) {
      if (fork.branches[i].status != 0 || fork.branches[i].provisional) continue;
      transactions_.drop_client(fork.branches[i].client);
      mark_failed(handle, i, 408, now_ms, out);
    }
  }
  settle(handle, now_ms, out);
}

void Forwarder::expire(std::uint64_t payload_of_timer, std::int64_t now_ms, Output& out) {
  const auto clock = static_cast<Clock>((payload_of_timer >> 60) & 3);
  const std::uint64_t handle = payload_of_timer & ((std::uint64_t{1} << 40) - 1);
  if (clock == Clock::call) return end_call(handle, "limit", now_ms, out);
  if (clock == Clock::query) return resolved(handle, {}, now_ms, out);
  Fork* fork = forks_.find(handle);
  if (fork == nullptr) return;
  if (clock == Clock::step) return end_step(handle, *fork, now_ms, out);
  const auto index = static_cast<std::uint32_t>((payload_of_timer >> 40) & 0xffff);
  if (index >= fork->branches.size() || fork->branches[index].status != 0) return;
  Branch& branch = fork->branches[index];
  branch.clock = TimerId::none;
  if (branch.provisional && !branch.cancel_wanted) {  // RFC 3261 §16.8
    cancel_branch(handle, *fork, index, "Reason: SIP;cause=408;text=\"Timer C\"\r\n", now_ms, out);
    return;
  }
  transactions_.drop_client(branch.client);
  mark_failed(handle, index, fork->cancelled ? 487 : 408, now_ms, out);
  settle(handle, now_ms, out);
}

}  // namespace sipfarm::sip
