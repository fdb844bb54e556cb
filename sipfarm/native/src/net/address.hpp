#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace sipfarm::net {

/// An IPv4 or IPv6 address with a port, as a comparable value.
struct Address {
  std::array<std::uint8_t, 16> ip{};  // IPv4 stands in the first four bytes
  std::uint16_t port = 0;
  bool v6 = false;

  /// Reads an IP literal (IPv6 with or without brackets); a host name is nothing.
  static std::optional<Address> parse(std::string_view host, std::uint16_t port) noexcept;
  static std::optional<Address> from_sockaddr(const sockaddr_storage& storage) noexcept;

  socklen_t to_sockaddr(sockaddr_storage& storage) const noexcept;

  /// The IP literal as it stands in a sent-by or a URI host: IPv6 in brackets (RFC 3261 §25.1).
  std::string host() const;
  /// host() ":" port.
  std::string text() const;
  void append_host(std::string& out) const;
  void append_to(std::string& out) const;

  bool same_ip(const Address& other) const noexcept { return v6 == other.v6 && ip == other.ip; }
  bool empty() const noexcept { return port == 0 && ip == std::array<std::uint8_t, 16>{}; }
  /// 0.0.0.0 or [::], the address that older phones hold a stream with (RFC 3264 §8.4).
  bool is_unspecified() const noexcept { return ip == std::array<std::uint8_t, 16>{}; }
  bool is_multicast() const noexcept { return v6 ? ip[0] == 0xff : (ip[0] & 0xf0) == 0xe0; }

  friend bool operator==(const Address&, const Address&) = default;
};

struct AddressHash {
  std::size_t operator()(const Address& address) const noexcept {
    std::uint64_t low = 0;
    std::uint64_t high = 0;
    std::memcpy(&low, address.ip.data(), 8);
    std::memcpy(&high, address.ip.data() + 8, 8);
    std::uint64_t mixed = (low ^ (high * 0x9e3779b97f4a7c15ULL) ^ address.port) * 0xff51afd7ed558ccdULL;
    return static_cast<std::size_t>(mixed ^ (mixed >> 33));
  }
};

}  // namespace sipfarm::net
