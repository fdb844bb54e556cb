#include "sip/register_request.hpp"

#include <algorithm>
#include <utility>

#include "sip/compose.hpp"
#include "sip/headers.hpp"
#include "sip/limits.hpp"
#include "sip/text.hpp"

namespace sipfarm::sip {

namespace {

constexpr std::size_t uri_bytes_max = 1'024;
constexpr std::int64_t malformed_expires_s = 3'600;
constexpr std::uint16_t default_port = 5060;

/// Whether a URI's host is an IP address: a top label starts with a letter (RFC 3261 §25.1).
bool is_address(std::string_view host) noexcept {
  if (host.starts_with('[')) return true;
  const std::size_t dot = host.rfind('.');
  const std::string_view top = dot == std::string_view::npos ? host : host.substr(dot + 1);
  return !top.empty() && text::is(top[0], text::digit);
}

/// RFC 1918, RFC 6598 and link-local addresses: not reached from elsewhere.
bool is_private(std::string_view host) noexcept {
  for (const std::string_view prefix : {"10.", "192.168.", "169.254.", "[fe80:", "[fc", "[fd"}) {
    if (host.starts_with(prefix)) return true;
  }
  const bool shared = host.starts_with("100.");
  if (!shared && !host.starts_with("172.")) return false;
  const std::string_view rest = host.substr(4);
  const auto second = text::parse_u32(rest.substr(0, rest.find('.')));
  return second && (shared ? *second >= 64 && *second <= 127 : *second >= 16 && *second <= 31);
}

/// What a contact is held against to find out whether it can be believed (RFC 5626 §3.1).
struct Sender {
  std::string host;
  std::uint16_t port = 0;
  bool via_is_source = false;  // the top Via does not speak of a NAT

  Sender(const Message& request, const net::Hop& source) : host{source.remote.host()}, port{source.remote.port} {
    const Via& via = request.top_via();
    via_is_source = text::iequals(via.host, host) && (via.port == port || (via.port == 0 && port == default_port));
  }

  bool is_at(const Uri& contact) const noexcept { return contact.host == host && (contact.port != 0 ? contact.port : default_port) == port; }

  /// A Contact that is not the source is believed only where the Via is the source, and the Contact is an address that can be reached from here.
  bool believes(const Uri& contact) const noexcept {
    if (is_at(contact)) return true;
    return via_is_source && is_address(contact.host) && (contact.host == host || !is_private(contact.host) || is_private(host));
  }
};

void read_params(std::string_view params, RegisterContact& out) {
  ParamCursor cursor{params};
  for (Param param; cursor.next(param);) {
    if (text::iequals(param.name, "expires")) {
      const auto seconds = parse_delta_seconds(param.value);
      out.expires_s = seconds ? std::int64_t{*seconds} : malformed_expires_s;
    } else if (text::iequals(param.name, "q")) {
      out.q = parse_q(param.value).value_or(1'000);
    } else if (text::iequals(param.name, "+sip.instance")) {
      out.instance_id.clear();
      text::append_unquoted(out.instance_id, param.value);
    } else if (text::iequals(param.name, "reg-id")) {
      out.reg_id = parse_delta_seconds(param.value).value_or(0);
    }
  }
}

RegisterContact read_contact(std::string_view value, const Sender& sender, bool is_udp, const OwnAddresses& own) {
  RegisterContact out;
  const auto address = NameAddr::parse(value);
  const auto uri = address ? Uri::parse(address->uri) : std::nullopt;
  if (!uri) return out;
  if (!uri->is_sip()) {
    out.fitness = RegisterContact::Fitness::no_sip_uri;
    return out;
  }
  const std::string_view behind_user = uri->text.substr(uri->text.rfind('@') + 1);  // all of it where there is no user: npos + 1 is 0
  if (uri->text.size() > uri_bytes_max || behind_user.find('?') != std::string_view::npos) {
    out.fitness = RegisterContact::Fitness::no_request_uri;
    return out;
  }
  out.fitness = RegisterContact::Fitness::fit;
  out.uri = uri->text;
  append_contact_key(out.key, *uri);
  if (!uri->host.ends_with(".invalid")) out.place = place_of(*uri, own);  // RFC 7118 §5
  read_params(address->params, out);
  out.is_believed = is_udp && sender.believes(*uri);
  return out;
}

void read_path(const Message& request, RegisterContacts& out) {
  std::string scratch;
  HeaderCursor hops{request, Header::path};
  for (std::string_view value; hops.next(value);) {
    const std::string_view hop = text::unfolded(value, scratch);
    const auto address = NameAddr::parse(hop);
    const auto uri = address ? Uri::parse(address->uri) : std::nullopt;
    if (!uri) out.path_is_well_formed = false;
    out.edge_does_outbound = uri && uri->has_param("ob");
    out.path.emplace_back(hop);
  }
}

bool has_option_tag(const Message& request, Header header, std::string_view tag) noexcept {
  HeaderCursor tags{request, header};
  for (std::string_view value; tags.next(value);) {
    if (text::iequals(text::trim(value), tag)) return true;
  }
  return false;
}

bool has_one_via(const Message& request) noexcept {
  HeaderCursor vias{request, Header::via};
  std::string_view value;
  return vias.next(value) && !vias.next(value);
}

std::string_view uri_of_to(const Message& request, std::string& scratch) {
  const auto to = NameAddr::parse(text::unfolded(request.value(Header::to), scratch));
  return to ? to->uri : std::string_view{};
}

}  // namespace

Place place_of(const Uri& uri, const OwnAddresses& own) {
  Place out;
  text::append_lower(out.host, uri.host);
  if (out.host.ends_with('.')) out.host.pop_back();
  out.is_farm = own.include(out.host, uri.port);
  if (uri.port != 0 && !own.has_port(uri.port) && is_address(out.host)) out.host.clear();
  return out;
}

std::optional<Registrant> read_registrant(const Message& request, const OwnAddresses& own, std::string_view& malformed) {
  std::string scratch;
  const auto aor = Uri::parse(uri_of_to(request, scratch));
  const auto registrar = Uri::parse(request.request_uri());
  if (!aor || !registrar) {
    malformed = registrar ? "Malformed To" : "Malformed Request-URI";
    return std::nullopt;
  }
  Registrant out{aor->is_sip(), {}, place_of(*aor, own), place_of(*registrar, own)};
  const std::string canonical = aor->aor();
  constexpr std::size_t scheme_chars = 4;  // "sip:", or "tel:"
  const std::size_t at = canonical.rfind('@');
  if (at != std::string::npos && at > scheme_chars) out.user = canonical.substr(scheme_chars, at - scheme_chars);
  return out;
}

RegisterContacts read_contacts(const Message& request, const net::Hop& source, const OwnAddresses& own, std::size_t contacts_max) {
  RegisterContacts out;
  const Sender sender{request, source};
  std::string scratch;
  HeaderCursor values{request, Header::contact};
  for (std::string_view value; values.next(value);) {
    if (++out.count > contacts_max) continue;
    if (value == "*") {
      out.has_wildcard = true;
    } else {
      out.contacts.push_back(read_contact(text::unfolded(value, scratch), sender, source.transport == net::Transport::udp, own));
    }
  }
  if (const auto expires_s = parse_delta_seconds(request.value(Header::expires))) out.expires_s = *expires_s;
  read_path(request, out);
  out.supports_outbound = has_option_tag(request, Header::supported, "outbound");
  out.is_direct = out.path.empty() && has_one_via(request);
  return out;
}

void append_contact_key(std::string& out, const Uri& uri) {
  out += uri.scheme == Uri::Scheme::sips ? "sips" : "sip";
  const std::string aor = uri.aor();
  out.append(aor, 3);
  if (uri.port != 0) {
    out += ':';
    append_number(out, uri.port);
  }
  if (uri.params.empty()) return;
  std::vector<std::pair<std::string, std::string>> params;
  for (std::string_view rest = uri.params; !rest.empty();) {
    const std::size_t end = rest.find(';');
    const std::string_view param = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    if (param.empty()) continue;
    const std::size_t equals = param.find('=');
    auto& [name, value] = params.emplace_back();
    for (const char c : param.substr(0, equals)) name += text::to_lower(c);
    if (equals == std::string_view::npos) continue;
    text::append_unescaped(value, param.substr(equals + 1));
    for (char& c : value) c = text::to_lower(c);
  }
  std::stable_sort(params.begin(), params.end(), [](const auto& one, const auto& other) { return one.first < other.first; });
  for (std::size_t i = 0; i < params.size(); ++i) {
    if (i + 1 < params.size() && params[i + 1].first == params[i].first) continue;  // the last of one name counts
    out += ';';
    out += params[i].first;
    out += '=';
    out += params[i].second;
  }
}

}  // namespace sipfarm::sip
