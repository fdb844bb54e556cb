#include "sip/message.hpp"

#include <cstring>

#include "sip/headers.hpp"
#include "sip/limits.hpp"
#include "sip/text.hpp"
#include "sip/uri.hpp"

namespace sipfarm::sip {
namespace {

constexpr std::uint32_t u32(std::size_t value) noexcept { return static_cast<std::uint32_t>(value); }

/// True where a byte is a control character (below SP, or DEL). Eight bytes at a time.
bool has_control(const char* bytes, std::size_t size) noexcept {
  constexpr std::uint64_t ones = 0x0101010101010101ULL;
  constexpr std::uint64_t high = ones << 7;
  const auto suspicious = [](std::uint64_t word) {
    const std::uint64_t below_space = (word - ones * 0x20) & ~word;
    const std::uint64_t del = word ^ (ones * 0x7f);
    return ((below_space | ((del - ones) & ~del)) & high) != 0;
  };
  std::uint64_t word = 0;
  for (; size >= 8; bytes += 8, size -= 8) {
    std::memcpy(&word, bytes, 8);
    if (suspicious(word)) return true;
  }
  word = ones * 'a';
  std::memcpy(&word, bytes, size);
  return suspicious(word);
}

/// Control characters are for folds, tabs and the quoted-pairs of a quoted string only (RFC 3261 §25.1).
bool controls_allowed(std::string_view value) noexcept {
  bool quoted = false;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const auto c = static_cast<unsigned char>(value[i]);
    if (c == '"') {
      quoted = !quoted;
    } else if (c == '\\' && quoted && i + 1 < value.size() && value[i + 1] != '\r' && value[i + 1] != '\n') {
      ++i;
    } else if (c == '\r') {
      if (i + 1 >= value.size() || value[i + 1] != '\n') return false;
    } else if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7f) {
      return false;
    }
  }
  return true;
}

const char* repeated_reason(Header header) noexcept {
  switch (header) {
    case Header::from: return "Repeated From";
    case Header::to: return "Repeated To";
    case Header::call_id: return "Repeated Call-ID";
    case Header::cseq: return "Repeated CSeq";
    case Header::max_forwards: return "Repeated Max-Forwards";
    case Header::content_length: return "Repeated Content-Length";
    default: return nullptr;
  }
}

}  // namespace

bool Message::parse(std::string_view wire) {
  clear();
  while (!wire.empty() && (wire.front() == '\r' || wire.front() == '\n')) wire.remove_prefix(1);
  if (wire.size() > limits::message_bytes) {
    fail(0, "Message too large");
    return false;
  }
  wire_.assign(wire);
  if (!read_start_line() || !index_lines()) return false;
  read_header_fields();
  read_body();
  return failure_.reason == nullptr;
}

void Message::clear() noexcept {
  wire_.clear();
  lines_.clear();
  first_.fill(0);
  failure_ = {};
  top_via_ = {};
  from_tag_ = {};
  to_tag_ = {};
  start_line_ = method_text_ = target_ = {};
  headers_begin_ = headers_end_ = body_begin_ = cseq_ = 0;
  status_ = 0;
  max_forwards_ = -1;
  method_ = Method::other;
  is_request_ = false;
}

void Message::fail(int status, const char* reason) noexcept {
  if (failure_.reason != nullptr) return;
  const bool answerable = is_request_ && method_ != Method::ack;  // RFC 3261 §17.1.1.3: no response to an ACK
  failure_ = {answerable ? static_cast<std::uint16_t>(status) : std::uint16_t{0}, reason};
}

Message::Slice Message::slice_of(std::string_view part) const noexcept {
  const auto begin = u32(static_cast<std::size_t>(part.data() - wire_.data()));
  return {begin, begin + u32(part.size())};
}

bool Message::read_start_line() noexcept {
  const std::size_t newline = wire_.find('\n');
  if (newline == std::string::npos) {
    fail(0, "No line end");
    return false;
  }
  headers_begin_ = headers_end_ = body_begin_ = u32(newline + 1);
  start_line_.end = u32(newline > 0 && wire_[newline - 1] == '\r' ? newline - 1 : newline);
  return text::iequals(start_line().substr(0, 4), "SIP/") ? read_status_line() : read_request_line();
}

/// RFC 3261 §7.1. False where the line is not of SIP at all; other faults are noted and the headers are read on.
bool Message::read_request_line() noexcept {
  std::string_view line = start_line();
  const std::size_t first_space = line.find(' ');
  const std::string_view stripped = text::trim(line);
  const std::size_t last_space = stripped.rfind(' ');
  const std::string_view version = last_space == std::string_view::npos ? std::string_view{} : stripped.substr(last_space + 1);
  if (!text::iequals(version.substr(0, 4), "SIP/") || first_space == 0 || first_space >= last_space) {
    fail(0, "Not a SIP message");
    return false;
  }
  is_request_ = true;
  const std::string_view method = line.substr(0, first_space);
  const std::string_view target = line.substr(first_space + 1, last_space - first_space - 1);
  method_text_ = slice_of(method);
  target_ = slice_of(target);
  method_ = method_of(method);
  if (!text::is_token(method)) fail(400, "Malformed method");
  if (!text::iequals(version, "SIP/2.0")) fail(505, "Version Not Supported");
  if (stripped.size() != line.size() || target.empty() || target.find(' ') != std::string_view::npos) fail(400, "Malformed Request-Line");
  const std::optional<Uri> uri = Uri::parse(target);
  if (!uri) fail(400, "Malformed Request-URI");
  if (uri && uri->is_sip() && !uri->headers.empty()) fail(400, "Headers in the Request-URI");  // RFC 3261 §19.1.1
  return true;
}

/// RFC 3261 §7.2.
bool Message::read_status_line() noexcept {
  const std::string_view line = start_line();
  const bool shaped = line.size() >= 11 && text::iequals(line.substr(0, 8), "SIP/2.0 ") && text::all(line.substr(8, 3), text::digit) &&
                      (line.size() == 11 || line[11] == ' ');
  const int status = shaped ? (line[8] - '0') * 100 + (line[9] - '0') * 10 + (line[10] - '0') : 0;
  if (status < 100 || status > 699) {
    fail(0, "Malformed Status-Line");
    return false;
  }
  status_ = status;
  target_ = slice_of(line.substr(line.size() == 11 ? 11 : 12));
  if (has_control(line.data(), line.size()) && !controls_allowed(line)) fail(0, "Control character");
  return true;
}

bool Message::index_lines() {
  const char* const bytes = wire_.data();
  const std::size_t size = wire_.size();
  std::size_t begin = headers_begin_;
  while (begin < size) {
    const auto* newline = static_cast<const char*>(std::memchr(bytes + begin, '\n', size - begin));
    if (newline == nullptr) break;
    std::size_t end = static_cast<std::size_t>(newline - bytes) + 1;
    if (end - begin == 1 || (end - begin == 2 && bytes[begin] == '\r')) {
      headers_end_ = u32(begin);
      body_begin_ = u32(end);
      return true;
    }
    while (end < size && (bytes[end] == ' ' || bytes[end] == '\t')) {  // folded (RFC 3261 §7.3.1)
      newline = static_cast<const char*>(std::memchr(bytes + end, '\n', size - end));
      if (newline == nullptr) break;
      end = static_cast<std::size_t>(newline - bytes) + 1;
    }
    if (newline == nullptr) break;
    if (lines_.size() == limits::message_lines) {
      fail(400, "Too many header fields");
    } else {
      index_line(u32(begin), u32(end - (bytes[end - 2] == '\r' ? 2 : 1)), u32(end));
    }
    begin = end;
  }
  headers_end_ = body_begin_ = u32(size);
  fail(400, "No empty line after the headers");
  read_header_fields();
  return false;
}

void Message::index_line(std::uint32_t begin, std::uint32_t line_end, std::uint32_t end) {
  const char* const bytes = wire_.data();
  std::uint32_t name_end = begin;
  while (name_end < line_end && text::is(bytes[name_end], text::token)) ++name_end;
  std::uint32_t colon = name_end;
  while (colon < line_end && (bytes[colon] == ' ' || bytes[colon] == '\t')) ++colon;
  if (name_end == begin || colon == line_end || bytes[colon] != ':') {
    fail(400, "Malformed header field");
    return;
  }
  std::uint32_t value_begin = colon + 1;
  std::uint32_t value_end = line_end;
  while (value_begin < value_end && text::is(bytes[value_begin], text::white)) ++value_begin;
  while (value_end > value_begin && text::is(bytes[value_end - 1], text::white)) --value_end;
  const std::string_view value{bytes + value_begin, value_end - value_begin};
  if (has_control(value.data(), value.size()) && !controls_allowed(value)) fail(400, "Control character in a header field");
  const Header header = header_of({bytes + begin, name_end - begin});
  lines_.push_back({header, begin, name_end, value_begin, value_end, end});
  std::uint8_t& first = first_[static_cast<std::size_t>(header)];
  if (first == 0) {
    first = static_cast<std::uint8_t>(lines_.size());
  } else if (const char* reason = repeated_reason(header)) {
    fail(400, reason);
  }
}

/// The header fields that every message has (RFC 3261 §8.1.1), and Max-Forwards, which RFC 2543 had not.
void Message::read_header_fields() noexcept {
  std::string_view top;
  HeaderCursor vias{*this, Header::via};
  if (!vias.next(top)) {
    fail(400, "Missing Via");
  } else if (const auto via = parse_via(top)) {
    top_via_ = *via;
  } else {
    top_via_.value = top;
    fail(400, "Malformed Via");
  }
  const auto read_tag = [this](Header header, std::string_view& tag, const char* missing, const char* malformed) {
    const Line* line = find(header);
    if (line == nullptr) return fail(400, missing);
    const auto address = NameAddr::parse(value(*line));
    if (!address || address->uri == "*") return fail(400, malformed);
    tag = address->tag();
  };
  read_tag(Header::from, from_tag_, "Missing From", "Malformed From");
  read_tag(Header::to, to_tag_, "Missing To", "Malformed To");
  const std::string_view id = call_id();
  if (id.empty()) fail(400, "Missing Call-ID");
  for (const char c : id)
    if (text::is(c, text::white)) fail(400, "Malformed Call-ID");
  read_cseq();
  if (const Line* line = find(Header::max_forwards); line != nullptr && is_request_) {
    const auto hops = text::parse_u32(value(*line));
    if (hops && *hops <= limits::max_forwards) {
      max_forwards_ = static_cast<int>(*hops);
    } else {
      fail(400, "Malformed Max-Forwards");
    }
  }
}

void Message::read_cseq() noexcept {
  const Line* line = find(Header::cseq);
  if (line == nullptr) return fail(400, "Missing CSeq");
  const auto cseq = parse_cseq(value(*line));
  if (!cseq) return fail(400, "Malformed CSeq");
  cseq_ = cseq->number;
  if (!is_request_) {
    method_text_ = slice_of(cseq->method);
    method_ = method_of(cseq->method);
  } else if (cseq->method != method_text()) {
    // An unknown method is better answered with 501 (RFC 4475 §3.1.2.18).
    fail(method_ == Method::other ? 501 : 400, "CSeq method does not match the request");
  }
}

/// Content-Length against the bytes that came (RFC 3261 §18.3): fewer are an error, more are cut off.
void Message::read_body() noexcept {
  const Line* line = find(Header::content_length);
  if (line == nullptr) return;
  const auto length = text::parse_u32(value(*line));
  if (!length) return fail(400, "Malformed Content-Length");
  const std::size_t present = wire_.size() - body_begin_;
  if (*length > present) return fail(400, "Content-Length is larger than the body");
  wire_.resize(body_begin_ + *length);
}

std::string_view Message::method_text() const noexcept { return slice(method_text_); }
std::string_view Message::request_uri() const noexcept { return is_request_ ? slice(target_) : std::string_view{}; }
std::string_view Message::reason_phrase() const noexcept { return is_request_ ? std::string_view{} : slice(target_); }
std::string_view Message::start_line() const noexcept { return slice(start_line_); }
std::string_view Message::body() const noexcept { return std::string_view{wire_}.substr(body_begin_); }

const Line* Message::find(Header header) const noexcept {
  if (header == Header::other) return nullptr;
  const std::uint8_t first = first_[static_cast<std::size_t>(header)];
  return first == 0 ? nullptr : &lines_[first - 1U];
}

std::string_view Message::value(Header header) const noexcept {
  const Line* line = find(header);
  return line == nullptr ? std::string_view{} : value(*line);
}

std::string_view Message::value(const Line& line) const noexcept { return slice({line.value_begin, line.value_end}); }
std::string_view Message::name(const Line& line) const noexcept { return slice({line.begin, line.name_end}); }
std::string_view Message::call_id() const noexcept { return value(Header::call_id); }
std::string_view Message::from_tag() const noexcept { return from_tag_; }
std::string_view Message::to_tag() const noexcept { return to_tag_; }

}  // namespace sipfarm::sip
