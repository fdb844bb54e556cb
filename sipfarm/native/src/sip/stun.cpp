#include "sip/stun.hpp"

#include <array>
#include <cstdint>

namespace sipfarm::sip {

namespace {
constexpr std::size_t header_bytes = 20;
constexpr std::array<std::uint8_t, 4> magic = {0x21, 0x12, 0xa4, 0x42};

std::uint8_t byte_at(std::string_view text, std::size_t index) noexcept { return static_cast<std::uint8_t>(text[index]); }
}  // namespace

bool is_stun(std::string_view datagram) noexcept {
  if (datagram.size() < header_bytes || byte_at(datagram, 0) > 3) return false;
  for (std::size_t i = 0; i < magic.size(); ++i) {
    if (byte_at(datagram, 4 + i) != magic[i]) return false;
  }
  return true;
}

bool append_binding_response(std::string& out, std::string_view request, const net::Address& source) {
  constexpr std::uint16_t binding_request = 0x0001;
  if (!is_stun(request) || (byte_at(request, 0) << 8 | byte_at(request, 1)) != binding_request) return false;
  const std::size_t address_bytes = source.v6 ? 16 : 4;
  const auto put = [&out](unsigned value) { out += static_cast<char>(value); };
  put(0x01);  // Binding success response
  put(0x01);
  put(0);
  put(static_cast<unsigned>(8 + address_bytes));
  out += request.substr(4, 16);  // magic cookie and transaction id
  put(0x00);                     // XOR-MAPPED-ADDRESS
  put(0x20);
  put(0);
  put(static_cast<unsigned>(4 + address_bytes));
  put(0);
  put(source.v6 ? 2 : 1);
  put((source.port >> 8) ^ magic[0]);
  put((source.port & 0xff) ^ magic[1]);
  for (std::size_t i = 0; i < address_bytes; ++i) put(source.ip[i] ^ byte_at(request, 4 + i));
  return true;
}

}  // namespace sipfarm::sip
