// Seeds: tests/vectors/rfc4475
// Seeds: tests/vectors/rfc5118
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sip/headers.hpp"
#include "sip/message.hpp"
#include "sip/rewrite.hpp"

using namespace sipfarm::sip;

namespace {
void require(bool condition) {
  if (!condition) std::abort();
}
}  // namespace

/// Any bytes: indexed or refused; what is indexed stands in the wire, and leaves byte for byte.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Message message;
  const bool parsed = message.parse({reinterpret_cast<const char*>(data), size});
  require(parsed == (message.failure().reason == nullptr));
  std::uint32_t end = 0;
  for (const Line& line : message.lines()) {
    require(end <= line.begin && line.begin < line.name_end && line.name_end < line.value_begin);
    require(line.value_begin <= line.value_end && line.value_end <= line.end && line.end <= message.headers_end());
    require(header_of(message.name(line)) == line.header);
    end = line.end;
  }
  for (int i = 1; i <= static_cast<int>(Header::www_authenticate); ++i) {
    HeaderCursor cursor{message, static_cast<Header>(i)};
    std::size_t count = 0;
    for (std::string_view value; cursor.next(value); ++count) require(!value.empty());
    require(count == 0 || message.find(static_cast<Header>(i)) != nullptr);
  }
  if (!parsed) return 0;
  require(message.is_request() == (message.status() == 0) && !message.call_id().empty() && !message.top_via().host.empty());
  std::string out;
  Rewrite{message}.write(out);
  require(out == message.wire());
  static Message again;
  require(again.parse(out) && again.lines().size() == message.lines().size() && again.body() == message.body());
  return 0;
}
