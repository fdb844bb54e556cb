#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sipfarm::sip {

enum class Method : std::uint8_t {
  other, invite, ack, bye, cancel, register_, options, prack, update, info, refer, notify, subscribe, publish, message
};
Method method_of(std::string_view text) noexcept;  // case-sensitive (RFC 3261 §7.1)
std::string_view text_of(Method method) noexcept;

/// Header fields that the engine or a TU asks for by name; all else is `other`. Compact forms fold into them (RFC 3261 §7.3.3).
enum class Header : std::uint8_t {
  other, accept, alert_info, allow, authentication_info, authorization, call_id, contact, content_encoding, content_length,
  content_type, cseq, date, event, expires, from, max_breadth, max_forwards, min_expires, min_se, p_asserted_identity, path, privacy,
  proxy_authenticate, proxy_authorization, proxy_require, rack, reason, record_route, refer_to, referred_by, replaces,
  require, retry_after, route, rseq, service_route, session_expires, subscription_state, supported, to, unsupported,
  user_agent, via, warning, www_authenticate
};
Header header_of(std::string_view name) noexcept;  // case-insensitive, compact forms too
std::string_view text_of(Header header) noexcept;  // the long form, "" for other

/// One header field as offsets into the wire; folded continuation lines belong to it.
struct Line {
  Header header = Header::other;
  std::uint32_t begin = 0;        // first byte of the name
  std::uint32_t name_end = 0;     // one past the name
  std::uint32_t value_begin = 0;  // value without surrounding white space (folds may stand inside)
  std::uint32_t value_end = 0;
  std::uint32_t end = 0;          // one past the line's last CRLF
};

/// Why bytes are not an acceptable SIP message. `status` is what an answer would carry (RFC 3261 §21.4), 0 where none may be sent.
struct ParseFailure {
  std::uint16_t status = 0;
  const char* reason = nullptr;
};

/// The top Via, as views into the message (RFC 3261 §20.42, RFC 3581).
struct Via {
  std::string_view value;      // the whole via-parm
  std::string_view transport;  // "UDP"
  std::string_view host;       // IPv6 with brackets
  std::uint16_t port = 0;      // 0: absent
  std::string_view branch;
  std::string_view received;
  bool has_rport = false;
  std::uint16_t rport = 0;     // 0: absent or without a value
};

/// A SIP message: its wire bytes and an index over them. Reusable: parse() keeps the capacity of the last message.
/// Not copyable nor movable: top_via() and the tags are views into its own bytes.
class Message {
 public:
  Message() = default;
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  /// Copies `wire` (one whole message) and indexes it. False: failure() says why; what could be indexed is, so that a
  /// request with usable Via, From, To, Call-ID and CSeq can still be answered with failure().status.
  bool parse(std::string_view wire);
  const ParseFailure& failure() const noexcept { return failure_; }

  bool is_request() const noexcept { return is_request_; }
  Method method() const noexcept { return method_; }             // of a response: its CSeq method
  std::string_view method_text() const noexcept;
  std::string_view request_uri() const noexcept;
  int status() const noexcept { return status_; }                // 0 for a request
  std::string_view reason_phrase() const noexcept;

  std::string_view wire() const noexcept { return wire_; }
  std::string_view start_line() const noexcept;                  // without CRLF
  std::string_view body() const noexcept;                        // trimmed to Content-Length
  std::span<const Line> lines() const noexcept { return lines_; }
  std::uint32_t headers_end() const noexcept { return headers_end_; }  // offset of the empty line

  const Line* find(Header header) const noexcept;                // the first such line
  std::string_view value(Header header) const noexcept;          // of the first such line, "" where absent
  std::string_view value(const Line& line) const noexcept;
  std::string_view name(const Line& line) const noexcept;

  const Via& top_via() const noexcept { return top_via_; }
  std::string_view call_id() const noexcept;
  std::string_view from_tag() const noexcept;                    // "" where absent
  std::string_view to_tag() const noexcept;
  std::uint32_t cseq() const noexcept { return cseq_; }
  /// Max-Forwards, or -1 where absent.
  int max_forwards() const noexcept { return max_forwards_; }
  /// What its buffers hold on to.
  std::size_t capacity_bytes() const noexcept { return wire_.capacity() + lines_.capacity() * sizeof(Line); }

 private:
  struct Slice {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
  };
  std::string_view slice(Slice part) const noexcept { return std::string_view{wire_}.substr(part.begin, part.end - part.begin); }
  Slice slice_of(std::string_view part) const noexcept;

  void clear() noexcept;
  void fail(int status, const char* reason) noexcept;  // the first failure stands
  bool read_start_line() noexcept;
  bool read_request_line() noexcept;
  bool read_status_line() noexcept;
  bool index_lines();                                  // false: the headers have no end
  void index_line(std::uint32_t begin, std::uint32_t line_end, std::uint32_t end);
  void read_header_fields() noexcept;
  void read_cseq() noexcept;
  void read_body() noexcept;

  std::string wire_;
  std::vector<Line> lines_;
  std::array<std::uint8_t, 64> first_{};  // of each Header its first line's number plus one, 0 where absent
  ParseFailure failure_{};
  Via top_via_{};
  std::string_view from_tag_;
  std::string_view to_tag_;
  Slice start_line_{};
  Slice method_text_{};
  Slice target_{};                        // Request-URI, or reason phrase
  std::uint32_t headers_begin_ = 0;
  std::uint32_t headers_end_ = 0;
  std::uint32_t body_begin_ = 0;
  std::uint32_t cseq_ = 0;
  int status_ = 0;
  int max_forwards_ = -1;
  Method method_ = Method::other;
  bool is_request_ = false;
};

}  // namespace sipfarm::sip
