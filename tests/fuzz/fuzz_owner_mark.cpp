// A mark is opened or refused; what opens is minted again to the same text, in lower case. Nobody guesses a MAC.

#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sip/owner_mark.hpp"

using namespace sipfarm::sip;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const MarkKeys keys{MarkKey{1, {1, 2, 3}}, MarkKey{2, {4, 5, 6}}};
  const std::string input{reinterpret_cast<const char*>(data), size};
  const auto kind = static_cast<MarkKind>(size == 0 ? 0 : data[0] % 5);

  if (keys.open(kind, input, "")) std::abort();  // 40 bits are not found by chance

  // The input as a mark's fields and context: minted, opened, and refused in any other place.
  OwnerMark mark;
  for (std::size_t i = 0; i < size && i < 10; ++i) {
    mark.handle = (mark.handle << 8 | data[i]) & OwnerMark::handle_max;
    mark.epoch = (mark.epoch * 31 + data[i]) & OwnerMark::epoch_max;
    mark.member = static_cast<std::uint16_t>((mark.member * 7U + data[i]) & OwnerMark::member_max);
  }
  std::string text;
  keys.append(text, kind, mark, input);
  if (text.size() != mark_chars || keys.open(kind, text, input) != mark) std::abort();
  if (keys.open(kind, text, input + 'x')) std::abort();
  const std::size_t at = size % mark_chars;
  const char before = text[at];
  text[at] = size == 0 ? '1' : static_cast<char>(data[size - 1]);
  const bool same = std::tolower(static_cast<unsigned char>(text[at])) == before;
  if (keys.open(kind, text, input).has_value() != same) std::abort();
  return 0;
}
