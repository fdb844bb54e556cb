#include <algorithm>
#include <array>

#include "sip/message.hpp"
#include "sip/text.hpp"

/// The names of methods and header fields.
namespace sipfarm::sip {
namespace {

constexpr std::array<std::string_view, 15> method_names{"",      "INVITE", "ACK",  "BYE",   "CANCEL",    "REGISTER", "OPTIONS", "PRACK",
                                                        "UPDATE", "INFO",   "REFER", "NOTIFY", "SUBSCRIBE", "PUBLISH",  "MESSAGE"};
static_assert(method_names.size() == static_cast<std::size_t>(Method::message) + 1);

// In the order of Header.
constexpr std::array<std::string_view, 46> header_names{
    "", "Accept", "Alert-Info", "Allow", "Authentication-Info", "Authorization", "Call-ID", "Contact", "Content-Encoding", "Content-Length",
    "Content-Type", "CSeq", "Date", "Event", "Expires", "From", "Max-Breadth", "Max-Forwards", "Min-Expires", "Min-SE", "P-Asserted-Identity",
    "Path", "Privacy", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Require", "RAck", "Reason", "Record-Route", "Refer-To", "Referred-By",
    "Replaces", "Require", "Retry-After", "Route", "RSeq", "Service-Route", "Session-Expires", "Subscription-State", "Supported", "To",
    "Unsupported", "User-Agent", "Via", "Warning", "WWW-Authenticate"};
static_assert(header_names.size() == static_cast<std::size_t>(Header::www_authenticate) + 1);

// RFC 3261 §7.3.3, RFC 3515, RFC 3892, RFC 4028, RFC 6665.
constexpr Header compact(char letter) noexcept {
  switch (letter) {
    case 'b': return Header::referred_by;
    case 'c': return Header::content_type;
    case 'e': return Header::content_encoding;
    case 'f': return Header::from;
    case 'i': return Header::call_id;
    case 'k': return Header::supported;
    case 'l': return Header::content_length;
    case 'm': return Header::contact;
    case 'o': return Header::event;
    case 'r': return Header::refer_to;
    case 't': return Header::to;
    case 'v': return Header::via;
    case 'x': return Header::session_expires;
    default: return Header::other;
  }
}

constexpr std::size_t longest_name = 19;

/// Headers by the length of their name: those of length n stand from begin[n] to begin[n + 1].
struct ByLength {
  std::array<std::uint8_t, longest_name + 2> begin{};
  std::array<Header, header_names.size()> headers{};
};
constexpr ByLength make_by_length() {
  ByLength out;
  std::size_t next = 0;
  for (std::size_t length = 0; length <= longest_name; ++length) {
    out.begin[length] = static_cast<std::uint8_t>(next);
    for (std::size_t i = 1; i < header_names.size(); ++i)
      if (header_names[i].size() == length) out.headers[next++] = static_cast<Header>(i);
  }
  out.begin[longest_name + 1] = static_cast<std::uint8_t>(next);
  return out;
}
constexpr ByLength by_length = make_by_length();
static_assert(by_length.begin[longest_name + 1] == header_names.size() - 1, "a name is longer than longest_name");

}  // namespace

Method method_of(std::string_view text) noexcept {
  const auto found = std::find(method_names.begin() + 1, method_names.end(), text);
  return found == method_names.end() ? Method::other : static_cast<Method>(found - method_names.begin());
}

std::string_view text_of(Method method) noexcept { return method_names[static_cast<std::size_t>(method)]; }

Header header_of(std::string_view name) noexcept {
  if (name.size() == 1) return compact(text::to_lower(name[0]));
  if (name.empty() || name.size() > longest_name) return Header::other;
  const char first = text::to_lower(name[0]);
  for (std::size_t i = by_length.begin[name.size()]; i < by_length.begin[name.size() + 1]; ++i) {
    const std::string_view candidate = header_names[static_cast<std::size_t>(by_length.headers[i])];
    if (text::to_lower(candidate[0]) == first && (candidate == name || text::iequals(candidate, name))) return by_length.headers[i];
  }
  return Header::other;
}

std::string_view text_of(Header header) noexcept { return header_names[static_cast<std::size_t>(header)]; }

}  // namespace sipfarm::sip
