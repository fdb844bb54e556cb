#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "sip/message.hpp"

/// Readers of single header field values. All are views into the text given; none allocates.
namespace sipfarm::sip {

/// One parameter: "name", "name=value" or name="value".
struct Param {
  std::string_view name;
  std::string_view value;  // of a quoted string its content, quoted-pairs left as they came
  bool has_value = false;
  bool quoted = false;
};
/// Reads one parameter; nothing where the name is no token or the value is malformed. The auth-params of a challenge are read by it too.
std::optional<Param> parse_param(std::string_view text) noexcept;

/// Goes over the parameters of ";a=1;b" (the first ';' may be missing).
class ParamCursor {
 public:
  explicit ParamCursor(std::string_view params) noexcept : rest_{params} {}
  /// False at the end, and at a malformed parameter (then malformed() is true).
  bool next(Param& param) noexcept;
  bool malformed() const noexcept { return malformed_; }

 private:
  std::string_view rest_;
  bool malformed_ = false;
};

/// The value of a parameter ("" where it has none), nothing where it is absent. Names compare without case.
std::optional<std::string_view> find_param(std::string_view params, std::string_view name) noexcept;
bool well_formed_params(std::string_view params) noexcept;

/// Goes over the comma-separated values of one field value; commas in quotes, angle brackets and comments do not separate. Empty values are skipped.
class ValueCursor {
 public:
  explicit ValueCursor(std::string_view value) noexcept : rest_{value} {}
  bool next(std::string_view& value) noexcept;
  std::string_view rest() const noexcept { return rest_; }  // what follows the last value and its comma

 private:
  std::string_view rest_;
};

/// Goes over the comma-separated values of all lines of a header, in order.
class HeaderCursor {
 public:
  HeaderCursor(const Message& message, Header header) noexcept;
  bool next(std::string_view& value) noexcept;
  /// The line that the last value stands in.
  const Line* line() const noexcept { return line_; }

 private:
  const Message* message_;
  const Line* line_ = nullptr;
  ValueCursor values_;
  Header header_;
};

/// name-addr or addr-spec with header parameters (RFC 3261 §20.10).
struct NameAddr {
  std::string_view display;  // of a quoted string its content, quoted-pairs left as they came
  std::string_view uri;
  std::string_view params;   // from the first ';' on, "" where there is none
  bool bracketed = false;
  bool display_quoted = false;

  /// Nothing where quotes or brackets are open, the URI is empty or has white space, or a bare URI has '?' or ',' (RFC 3261 §20).
  static std::optional<NameAddr> parse(std::string_view text) noexcept;
  std::optional<std::string_view> param(std::string_view name) const noexcept { return find_param(params, name); }
  std::string_view tag() const noexcept { return param("tag").value_or(std::string_view{}); }
};

/// One via-parm (RFC 3261 §20.42). `value` is the trimmed text.
std::optional<Via> parse_via(std::string_view text) noexcept;
/// The k-th via-parm of a message, counted from 0 over all lines.
std::optional<Via> via_at(const Message& message, std::size_t index) noexcept;

struct CSeq {
  std::uint32_t number = 0;  // at most 2**31-1 (RFC 3261 §8.1.1.5)
  std::string_view method;
};
std::optional<CSeq> parse_cseq(std::string_view value) noexcept;

/// delta-seconds; a number that is too large is read as the largest one (RFC 3261 §20.19, RFC 4475 §3.1.2.4).
std::optional<std::uint32_t> parse_delta_seconds(std::string_view value) noexcept;
/// qvalue as thousandths, 0 to 1000 (RFC 3261 §20.10).
std::optional<int> parse_q(std::string_view value) noexcept;

}  // namespace sipfarm::sip
