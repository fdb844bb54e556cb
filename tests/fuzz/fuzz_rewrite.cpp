// Seeds: tests/vectors/rewrite
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sip/headers.hpp"
#include "sip/rewrite.hpp"

using namespace sipfarm::sip;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

std::size_t values_of(const Message& message, Header header) {
  HeaderCursor cursor{message, header};
  std::size_t count = 0;
  for (std::string_view value; cursor.next(value);) ++count;
  return count;
}

void edit(Rewrite& rewrite, const Message& message, std::uint8_t act, std::uint8_t number) {
  const auto lines = message.lines();
  const Line& line = lines[number % lines.size()];
  const auto header = static_cast<Header>(number % 45);
  const std::string text = "X" + std::to_string(number);
  switch (act % 11) {
    case 0: rewrite.prepend(text + ": p\r\n"); break;
    case 1: rewrite.insert_before(header, text + ": i\r\n"); break;
    case 2: rewrite.append(text + ": a\r\n"); break;
    case 3: rewrite.erase(line); break;
    case 4: rewrite.erase_all(header); break;
    case 5: rewrite.replace_value(line, text + ", y"); break;
    case 6: rewrite.erase_first_value(header); break;
    case 7: rewrite.replace(message.top_via().branch, text); break;
    case 8: rewrite.insert_after(message.top_via().value, ";" + text); break;
    case 9: rewrite.replace_body(text); break;
    default: number == 255 ? rewrite.clear() : static_cast<void>(rewrite.set_request_uri("sip:" + text)); break;
  }
}

}  // namespace

/// The first byte says how many pairs (act, number) of edits follow, then comes a message. What is written has headers that still can be read.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Message message;
  static Message after;
  static Rewrite rewrite;
  if (size == 0 || size < 1 + 2U * data[0]) return 0;
  const std::size_t edits = data[0];
  if (!message.parse({reinterpret_cast<const char*>(data) + 1 + 2 * edits, size - 1 - 2 * edits})) return 0;
  rewrite.start(message);
  for (std::size_t i = 0; i < edits; ++i) edit(rewrite, message, data[1 + 2 * i], data[2 + 2 * i]);
  std::string out;
  rewrite.write(out);
  after.parse(out);
  require(after.headers_end() > 0 || after.lines().empty());

  // Popping takes exactly one value, until none is left.
  rewrite.start(message);
  const std::size_t vias = values_of(message, Header::via);
  for (std::size_t left = vias; left > 0; --left) {
    if (!rewrite.erase_first_value(Header::via)) return 0;  // the bound on edits
    out.clear();
    rewrite.write(out);
    after.parse(out);
    require(values_of(after, Header::via) == left - 1);
  }
  require(!rewrite.erase_first_value(Header::via));
  return 0;
}
