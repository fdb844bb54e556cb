// Seeds: tests/vectors/headers
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sip/headers.hpp"
#include "sip/text.hpp"

using namespace sipfarm::sip;

namespace {
void require(bool condition) {
  if (!condition) std::abort();
}

bool inside(std::string_view part, std::string_view whole) {
  return part.empty() || (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}
}  // namespace

/// One field value through every reader: views stay inside, and a name-addr put together again reads the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input{reinterpret_cast<const char*>(data), size};
  ValueCursor values{input};
  for (std::string_view value; values.next(value);) {
    require(inside(value, input) && text::trim(value) == value && !value.empty());
    if (const auto via = parse_via(value)) require(inside(via->host, value) && inside(via->branch, value) && !via->transport.empty());
    const auto address = NameAddr::parse(value);
    if (!address) continue;
    require(inside(address->uri, value) && inside(address->params, value) && inside(address->tag(), value));
    const std::string display = address->display_quoted ? '"' + std::string{address->display} + '"' : std::string{address->display};
    const std::string text = display + '<' + std::string{address->uri} + '>' + std::string{address->params};
    const auto again = NameAddr::parse(text);
    require(again && again->uri == address->uri && again->display == address->display && again->params == address->params);
  }
  if (const auto q = parse_q(input)) require(*q >= 0 && *q <= 1000);
  if (const auto cseq = parse_cseq(input)) require(cseq->number <= 2'147'483'647U && inside(cseq->method, input));
  static_cast<void>(parse_delta_seconds(input));
  std::string out;
  text::append_unfolded(out, input);
  text::append_unquoted(out, input);
  text::append_unescaped(out, input);
  require(out.size() <= 3 * size);
  return 0;
}
