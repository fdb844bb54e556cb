#include "sip/headers.hpp"

#include "sip/limits.hpp"
#include "sip/text.hpp"
#include "sip/uri.hpp"

namespace sipfarm::sip {
namespace {

constexpr auto npos = std::string_view::npos;

/// One past the quote that closes the one at `open`, npos where none does.
std::size_t skip_quoted(std::string_view text, std::size_t open) noexcept {
  for (std::size_t i = open + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i + 1;
    }
  }
  return npos;
}

/// One past the parenthesis that closes the comment at `open`; comments nest.
std::size_t skip_comment(std::string_view text, std::size_t open) noexcept {
  std::size_t depth = 0;
  for (std::size_t i = open; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '(') {
      ++depth;
    } else if (text[i] == ')' && --depth == 0) {
      return i + 1;
    }
  }
  return npos;
}

/// Where the parameter that starts at the front ends: at the next ';' outside quotes.
std::size_t param_end(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == ';') return i;
    if (text[i] != '"') {
      ++i;
      continue;
    }
    i = skip_quoted(text, i);
    if (i == npos) break;
  }
  return text.size();
}

/// A display name without quotes: tokens with white space between them. Bytes beyond ASCII are let pass.
bool is_plain_display(std::string_view display) noexcept {
  for (const char c : display)
    if (!text::is(c, text::token | text::white) && static_cast<unsigned char>(c) < 0x80) return false;
  return true;
}

bool is_header_uri(std::string_view uri) noexcept {
  if (uri == "*") return true;
  const std::size_t colon = uri.find(':');
  if (colon == npos || colon == 0 || colon + 1 == uri.size() || !text::is(uri[0], text::alpha)) return false;
  return text::all(uri, text::uri);
}

std::string_view take_token(std::string_view& rest) noexcept {
  const std::size_t size = text::span(rest, text::token);
  const std::string_view out = rest.substr(0, size);
  rest.remove_prefix(size);
  return out;
}

void skip_white(std::string_view& rest) noexcept { rest.remove_prefix(text::span(rest, text::white)); }

bool take_slash(std::string_view& rest) noexcept {
  skip_white(rest);
  if (rest.empty() || rest.front() != '/') return false;
  rest.remove_prefix(1);
  skip_white(rest);
  return true;
}

/// sent-by, in which white space may stand around the colon (RFC 3261 §25.1).
std::optional<HostPort> parse_sent_by(std::string_view sent_by) noexcept {
  if (auto plain = parse_host_port(sent_by)) return plain;
  const std::size_t colon = sent_by.rfind(':');
  if (colon == npos) return std::nullopt;
  const auto host = parse_host_port(text::trim(sent_by.substr(0, colon)));
  const auto port = text::parse_u32(text::trim(sent_by.substr(colon + 1)));
  if (!host || host->port != 0 || !port || *port == 0 || *port > UINT16_MAX) return std::nullopt;
  return HostPort{host->host, static_cast<std::uint16_t>(*port)};
}

bool read_via_params(Via& via, std::string_view params) noexcept {
  ParamCursor cursor{params};
  Param param;
  while (cursor.next(param)) {
    if (text::iequals(param.name, "branch")) {
      via.branch = param.value;
    } else if (text::iequals(param.name, "received")) {
      via.received = param.value;
    } else if (text::iequals(param.name, "rport")) {
      via.has_rport = true;
      if (!param.has_value) continue;
      const auto port = text::parse_u32(param.value);
      if (!port || *port > UINT16_MAX) return false;
      via.rport = static_cast<std::uint16_t>(*port);
    }
  }
  return !cursor.malformed();
}

/// The common case in one pass: ";name" or ";name=value" without quotes or white space. Else nothing is taken.
bool take_plain_param(std::string_view& rest, Param& param) noexcept {
  const std::size_t name = text::span(rest, text::token);
  std::size_t end = name;
  const bool has_value = end < rest.size() && rest[end] == '=';
  if (has_value) end += 1 + text::span(rest.substr(end + 1), text::value);
  if (name == 0 || (has_value && end == name + 1) || (end < rest.size() && rest[end] != ';')) return false;
  param = {rest.substr(0, name), has_value ? rest.substr(name + 1, end - name - 1) : std::string_view{}, has_value, false};
  rest.remove_prefix(end);
  return true;
}

}  // namespace

std::optional<Param> parse_param(std::string_view text) noexcept {
  text = text::trim(text);
  Param param;
  std::string_view rest = text;
  param.name = take_token(rest);
  if (param.name.empty()) return std::nullopt;
  if (rest.empty()) return param;
  skip_white(rest);
  if (rest.empty() || rest.front() != '=') return std::nullopt;
  rest.remove_prefix(1);
  skip_white(rest);
  param.has_value = true;
  if (!rest.empty() && rest.front() == '"') {
    if (skip_quoted(rest, 0) != rest.size()) return std::nullopt;
    param.quoted = true;
    param.value = rest.substr(1, rest.size() - 2);
    return param;
  }
  if (rest.empty() || !text::all(rest, text::value)) return std::nullopt;
  param.value = rest;
  return param;
}

bool ParamCursor::next(Param& param) noexcept {
  if (rest_.empty() || malformed_) return false;
  if (rest_.front() == ';') rest_.remove_prefix(1);
  if (take_plain_param(rest_, param)) return true;
  const std::size_t end = param_end(rest_);
  const auto parsed = parse_param(rest_.substr(0, end));
  malformed_ = !parsed;
  if (!parsed) return false;
  rest_.remove_prefix(end);
  param = *parsed;
  return true;
}

std::optional<std::string_view> find_param(std::string_view params, std::string_view name) noexcept {
  ParamCursor cursor{params};
  Param param;
  while (cursor.next(param))
    if (text::iequals(param.name, name)) return param.value;
  return std::nullopt;
}

bool well_formed_params(std::string_view params) noexcept {
  ParamCursor cursor{params};
  Param param;
  while (cursor.next(param)) {
  }
  return !cursor.malformed();
}

bool ValueCursor::next(std::string_view& value) noexcept {
  while (!rest_.empty()) {
    std::size_t i = 0;
    while (i < rest_.size() && rest_[i] != ',') {
      const char c = rest_[i];
      if (!text::is(c, text::list_mark)) {
        ++i;
        continue;
      }
      if (c == '"') {
        i = skip_quoted(rest_, i);
      } else if (c == '<') {
        i = rest_.find('>', i);
      } else if (c == '(' && (i == 0 || text::is(rest_[i - 1], text::white))) {
        i = skip_comment(rest_, i);
      } else {
        ++i;
      }
      if (i == npos) i = rest_.size();  // open to the end: one value
    }
    value = text::trim(rest_.substr(0, i));
    rest_.remove_prefix(i < rest_.size() ? i + 1 : i);
    if (!value.empty()) return true;
  }
  return false;
}

HeaderCursor::HeaderCursor(const Message& message, Header header) noexcept
    : message_{&message}, line_{message.find(header)}, values_{line_ == nullptr ? std::string_view{} : message.value(*line_)}, header_{header} {}

bool HeaderCursor::next(std::string_view& value) noexcept {
  if (line_ == nullptr) return false;
  if (values_.next(value)) return true;
  const Line* const end = message_->lines().data() + message_->lines().size();
  for (const Line* line = line_ + 1; line < end; ++line) {
    if (line->header != header_) continue;
    line_ = line;
    values_ = ValueCursor{message_->value(*line)};
    if (values_.next(value)) return true;
  }
  return false;
}

std::optional<NameAddr> NameAddr::parse(std::string_view text) noexcept {
  text = text::trim(text);
  NameAddr out;
  std::size_t open = npos;
  if (!text.empty() && text.front() == '"') {
    const std::size_t closed = skip_quoted(text, 0);
    if (closed == npos) return std::nullopt;
    open = text.find('<', closed);
    if (open == npos || !text::trim(text.substr(closed, open - closed)).empty()) return std::nullopt;
    out.display = text.substr(1, closed - 2);
    out.display_quoted = true;
  } else {
    open = text.find_first_of("<\";");  // a bare URI has no '<' before its parameters
    if (open != npos && text[open] != '<') open = npos;
    if (open != npos) out.display = text::trim(text.substr(0, open));
    if (!is_plain_display(out.display)) return std::nullopt;
  }
  std::string_view rest;
  if (open != npos) {
    const std::size_t close = text.find('>', open);
    if (close == npos) return std::nullopt;
    out.uri = text.substr(open + 1, close - open - 1);
    out.bracketed = true;
    rest = text::trim(text.substr(close + 1));
  } else {
    std::size_t size = 0;
    while (size < text.size() && text[size] != ';' && !text::is(text[size], text::white)) ++size;
    out.uri = text.substr(0, size);
    if (out.uri.find_first_of("?,") != npos) return std::nullopt;
    rest = text::trim(text.substr(size));
  }
  if (!is_header_uri(out.uri) || (!rest.empty() && rest.front() != ';') || !well_formed_params(rest)) return std::nullopt;
  out.params = rest;
  return out;
}

std::optional<Via> parse_via(std::string_view text) noexcept {
  Via via;
  via.value = text::trim(text);
  std::string_view rest = via.value;
  if (take_token(rest).empty() || !take_slash(rest) || take_token(rest).empty() || !take_slash(rest)) return std::nullopt;
  via.transport = take_token(rest);
  if (via.transport.empty() || rest.empty() || !text::is(rest.front(), text::white)) return std::nullopt;
  const std::size_t semicolon = rest.find(';');
  const auto sent_by = parse_sent_by(text::trim(rest.substr(0, semicolon)));
  if (!sent_by) return std::nullopt;
  via.host = sent_by->host;
  via.port = sent_by->port;
  if (semicolon != npos && !read_via_params(via, rest.substr(semicolon))) return std::nullopt;
  return via;
}

std::optional<Via> via_at(const Message& message, std::size_t index) noexcept {
  HeaderCursor cursor{message, Header::via};
  std::string_view value;
  for (std::size_t i = 0; i <= index; ++i)
    if (!cursor.next(value)) return std::nullopt;
  return parse_via(value);
}

std::optional<CSeq> parse_cseq(std::string_view value) noexcept {
  value = text::trim(value);
  std::size_t digits = 0;
  while (digits < value.size() && text::is(value[digits], text::digit)) ++digits;
  const auto number = text::parse_u32(value.substr(0, digits));
  if (!number || *number > limits::cseq_number || digits == value.size() || !text::is(value[digits], text::white)) return std::nullopt;
  const std::string_view method = text::trim(value.substr(digits));
  if (!text::is_token(method)) return std::nullopt;
  return CSeq{*number, method};
}

std::optional<std::uint32_t> parse_delta_seconds(std::string_view value) noexcept {
  value = text::trim(value);
  if (value.empty() || !text::all(value, text::digit)) return std::nullopt;
  return text::parse_u32(value).value_or(UINT32_MAX);
}

std::optional<int> parse_q(std::string_view value) noexcept {
  value = text::trim(value);
  if (value.empty() || (value[0] != '0' && value[0] != '1')) return std::nullopt;
  int q = (value[0] - '0') * 1000;
  value.remove_prefix(1);
  if (value.empty()) return q;
  if (value[0] != '.' || value.size() > 4 || !text::all(value.substr(1), text::digit)) return std::nullopt;
  int weight = 100;
  for (const char c : value.substr(1)) {
    q += (c - '0') * weight;
    weight /= 10;
  }
  return q <= 1000 ? std::optional<int>{q} : std::nullopt;
}

}  // namespace sipfarm::sip
