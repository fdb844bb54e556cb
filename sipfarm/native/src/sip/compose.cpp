#include "sip/compose.hpp"

#include <array>
#include <charconv>

#include "sip/headers.hpp"
#include "sip/text.hpp"

namespace sipfarm::sip {

namespace {

void append_vias(std::string& out, const Message& request, const net::Hop& source) {
  bool top = true;
  for (const Line& line : request.lines()) {
    if (line.header != Header::via) continue;
    out += "Via: ";
    if (top) {
      append_stamped_via(out, request.top_via(), source);
      const std::string_view value = request.value(line);
      const auto rest = static_cast<std::size_t>(request.top_via().value.data() + request.top_via().value.size() - value.data());
      out += value.substr(rest < value.size() ? rest : value.size());
      top = false;
    } else {
      out += request.value(line);
    }
    out += "\r\n";
  }
}

}  // namespace

std::string_view reason_phrase_of(int status) noexcept {
  switch (status) {
    case 100: return "Trying";
    case 180: return "Ringing";
    case 181: return "Call Is Being Forwarded";
    case 182: return "Queued";
    case 183: return "Session Progress";
    case 199: return "Early Dialog Terminated";
    case 200: return "OK";
    case 202: return "Accepted";
    case 300: return "Multiple Choices";
    case 301: return "Moved Permanently";
    case 302: return "Moved Temporarily";
    case 305: return "Use Proxy";
    case 380: return "Alternative Service";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request Timeout";
    case 410: return "Gone";
    case 413: return "Request Entity Too Large";
    case 414: return "Request-URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Unsupported URI Scheme";
    case 420: return "Bad Extension";
    case 421: return "Extension Required";
    case 422: return "Session Interval Too Small";
    case 423: return "Interval Too Brief";
    case 430: return "Flow Failed";
    case 439: return "First Hop Lacks Outbound Support";
    case 440: return "Max-Breadth Exceeded";
    case 480: return "Temporarily Unavailable";
    case 481: return "Call/Transaction Does Not Exist";
    case 482: return "Loop Detected";
    case 483: return "Too Many Hops";
    case 484: return "Address Incomplete";
    case 485: return "Ambiguous";
    case 486: return "Busy Here";
    case 487: return "Request Terminated";
    case 488: return "Not Acceptable Here";
    case 489: return "Bad Event";
    case 491: return "Request Pending";
    case 493: return "Undecipherable";
    case 500: return "Server Internal Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Server Time-out";
    case 505: return "Version Not Supported";
    case 513: return "Message Too Large";
    case 600: return "Busy Everywhere";
    case 603: return "Decline";
    case 604: return "Does Not Exist Anywhere";
    case 606: return "Not Acceptable";
    default: return {};
  }
}

void append_number(std::string& out, std::uint64_t number) {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

void append_lines(std::string& out, const Message& message, Header header) {
  for (const Line& line : message.lines()) {
    if (line.header != header) continue;
    out += text_of(header);
    out += ": ";
    out += message.value(line);
    out += "\r\n";
  }
}

void append_hex(std::string& out, std::uint64_t number, int digits) {
  constexpr std::string_view alphabet = "0123456789abcdef";
  for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4) out += alphabet[(number >> shift) & 0xf];
}

void append_via_begin(std::string& out, const EngineConfig& config, const net::Hop& hop) {
  const Listen& listen = config.listens[hop.local < config.listens.size() ? hop.local : 0];
  out += "Via: SIP/2.0/";
  out += net::via_text(hop.transport);
  out += ' ';
  out += listen.host;
  out += ':';
  append_number(out, listen.port);
  out += ";branch=z9hG4bK";
}

bool via_needs_stamp(const Via& via, const net::Hop& source) noexcept {
  if (via.has_rport || !via.received.empty()) return true;
  const auto sent_by = net::Address::parse(via.host, 0);
  return !sent_by || !sent_by->same_ip(source.remote);
}

void append_stamped_via(std::string& out, const Via& via, const net::Hop& source) {
  if (!via_needs_stamp(via, source)) {
    out += via.value;
    return;
  }
  const std::size_t params_begin = via.value.find(';');
  out += via.value.substr(0, params_begin);
  ParamCursor cursor{params_begin == std::string_view::npos ? std::string_view{} : via.value.substr(params_begin)};
  for (Param param; cursor.next(param);) {
    if (text::iequals(param.name, "received") || text::iequals(param.name, "rport")) continue;
    out += ';';
    out += param.name;
    if (!param.has_value) continue;
    out += param.quoted ? "=\"" : "=";
    out += param.value;
    if (param.quoted) out += '"';
  }
  if (via.has_rport) {
    out += ";rport=";
    append_number(out, source.remote.port);
  }
  out += ";received=";
  const std::size_t begin = out.size();
  source.remote.append_host(out);
  if (!source.remote.v6) return;
  out.pop_back();  // received has no brackets (RFC 3261 §25.1, RFC 5118 §4.5 reads them all the same)
  out.erase(begin, 1);
}

net::Hop reply_hop(const Via& via, const net::Hop& source) noexcept {
  net::Hop hop = source;
  if (source.transport == net::Transport::udp && !via.has_rport) hop.remote.port = via.port != 0 ? via.port : 5060;
  return hop;
}

std::optional<SentBy> sent_by_of(std::string_view response, const net::Hop& gone) {
  const bool secure = gone.transport == net::Transport::tls;
  Message message;
  if ((!secure && gone.transport != net::Transport::tcp) || !message.parse(response) || message.is_request()) return std::nullopt;
  const Via& via = message.top_via();
  SentBy found;
  found.hop = gone;
  found.hop.flow = 0;
  found.hop.member = 0;
  found.hop.remote.port = via.port != 0 ? via.port : secure ? 5061 : 5060;
  found.port = via.port;
  if (!net::Address::parse(via.host, 0)) found.name = via.host;
  if (secure) found.server = found.name;
  return found;
}

void append_response(std::string& out, const Message& request, const net::Hop& source, const ResponseParts& parts) {
  out += "SIP/2.0 ";
  append_number(out, static_cast<std::uint64_t>(parts.status));
  out += ' ';
  out += parts.reason.empty() ? reason_phrase_of(parts.status) : parts.reason;
  out += "\r\n";
  append_vias(out, request, source);
  const bool creates_dialog = parts.status > 100 && parts.status < 300 && request.to_tag().empty();
  if (creates_dialog) append_lines(out, request, Header::record_route);
  append_lines(out, request, Header::from);
  out += "To: ";
  out += request.value(Header::to);
  if (!parts.to_tag.empty() && request.to_tag().empty() && parts.status > 100) {
    out += ";tag=";
    out += parts.to_tag;
  }
  out += "\r\n";
  append_lines(out, request, Header::call_id);
  append_lines(out, request, Header::cseq);
  out += parts.headers;
  out += "Content-Length: ";
  append_number(out, parts.body.size());
  out += "\r\n\r\n";
  out += parts.body;
}

namespace {
/// What ACK and CANCEL take over from the INVITE that they belong to.
void append_hop_by_hop(std::string& out, const Message& invite, std::string_view method, std::string_view to) {
  out += method;
  out += ' ';
  out += invite.request_uri();
  out += " SIP/2.0\r\nVia: ";
  out += invite.top_via().value;
  out += "\r\n";
  append_lines(out, invite, Header::route);
  out += "Max-Forwards: 70\r\nFrom: ";
  out += invite.value(Header::from);
  out += "\r\nTo: ";
  out += to;
  out += "\r\nCall-ID: ";
  out += invite.call_id();
  out += "\r\nCSeq: ";
  append_number(out, invite.cseq());
  out += ' ';
  out += method;
  out += "\r\n";
}
}  // namespace

void append_failure_ack(std::string& out, const Message& invite, std::string_view response_to) {
  append_hop_by_hop(out, invite, "ACK", response_to);
  out += "Content-Length: 0\r\n\r\n";
}

void append_cancel(std::string& out, const Message& invite, std::string_view reason_lines) {
  append_hop_by_hop(out, invite, "CANCEL", invite.value(Header::to));
  out += reason_lines;
  out += "Content-Length: 0\r\n\r\n";
}

}  // namespace sipfarm::sip
