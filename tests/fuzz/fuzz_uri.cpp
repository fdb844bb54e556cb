// Seeds: tests/vectors/uri
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sip/uri.hpp"

using namespace sipfarm::sip;

namespace {
void require(bool condition) {
  if (!condition) std::abort();
}
}  // namespace

/// Two texts parted by a zero byte: equality is symmetric and agrees with the hash; the canonical AOR is a URI, and its own AOR.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input{reinterpret_cast<const char*>(data), size};
  const std::size_t zero = input.find('\0');
  const auto left = Uri::parse(input.substr(0, zero));
  if (!left) return 0;
  require(*left == *left);
  static_cast<void>(left->is_loose_router());
  const std::string aor = left->aor();
  const auto canonical = Uri::parse(aor);
  require(canonical.has_value() && canonical->aor() == aor);
  const auto right = zero == std::string_view::npos ? canonical : Uri::parse(input.substr(zero + 1));
  if (!right) return 0;
  require((*left == *right) == (*right == *left));
  if (*left == *right) require(left->hash() == right->hash());
  return 0;
}
