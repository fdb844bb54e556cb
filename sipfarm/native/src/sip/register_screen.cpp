#include "sip/register_screen.hpp"

#include <utility>

#include "sip/register_request.hpp"

namespace sipfarm::sip {

void RegisterScreen::admit(std::string domain, std::int64_t until_ms) {
  if (domains_.size() >= domains_max) domains_.clear();
  domains_.insert_or_assign(std::move(domain), until_ms);
}

void RegisterScreen::run(Engine& engine, Output& out, std::int64_t now_ms, std::int64_t wall_ms) {
  if (domains_.empty()) return;
  out.settle_events([&](const Event& event) {
    const std::string realm = realm_for(event, now_ms);
    if (realm.empty()) return false;
    lines_.clear();
    for (const std::string& challenge : guard_.challenges(realm, event.hop.remote, wall_ms, false)) {
      lines_ += "WWW-Authenticate: ";
      lines_ += challenge;
      lines_ += "\r\n";
    }
    engine.answer_statelessly(event.id, {401, {}, lines_, {}, {}}, now_ms, out);
    return true;
  });
}

std::string RegisterScreen::realm_for(const Event& event, std::int64_t now_ms) const {
  if (event.kind != EventKind::request || !event.message || event.message->method() != Method::register_) return {};
  const Message& request = *event.message;
  if (!request.to_tag().empty() || request.find(Header::authorization) != nullptr || request.find(Header::require) != nullptr) return {};
  std::string_view malformed;
  const auto found = read_registrant(request, own_, malformed);
  if (!found || !found->is_sip || (found->registrar.host != found->domain.host && !found->registrar.is_farm)) return {};
  const auto admitted = domains_.find(found->domain.host);
  return admitted != domains_.end() && now_ms < admitted->second ? admitted->first : std::string{};
}

}  // namespace sipfarm::sip
