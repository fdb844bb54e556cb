#include <algorithm>

#include "sip/compose.hpp"
#include "sip/forwarder.hpp"
#include "sip/headers.hpp"
#include "sip/text.hpp"

namespace sipfarm::sip {

namespace {

constexpr std::size_t branches_max = 64;
constexpr std::size_t queries_max = 10'000;

/// What of a request decides where it is sent, for loop detection (RFC 5393 §4.2.1).
std::uint64_t loop_of(const SipKey& key, const Message& request) noexcept {
  SipHasher hasher{key};
  hasher.add(request.request_uri()).add("\n").add(request.from_tag()).add("\n").add(request.to_tag()).add("\n").add(request.call_id());
  hasher.add(std::uint64_t{request.cseq()}).add(request.value(Header::proxy_require)).add("\n");
  for (const Line& line : request.lines()) {
    if (line.header == Header::route) hasher.add(request.value(line)).add(",");
  }
  return hasher.finish();
}

/// Does a Via of the farm's, from whichever member, say that the request was here on the same errand? The hash is keyed, so its text alone
/// tells.
bool has_looped(const Message& request, std::uint64_t loop) {
  std::string looked_for = ".";
  append_hex(looked_for, loop, loop_chars);
  for (const Line& line : request.lines()) {
    if (line.header == Header::via && request.value(line).find(looked_for) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

void Fork::clear() {
  server = call = 0;
  invite = in_dialog = cancelled = answered = ends_call = no_ports = refreshes_call = false;
  from = rtp::Side::a;
  leg = no_leg;
  breadth = 0;
  best_status = 0;
  open = step_first = 0;
  loop = 0;
  best.reset();
  challenges.clear();
  route = {};
  options.remove.clear();
  options.add.clear();
  before.clear();
  offers = answered_early = false;
  branches.clear();
  step = TimerId::none;
}

Forwarder::Forwarder(Core& core, TransactionLayer& transactions)
    : core_{core}, transactions_{transactions}, forks_{core.config.transactions_max + core.config.transactions_max / 8}, calls_{core.config.calls_max}, own_{core.config.transactions_max} {}

void Forwarder::answer(std::uint64_t server, int status, std::string_view headers, std::int64_t now_ms, Output& out) {
  const ServerTransaction* transaction = transactions_.find_server(server);
  if (transaction == nullptr || !transaction->request) return;
  std::string tag;
  if (status > 100) core_.keys.append(tag, MarkKind::tag, core_.own_mark(server), transaction->request->call_id());
  scratch_.clear();
  append_response(scratch_, *transaction->request, transaction->source, {status, {}, tag, headers, {}});
  transactions_.respond(server, scratch_, status, now_ms, out);
}

Fork* Forwarder::open_fork(std::uint64_t server, ServerTransaction& transaction, std::uint64_t& handle) {
  Fork* fork = forks_.insert(handle);
  if (fork == nullptr) return nullptr;
  fork->server = server;
  fork->invite = transaction.request->method() == Method::invite;
  transaction.user = User::forward;
  transaction.user_id = handle;
  return fork;
}

/// RFC 3261 §16.3 steps 3, 4 and 5: the status to refuse with, or 0. `fork` is given for what may loop.
int Forwarder::refusal_of(const Message& request, const Fork* fork, std::string& headers) const {
  if (request.max_forwards() == 0) return 483;
  if (request.find(Header::proxy_require) != nullptr) {
    for (const Line& line : request.lines()) {
      if (line.header != Header::proxy_require) continue;
      headers += "Unsupported: ";
      headers += request.value(line);
      headers += "\r\n";
    }
    return 420;
  }
  return fork != nullptr && has_looped(request, fork->loop) ? 482 : 0;
}

/// The fork of a request's first targets; false where the request was answered instead.
bool Forwarder::open_first(std::uint64_t server, ServerTransaction& transaction, std::uint64_t& handle, std::int64_t now_ms, Output& out) {
  const auto refuse = [&](int status, std::string_view headers) {
    transaction.user = User::none;
    forks_.erase(handle);
    answer(server, status, headers, now_ms, out);
    return false;
  };
  if (transaction.cancelled) {  // while Python made up its mind
    answer(server, 487, {}, now_ms, out);
    return false;
  }
  Fork* fork = open_fork(server, transaction, handle);
  if (fork == nullptr) return refuse(503, "Retry-After: 5\r\n");
  const Message& request = *transaction.request;
  fork->loop = loop_of(core_.config.transaction_key, request);
  fork->breadth = core_.config.max_breadth;
  if (const Line* line = request.find(Header::max_breadth)) {
    fork->breadth = std::min(fork->breadth, text::parse_u32(request.value(*line)).value_or(fork->breadth));
  }
  std::string headers;
  const int refused = refusal_of(request, fork, headers);
  if (refused != 0) return refuse(refused, headers);
  if (!fork->invite) return true;
  if (open_call(request, transaction.source, now_ms, fork->call) == nullptr) return refuse(503, "Retry-After: 5\r\n");
  if (!transaction.provisional_sent) answer(server, 100, {}, now_ms, out);
  return true;
}

void Forwarder::forward(std::uint64_t server, std::span<const Target> targets, const ForwardOptions& options, std::int64_t now_ms,
                        Output& out) {
  ServerTransaction* transaction = transactions_.find_server(server);
  if (transaction == nullptr || !transaction->request || transaction->status >= 200) return;
  std::uint64_t handle = transaction->user_id;
  if (transaction->user != User::forward && !open_first(server, *transaction, handle, now_ms, out)) return;
  Fork* fork = forks_.find(handle);
  if (fork == nullptr || fork->in_dialog || fork->cancelled || fork->answered) return;
  fork->options = options;
  core_.wheel.cancel(fork->step);
  fork->step = TimerId::none;
  const std::size_t first = fork->step_first = fork->branches.size();
  for (const Target& target : targets.first(std::min(targets.size(), branches_max - first))) add_branch(*fork, target);
  share_breadth(handle, first, now_ms, out);
  for (std::size_t i = first; i < fork->branches.size(); ++i) {
    if (fork->branches[i].status == 0) launch(handle, static_cast<std::uint32_t>(i), now_ms, out);
  }
  if (options.step_ms > 0 && fork->open > 0) fork->step = core_.wheel.schedule(now_ms + options.step_ms, payload(Clock::step, handle));
  settle(handle, now_ms, out);
}

void Forwarder::add_branch(Fork& fork, const Target& target) {
  Branch& branch = fork.branches.emplace_back();
  branch.target = target;
  branch.breadth = 0;
  ++fork.open;
  if (Call* call = calls_.find(fork.call)) {
    branch.leg = static_cast<std::uint32_t>(call->legs.size());
    call->legs.emplace_back().media = branch.leg;
  }
}

/// RFC 5393 §5.3.3: what open branches do not hold is shared among the new ones; who gets nothing is not tried.
void Forwarder::share_breadth(std::uint64_t handle, std::size_t first, std::int64_t now_ms, Output& out) {
  Fork& fork = *forks_.find(handle);
  std::uint32_t held = 0;
  for (std::size_t i = 0; i < first; ++i) held += fork.branches[i].status == 0 ? fork.branches[i].breadth : 0;
  std::uint32_t free = fork.breadth > held ? fork.breadth - held : 0;
  for (std::size_t i = first; i < fork.branches.size(); ++i) {
    const auto left = static_cast<std::uint32_t>(fork.branches.size() - i);
    Branch& branch = fork.branches[i];
    branch.breadth = (free + left - 1) / left;
    free -= branch.breadth;
    if (branch.breadth == 0) mark_failed(handle, static_cast<std::uint32_t>(i), 440, now_ms, out);
  }
}

bool Forwarder::locate(const Fork& fork, const Branch& branch, NextHop& next) const {
  if (fork.in_dialog) {
    const ServerTransaction* server = transactions_.find_server(fork.server);
    return server != nullptr && server->request && locate_in_dialog(*server->request, fork.route, next);
  }
  if (branch.target.hop) {
    next.known = true;
    next.hop = *branch.target.hop;
    return true;
  }
  std::string_view text = branch.target.uri;
  if (!branch.target.route.empty()) {
    ValueCursor routes{branch.target.route};
    std::string_view first;
    const auto name_addr = routes.next(first) ? NameAddr::parse(first) : std::nullopt;
    if (!name_addr) return false;
    text = name_addr->uri;
  }
  const auto uri = Uri::parse(text);
  const auto found = uri ? next_hop_of(core_.config, *uri) : std::nullopt;
  if (!found) return false;
  next = *found;
  return true;
}

/// Asks for a name's addresses; false at the limit. Whoever waits is told in the end, by the clock if nobody answers.
bool Forwarder::ask(Query query, const NextHop& next, std::int64_t now_ms, Output& out) {
  if (queries_.size() >= queries_max) return false;
  const std::uint64_t id = next_query_++ & OwnerMark::handle_max;
  query.clock = core_.wheel.schedule(now_ms + 64 * core_.config.timers.t1_ms, payload(Clock::query, id));
  query.name = next.host;
  queries_.insert_or_assign(id, std::move(query));
  Event event;
  event.kind = EventKind::resolve;
  event.id = id;
  event.hop = next.hop;
  event.text = next.host;
  event.number = next.port;
  event.chosen = next.chosen;
  out.events.push_back(std::move(event));
  return true;
}

void Forwarder::launch(std::uint64_t handle, std::uint32_t index, std::int64_t now_ms, Output& out) {
  Fork& fork = *forks_.find(handle);
  Way& way = fork.branches[index].way;
  NextHop next;
  if (!locate(fork, fork.branches[index], next)) {
    mark_failed(handle, index, 416, now_ms, out);
  } else if (next.known) {
    way.given = fork.in_dialog ? fork.route.flow.has_value() : fork.branches[index].target.hop.has_value();
    way.hop = next.hop;
    start_branch(handle, index, now_ms, out);
  } else if (!ask({handle, index, TimerId::none, {}, {}, {}, {}}, next, now_ms, out)) {
    mark_failed(handle, index, 503, now_ms, out);
  }
}

void Forwarder::resolved(std::uint64_t id, std::span<const net::Hop> found, std::int64_t now_ms, Output& out) {
  const auto asked = queries_.find(id);
  if (asked == queries_.end()) return;
  Query query = std::move(asked->second);
  queries_.erase(asked);
  core_.wheel.cancel(query.clock);
  if (query.own) return own_resolved(std::move(*query.own), std::move(query.name), found, now_ms, out);
  if (query.ack) {
    const OwnRoute route = own_route_of(core_, *query.ack);
    if (found.empty() || !route.mark) return core_.counters.drop(Drop::unanswerable);
    send_ack(*query.ack, query.source, route, found.front(), query.name, now_ms, out);
    return;
  }
  Fork* fork = forks_.find(query.fork);
  if (fork == nullptr || query.branch >= fork->branches.size() || fork->branches[query.branch].status != 0) return;
  Branch& branch = fork->branches[query.branch];
  if (found.empty()) {
    mark_failed(query.fork, query.branch, 503, now_ms, out);
  } else {
    branch.way.lead_to(std::move(query.name), found);
    start_branch(query.fork, query.branch, now_ms, out);
  }
  settle(query.fork, now_ms, out);
}

void Forwarder::start_branch(std::uint64_t handle, std::uint32_t index, std::int64_t now_ms, Output& out) {
  Fork& fork = *forks_.find(handle);
  ServerTransaction* server = transactions_.find_server(fork.server);
  std::uint64_t client = 0;
  const Work work = fork.in_dialog ? Work::standing : Work::fresh;
  ClientTransaction* transaction = server != nullptr && server->request
                                       ? transactions_.open_client(server->request->method(), User::forward, handle, client, work)
                                       : nullptr;
  if (transaction == nullptr) {
    mark_failed(handle, index, 503, now_ms, out);
    return;
  }
  Branch& branch = fork.branches[index];
  transaction->branch_index = index;
  const bool composed = compose_for(branch.way, core_.config, *transaction, [&](const net::Hop& hop, std::string& wire) {
    return compose(fork, branch, *server, hop, client, now_ms, out, wire);
  });
  if (!composed) {
    transactions_.drop_client(client);
    mark_failed(handle, index, 503, now_ms, out);
    return;
  }
  branch.client = client;
  if (fork.invite) branch.clock = core_.wheel.schedule(now_ms + core_.config.timer_c_ms, payload(Clock::branch, handle, index));
  ++core_.counters.forwarded;
  transactions_.start(client, now_ms, out);
}

/// Another way for a branch whose next hop has failed: UDP after TCP, the name's next address, or where the flow of a dialog is gone the
/// far end's own address. False where there is none.
bool Forwarder::try_elsewhere(std::uint64_t handle, std::uint32_t index, std::int64_t now_ms, Output& out) {
  Fork& fork = *forks_.find(handle);
  Branch& branch = fork.branches[index];
  const ServerTransaction* server = transactions_.find_server(fork.server);
  if (server == nullptr || !server->request || fork.answered || fork.cancelled || branch.cancel_wanted) return false;
  if (!branch.way.turn()) {
    if (!fork.in_dialog || !fork.route.flow) return false;
    fork.route.flow.reset();
    NextHop next;
    if (!locate(fork, branch, next) || !next.known || next.hop.remote == branch.way.hop.remote) return false;
    branch.way = {};
    branch.way.hop = next.hop;
  }
  core_.wheel.cancel(branch.clock);
  branch.clock = TimerId::none;
  branch.provisional = false;
  start_branch(handle, index, now_ms, out);
  return true;
}

}  // namespace sipfarm::sip
