#include "net/address.hpp"

#include <arpa/inet.h>

#include <charconv>

namespace sipfarm::net {

std::optional<Address> Address::parse(std::string_view host, std::uint16_t port) noexcept {
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (host.empty() || host.size() >= text.size()) return std::nullopt;
  std::memcpy(text.data(), host.data(), host.size());
  Address address;
  address.port = port;
  if (inet_pton(AF_INET, text.data(), address.ip.data()) == 1) return address;
  if (inet_pton(AF_INET6, text.data(), address.ip.data()) != 1) return std::nullopt;
  address.v6 = true;
  return address;
}

std::optional<Address> Address::from_sockaddr(const sockaddr_storage& storage) noexcept {
  Address address;
  if (storage.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &storage, sizeof in);
    std::memcpy(address.ip.data(), &in.sin_addr, 4);
    address.port = ntohs(in.sin_port);
    return address;
  }
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &storage, sizeof in);
    std::memcpy(address.ip.data(), &in.sin6_addr, 16);
    address.port = ntohs(in.sin6_port);
    address.v6 = true;
    return address;
  }
  return std::nullopt;
}

socklen_t Address::to_sockaddr(sockaddr_storage& storage) const noexcept {
  if (v6) {
    sockaddr_in6 out{};
    out.sin6_family = AF_INET6;
    out.sin6_port = htons(port);
    std::memcpy(&out.sin6_addr, ip.data(), 16);
    std::memcpy(&storage, &out, sizeof out);
    return sizeof out;
  }
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  std::memcpy(&out.sin_addr, ip.data(), 4);
  std::memcpy(&storage, &out, sizeof out);
  return sizeof out;
}

void Address::append_host(std::string& out) const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (!v6) {
    char* end = text.data();
    for (std::size_t i = 0; i < 4; ++i) {
      if (i > 0) *end++ = '.';
      end = std::to_chars(end, text.data() + text.size(), ip[i]).ptr;
    }
    out.append(text.data(), end);
    return;
  }
  inet_ntop(AF_INET6, ip.data(), text.data(), text.size());
  out += '[';
  out += text.data();
  out += ']';
}

void Address::append_to(std::string& out) const {
  append_host(out);
  std::array<char, 8> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), port).ptr;
  out += ':';
  out.append(digits.data(), end);
}

std::string Address::host() const {
  std::string out;
  append_host(out);
  return out;
}

std::string Address::text() const {
  std::string out;
  append_to(out);
  return out;
}

}  // namespace sipfarm::net
