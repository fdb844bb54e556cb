// Seeds: tests/vectors/registration
#include <cstdint>
#include <cstdlib>
#include <string>

#include "store/registration.hpp"

using namespace sipfarm::store;

namespace {
void require(bool condition) {
  if (!condition) std::abort();
}
}  // namespace

/// A stored registration and an update, parted by the bytes "|": what is written is read again, and the same update is then no news.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input{reinterpret_cast<const char*>(data), size};
  const std::size_t bar = input.find('|');
  if (bar == std::string_view::npos) return 0;
  const std::string_view update = input.substr(bar + 1);
  const Registered done = apply_register(input.substr(0, bar), update, 1'000);
  require(!done.changed || done.status == RegisterStatus::applied);
  if (!done.changed) return 0;
  const Registered again = apply_register(done.value, update, 1'000);
  require(again.status != RegisterStatus::corrupt);
  return 0;
}
