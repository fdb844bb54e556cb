#include "registrar/express_lane.hpp"

#include <algorithm>
#include <utility>

#include "registrar/register_answer.hpp"
#include "registrar/register_update.hpp"

namespace sipfarm::registrar {

namespace {

constexpr std::size_t instance_chars_max = 256;   // as signaling/registrar.py has them
constexpr std::size_t user_agent_chars_max = 128;
constexpr std::size_t update_bytes = 512;  // more than most have

/// One byte a character, so that Python would write the same.
bool is_printable(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

/// Whom a REGISTER with credentials is for; nothing where it is one to be looked at.
std::optional<sip::Registrant> plain_registrant(const sip::Message& request, const sip::OwnAddresses& own) {
  if (request.method() != sip::Method::register_ || !request.to_tag().empty()) return std::nullopt;
  if (request.find(sip::Header::authorization) == nullptr) return std::nullopt;
  if (request.find(sip::Header::require) != nullptr || request.find(sip::Header::path) != nullptr) return std::nullopt;
  std::string_view malformed;
  auto found = sip::read_registrant(request, own, malformed);
  if (!found || !found->is_sip || found->domain.host.empty()) return std::nullopt;
  if (found->registrar.host != found->domain.host && !found->registrar.is_farm) return std::nullopt;
  return found;
}

std::string aor_of(const sip::Registrant& registrant) {
  std::string out = "sip:";
  out += registrant.user;
  out += '@';
  out += registrant.domain.host;
  return out;
}

/// What a REGISTER binds, where that is one contact that is no outbound registration.
std::optional<sip::RegisterContacts> plain_contact(const sip::Message& request, const net::Hop& source, const sip::OwnAddresses& own) {
  auto asked = sip::read_contacts(request, source, own, 1);
  if (asked.count != 1 || asked.contacts.size() != 1) return std::nullopt;
  const sip::RegisterContact& contact = asked.contacts[0];
  if (contact.fitness != sip::RegisterContact::Fitness::fit || contact.place.is_farm || contact.reg_id != 0) return std::nullopt;
  for (const std::string_view text : {std::string_view{contact.uri}, std::string_view{contact.key}, std::string_view{contact.instance_id},
                                      request.call_id(), request.value(sip::Header::user_agent)}) {
    if (!is_printable(text)) return std::nullopt;
  }
  return asked;
}

}  // namespace

void ExpressLane::begin_age(std::uint64_t age) {
  if (age == age_) return;
  age_ = age;
  accounts_.clear();
  order_.clear();
}

void ExpressLane::admit(const sip::Message& request, const net::Hop& source, const sip::Ha1s& ha1s, std::int64_t until_ms, std::uint64_t age) {
  begin_age(age);
  const auto registrant = plain_registrant(request, config_.own);
  const auto asked = registrant ? plain_contact(request, source, config_.own) : std::nullopt;
  if (!asked) return;
  const auto [at, is_new] = accounts_.try_emplace(aor_of(*registrant));
  at->second = {std::string{ha1s.md5}, std::string{ha1s.sha256}, asked->contacts[0].place.host, until_ms};
  if (!is_new) return;
  order_.push_back(&at->first);
  if (accounts_.size() <= config_.accounts_max) return;
  accounts_.erase(*order_.front());
  order_.pop_front();
}

void ExpressLane::run(sip::Engine& engine, sip::Output& out, std::int64_t now_ms, std::int64_t wall_ms, std::uint64_t age) {
  begin_age(age);
  if (accounts_.empty()) return;
  out.settle_events([&](const sip::Event& event) { return take_up(engine, out, event, now_ms, wall_ms); });
}

bool ExpressLane::take_up(sip::Engine& engine, sip::Output& out, const sip::Event& event, std::int64_t now_ms, std::int64_t wall_ms) {
  if (event.kind != sip::EventKind::request || !event.message) return false;
  const sip::Message& request = *event.message;
  const auto registrant = plain_registrant(request, config_.own);
  if (!registrant) return false;
  std::string aor = aor_of(*registrant);
  const auto account = accounts_.find(aor);
  if (account == accounts_.end() || account->second.until_ms <= now_ms) return false;
  auto asked = plain_contact(request, event.hop, config_.own);
  if (!asked) return false;
  const sip::RegisterContact& contact = asked->contacts[0];
  if (!contact.place.host.empty() && contact.place.host != account->second.contact_host) return false;
  const std::int64_t of_all_s = asked->expires_s < 0 ? config_.expires_default_s : asked->expires_s;
  const std::int64_t expires_s = contact.expires_s < 0 ? of_all_s : contact.expires_s;
  if (expires_s < config_.expires_min_s) return false;
  if (waiting_ >= config_.waiting_max) {
    ++counters_.crowded;
    return false;
  }
  if (!is_proven(*registrant, account->second, event, wall_ms)) return false;
  engine.prove(event.hop, now_ms, out);
  submit(engine, event, std::move(aor), std::move(*asked), std::min(expires_s, config_.expires_max_s), wall_ms);
  begun_.push_back({now_ms + writer_.timeout_ms(), event.id});
  ++waiting_;
  return true;
}

bool ExpressLane::is_proven(const sip::Registrant& registrant, const Account& account, const sip::Event& event, std::int64_t wall_ms) {
  sip::Credentials credentials;
  const std::string& realm = registrant.domain.host;
  if (guard_.find(*event.message, sip::Header::authorization, realm, credentials)) return false;
  std::string_view name = credentials.username;
  if (name.ends_with(realm) && name.size() > realm.size() && name[name.size() - realm.size() - 1] == '@') name.remove_suffix(realm.size() + 1);
  if (name != registrant.user) return false;
  return guard_.judge(credentials, {account.md5, account.sha256}, *event.message, event.hop, wall_ms) == sip::Verdict::accepted;
}

void ExpressLane::submit(const sip::Engine& engine, const sip::Event& event, std::string aor, sip::RegisterContacts asked, std::int64_t expires_s,
                         std::int64_t wall_ms) {
  const sip::Message& request = *event.message;
  sip::RegisterContact& contact = asked.contacts[0];
  contact.instance_id.resize(std::min(contact.instance_id.size(), instance_chars_max));
  std::string received, flow;
  if (asked.is_direct && !contact.is_believed) {
    received = net::uri_text(event.hop.transport);
    received += ':';
    event.hop.remote.append_to(received);
    if (event.hop.flow != 0 || config_.bound_to_receiver) flow = engine.mint_flow(event.hop.flow, received, event.hop.member);
  }
  const std::string_view user_agent = request.value(sip::Header::user_agent).substr(0, user_agent_chars_max);
  std::string update;
  update.reserve(update_bytes);
  append_update(update, {aor, request.call_id(), request.cseq(), contact, wall_ms + expires_s * 1'000, received, flow, user_agent, config_.bindings_max});
  writer_.submit({event.id, std::move(aor), std::move(update), wall_ms, store::monotonic_ms() + writer_.timeout_ms()}, outbox_);
}

ExpressLane::Told ExpressLane::take(sip::Engine& engine, sip::Output& out, std::int64_t now_ms, std::int64_t wall_ms) {
  Told told;
  for (store::BindingOutcome& outcome : outbox_->take()) {
    --waiting_;
    const std::uint64_t transaction = outcome.asked.ticket;
    const sip::ServerTransaction* found = engine.transactions().find_server(transaction);
    if (found == nullptr || !found->request) {  // it has waited too long, and was told so
      if (outcome.error.empty()) told.late.push_back(std::move(outcome.asked.aor));
      continue;
    }
    const store::Registered& registered = outcome.registered;
    const std::string_view bindings = registered.as_asked ? contacts_of(outcome.asked.update) : std::string_view{registered.bindings};
    const bool is_applied = registered.status == store::RegisterStatus::applied;
    const bool is_done = outcome.error.empty() && (is_applied || registered.status == store::RegisterStatus::repeated);
    if (is_done && answer(engine, transaction, bindings, now_ms, wall_ms, out)) {
      ++counters_.registered;
      if (is_applied) told.bound.push_back({std::move(outcome.asked.aor), std::string{bindings}});
    } else {
      ++counters_.left;
      told.left.push_back({found->request, found->source, std::move(outcome)});
    }
  }
  return told;
}

bool ExpressLane::answer(sip::Engine& engine, std::uint64_t transaction, std::string_view bindings, std::int64_t now_ms, std::int64_t wall_ms,
                         sip::Output& out) {
  lines_.clear();
  if (!append_contacts(lines_, bindings, wall_ms)) return false;
  if (wall_ms / 1'000 != date_s_) {
    date_s_ = wall_ms / 1'000;
    date_ = "Date: ";
    append_date(date_, wall_ms);
    date_ += "\r\n";
  }
  lines_ += config_.lines;
  lines_ += date_;
  engine.answer_statelessly(transaction, {200, {}, lines_, {}, {}}, now_ms, out);
  return true;
}

std::optional<std::int64_t> ExpressLane::next_deadline_ms() const noexcept {
  return begun_.empty() ? std::nullopt : std::optional{begun_.front().until_ms};
}

std::vector<std::uint64_t> ExpressLane::overdue(sip::Engine& engine, std::int64_t now_ms) {
  std::vector<std::uint64_t> out;
  while (!begun_.empty()) {
    const Waiting& oldest = begun_.front();
    const sip::ServerTransaction* found = engine.transactions().find_server(oldest.transaction);
    const bool is_unanswered = found != nullptr && found->request;
    if (is_unanswered && now_ms < oldest.until_ms) break;
    if (is_unanswered) out.push_back(oldest.transaction);
    begun_.pop_front();
  }
  return out;
}

}  // namespace sipfarm::registrar
