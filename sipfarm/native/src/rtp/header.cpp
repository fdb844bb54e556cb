#include "rtp/header.hpp"

namespace sipfarm::rtp {
namespace {

std::uint32_t number(std::span<const std::uint8_t> bytes, std::size_t at, std::size_t count) noexcept {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < count; ++i) value = value << 8U | bytes[at + i];
  return value;
}

void put(std::span<std::uint8_t> out, std::size_t at, std::size_t count, std::uint32_t value) noexcept {
  for (std::size_t i = count; i > 0; --i, value >>= 8U) out[at + i - 1] = static_cast<std::uint8_t>(value);
}

}  // namespace

std::optional<Header> Header::read(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() < k_fixed_header_bytes || bytes[0] >> 6U != 2) return std::nullopt;
  std::size_t begin = k_fixed_header_bytes + 4U * (bytes[0] & 0x0fU);
  if ((bytes[0] & 0x10U) != 0) {
    if (bytes.size() < begin + 4) return std::nullopt;
    begin += 4 + 4U * number(bytes, begin + 2, 2);
  }
  const std::size_t padding = (bytes[0] & 0x20U) != 0 ? bytes.back() : 0;
  if (bytes.size() < begin + padding) return std::nullopt;
  return Header{number(bytes, 8, 4),
                number(bytes, 4, 4),
                static_cast<std::uint16_t>(number(bytes, 2, 2)),
                static_cast<std::uint8_t>(bytes[1] & 0x7fU),
                (bytes[1] & 0x80U) != 0,
                bytes.subspan(begin, bytes.size() - begin - padding)};
}

void write_header(std::span<std::uint8_t> out, const audio::Stamp& stamp, std::uint8_t payload_type) noexcept {
  out[0] = 0x80;
  out[1] = static_cast<std::uint8_t>((stamp.marker ? 0x80U : 0U) | payload_type);
  put(out, 2, 2, stamp.sequence);
  put(out, 4, 4, stamp.timestamp);
  put(out, 8, 4, stamp.ssrc);
}

}  // namespace sipfarm::rtp
