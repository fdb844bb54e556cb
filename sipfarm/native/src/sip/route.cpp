#include "sip/route.hpp"

#include <charconv>
#include <span>
#include <vector>

#include "sip/compose.hpp"
#include "sip/headers.hpp"
#include "sip/text.hpp"

namespace sipfarm::sip {

namespace {

/// RFC 3261 §19.1.2, RFC 7118 §5.
std::uint16_t default_port(net::Transport transport) noexcept {
  switch (transport) {
    case net::Transport::tls: return 5061;
    case net::Transport::ws: return 80;
    case net::Transport::wss: return 443;
    default: return 5060;
  }
}

constexpr int popped_max = 32;  // Route values of ours that are looked at in one request

bool take_hex(std::string_view& text, int digits, std::uint64_t& value) noexcept {
  if (text.size() < static_cast<std::size_t>(digits)) return false;
  const char* const end = text.data() + digits;
  const auto [stop, error] = std::from_chars(text.data(), end, value, 16);
  if (error != std::errc{} || stop != end) return false;
  text.remove_prefix(static_cast<std::size_t>(digits));
  return true;
}

/// What a Record-Route mark is bound to: it opens in no other dialog, and with no other flow.
class MarkContext {
 public:
  MarkContext(std::string_view call_id, std::string_view flow, std::string_view caller_tag) {
    const std::size_t size = call_id.size() + flow.size() + caller_tag.size() + 2;
    char* const begin = size <= near_.size() ? near_.data() : (far_.resize(size), far_.data());
    char* end = std::copy(call_id.begin(), call_id.end(), begin);
    *end++ = ' ';
    end = std::copy(flow.begin(), flow.end(), end);
    *end++ = ' ';
    std::copy(caller_tag.begin(), caller_tag.end(), end);
    text_ = {begin, size};
  }
  MarkContext(const MarkContext&) = delete;
  MarkContext& operator=(const MarkContext&) = delete;
  std::string_view text() const noexcept { return text_; }

 private:
  std::array<char, 256> near_;
  std::string far_;  // for a Call-ID or tag of unusual length
  std::string_view text_;
};

/// The mark and the flow of a URI that may be a Record-Route of ours.
struct OwnUri {
  std::optional<OwnerMark> mark;
  std::string_view flow;
  Party from = Party::unknown;
};

OwnUri open_record_route(const Core& core, const Uri& uri, const Message& request) {
  OwnUri own;
  if (uri.user.size() != mark_chars) return own;
  own.flow = uri.param("flow").value_or(std::string_view{});
  const auto open = [&](std::string_view caller_tag) {
    return core.keys.open(MarkKind::record_route, uri.user, MarkContext{request.call_id(), own.flow, caller_tag}.text());
  };
  own.mark = open(request.from_tag());
  own.from = own.mark ? Party::caller : Party::unknown;
  if (own.mark || request.to_tag() == request.from_tag()) return own;
  own.mark = open(request.to_tag());
  own.from = own.mark ? Party::callee : Party::unknown;
  return own;
}

/// Where Route changes by more than what is popped: a strict router behind us gets its URI as the Request-URI.
std::optional<Onward> written_anew(std::string_view target, std::span<const std::string_view> routes) {
  Onward onward;
  onward.request_uri = onward.next = target;
  onward.rewritten = true;
  bool strict = false;
  if (!routes.empty()) {
    const auto first = NameAddr::parse(routes.front());
    const auto uri = first ? Uri::parse(first->uri) : std::nullopt;
    if (!uri) return std::nullopt;
    onward.next = first->uri;
    strict = !uri->is_loose_router();
  }
  if (strict) {
    onward.request_uri = onward.next;
    routes = routes.subspan(1);
  }
  for (const std::string_view value : routes) {
    if (!onward.route.empty()) onward.route += ", ";
    onward.route += value;
  }
  if (!strict) return onward;
  if (!onward.route.empty()) onward.route += ", ";
  onward.route += '<';
  onward.route += target;
  onward.route += '>';
  return onward;
}

}  // namespace

std::optional<std::uint16_t> local_for(const EngineConfig& config, net::Transport transport, bool v6) noexcept {
  for (std::size_t i = 0; i < config.listens.size(); ++i) {
    const Listen& listen = config.listens[i];
    if (listen.transport == transport && listen.bound.v6 == v6) return static_cast<std::uint16_t>(i);
  }
  return std::nullopt;
}

bool is_ours(const EngineConfig& config, std::string_view host, std::uint16_t port) noexcept {
  const auto literal = net::Address::parse(host, 0);
  for (const Listen& listen : config.listens) {
    const std::uint16_t given = port != 0 ? port : default_port(listen.transport);
    if (given == listen.port && text::iequals(host, listen.host)) return true;
    if (literal && given == listen.bound.port && literal->same_ip(listen.bound)) return true;
  }
  return false;
}

std::optional<net::Transport> transport_of(const Uri& uri) noexcept {
  const std::string_view name = uri.param("transport").value_or("");
  const bool secure = uri.scheme == Uri::Scheme::sips;
  if (name.empty()) return secure ? net::Transport::tls : net::Transport::udp;
  if (text::iequals(name, "udp")) return net::Transport::udp;
  if (text::iequals(name, "tcp")) return secure ? net::Transport::tls : net::Transport::tcp;
  if (text::iequals(name, "tls")) return net::Transport::tls;
  if (text::iequals(name, "ws")) return secure ? net::Transport::wss : net::Transport::ws;
  if (text::iequals(name, "wss")) return net::Transport::wss;
  return std::nullopt;
}

net::Hop sending_hop(const EngineConfig& config, const net::Hop& hop) noexcept {
  net::Hop sending = hop;
  const bool fits = hop.local < config.listens.size() && config.listens[hop.local].transport == hop.transport &&
                    config.listens[hop.local].bound.v6 == hop.remote.v6;
  if (!fits) sending.local = local_for(config, hop.transport, hop.remote.v6).value_or(hop.local);
  return sending;
}

std::optional<NextHop> next_hop_of(const EngineConfig& config, const Uri& uri) noexcept {
  if (!uri.is_sip() || uri.host.empty()) return std::nullopt;
  const auto transport = transport_of(uri);
  const bool secure = uri.scheme == Uri::Scheme::sips;
  if (!transport || (secure && !net::is_secure(*transport))) return std::nullopt;  // RFC 3261 §26.2.2
  NextHop next;
  next.hop.transport = *transport;
  next.host = uri.host;
  next.port = uri.port;
  next.chosen = uri.param("transport").has_value();
  const auto address = net::Address::parse(uri.host, uri.port != 0 ? uri.port : default_port(*transport));
  if (address) {
    next.known = true;
    next.hop.remote = *address;
  }
  const auto local = local_for(config, *transport, address && address->v6);
  const bool fixed = next.known || next.chosen || next.port != 0;
  if (!local && !net::is_reliable(*transport) && fixed) return std::nullopt;
  next.hop.local = local.value_or(0);
  return next;
}

bool needs_flow(const Message& request, const net::Hop& source) noexcept {
  if (request.find(Header::record_route) != nullptr) return false;  // the neighbour is a proxy that stays in the path
  if (net::is_reliable(source.transport)) return true;
  const auto contact = NameAddr::parse(request.value(Header::contact));
  const auto uri = contact ? Uri::parse(contact->uri) : std::nullopt;
  if (!uri) return false;
  const auto address = net::Address::parse(uri->host, uri->port != 0 ? uri->port : std::uint16_t{5060});
  return !address || *address != source.remote;
}

void append_flow(std::string& out, const net::Hop& hop, const EngineConfig& config) {
  append_hex(out, static_cast<std::uint64_t>(hop.transport), 1);
  append_hex(out, hop.local, 2);
  const bool through_us = hop.member == 0 && (hop.flow != 0 || config.reply_via_receiver);
  append_hex(out, through_us ? config.member : hop.member, 4);
  append_hex(out, hop.flow, 8);
  append_hex(out, hop.remote.port, 4);
  const int bytes = hop.remote.v6 ? 16 : 4;
  for (int i = 0; i < bytes; ++i) append_hex(out, hop.remote.ip[static_cast<std::size_t>(i)], 2);
}

std::optional<net::Hop> parse_flow(std::string_view text, std::uint16_t own_member) noexcept {
  if (text.size() != 19 + 8 && text.size() != 19 + 32) return std::nullopt;
  std::array<std::uint64_t, 5> fields{};
  constexpr std::array<int, 5> digits = {1, 2, 4, 8, 4};
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (!take_hex(text, digits[i], fields[i])) return std::nullopt;
  }
  if (fields[0] > static_cast<std::uint64_t>(net::Transport::wss)) return std::nullopt;
  net::Hop hop;
  hop.transport = static_cast<net::Transport>(fields[0]);
  hop.local = static_cast<std::uint16_t>(fields[1]);
  hop.member = fields[2] == own_member ? std::uint16_t{0} : static_cast<std::uint16_t>(fields[2]);
  hop.flow = static_cast<std::uint32_t>(fields[3]);
  hop.remote.port = static_cast<std::uint16_t>(fields[4]);
  hop.remote.v6 = text.size() == 32;
  for (std::size_t i = 0; !text.empty(); ++i) {
    std::uint64_t byte = 0;
    if (!take_hex(text, 2, byte)) return std::nullopt;
    hop.remote.ip[i] = static_cast<std::uint8_t>(byte);
  }
  return hop;
}

void append_record_route(std::string& out, const Core& core, std::uint16_t local, std::uint64_t call, const Message& request,
                         std::string_view flow) {
  const Listen& listen = core.config.listens[local < core.config.listens.size() ? local : 0];
  out += "Record-Route: <sip:";
  core.keys.append(out, MarkKind::record_route, core.own_mark(call), MarkContext{request.call_id(), flow, request.from_tag()}.text());
  out += '@';
  out += listen.host;
  out += ':';
  append_number(out, listen.port);
  if (listen.transport != net::Transport::udp) {
    out += ";transport=";
    out += net::uri_text(listen.transport);
  }
  out += ";lr";
  if (!flow.empty()) {
    out += ";flow=";
    out += flow;
  }
  out += ">\r\n";
}

OwnRoute own_route_of(const Core& core, const Message& request) noexcept {
  OwnRoute own;
  const auto note = [&](const OwnUri& opened) {
    own.mark = opened.mark;
    own.from = opened.from;
    own.flow = opened.flow.empty() ? std::nullopt : parse_flow(opened.flow, core.config.member);
  };
  const auto take = [&](std::string_view value) {
    const auto name_addr = NameAddr::parse(value);
    const auto uri = name_addr ? Uri::parse(name_addr->uri) : std::nullopt;
    if (!uri) return false;
    const OwnUri opened = open_record_route(core, *uri, request);
    if (opened.mark && own.mark && *own.mark != *opened.mark) return false;  // a spiral: the other call's turn comes next
    if (opened.mark) note(opened);
    return opened.mark.has_value() || (uri->is_sip() && is_ours(core.config, uri->host, uri->port));
  };
  HeaderCursor routes{request, Header::route};
  std::string_view value;
  if (!routes.next(value)) return own;
  const auto uri = Uri::parse(request.request_uri());
  if (uri && uri->user.size() == mark_chars) {
    const OwnUri opened = open_record_route(core, *uri, request);
    if (opened.mark) {
      own.strict = true;
      note(opened);
    }
  }
  // The last value of a strict router is the target, none of ours.
  for (std::string_view following; own.popped < popped_max; value = following) {
    const bool last = !routes.next(following);
    if ((own.strict && last) || !take(value)) break;
    ++own.popped;
    if (last) break;
  }
  return own;
}

std::optional<Onward> onward_of(const Message& request, const OwnRoute& own) {
  Onward onward;
  onward.request_uri = onward.next = request.request_uri();
  HeaderCursor cursor{request, Header::route};
  std::string_view value;
  for (int i = 0; i < own.popped; ++i) cursor.next(value);
  if (!cursor.next(value)) return onward;
  if (!own.strict) {
    const auto first = NameAddr::parse(value);
    const auto uri = first ? Uri::parse(first->uri) : std::nullopt;
    if (!uri) return std::nullopt;
    onward.next = first->uri;
    if (uri->is_loose_router()) return onward;
  }
  std::vector<std::string_view> routes{value};
  while (cursor.next(value)) routes.push_back(value);
  if (!own.strict) return written_anew(onward.request_uri, routes);
  const auto target = NameAddr::parse(routes.back());
  routes.pop_back();
  if (!target) return std::nullopt;
  return written_anew(target->uri, routes);
}

std::optional<Onward> onward_of(std::string_view target, std::string_view route) {
  std::vector<std::string_view> routes;
  ValueCursor cursor{route};
  for (std::string_view value; cursor.next(value);) routes.push_back(value);
  return written_anew(target, routes);
}

}  // namespace sipfarm::sip
