#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "bpf/kernel_relay.hpp"

namespace sipfarm::bpf {
namespace {

struct Interface {
  unsigned flags = 0;
  unsigned hardware = 0;  // ARPHRD_*
  std::vector<net::Address> addresses;
};

net::Address address_of(const sockaddr& at) {
  sockaddr_storage storage{};
  std::memcpy(&storage, &at, at.sa_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
  return net::Address::from_sockaddr(storage).value_or(net::Address{});
}

std::map<std::string, Interface> read_interfaces() {
  std::map<std::string, Interface> found;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return found;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || (at->ifa_flags & IFF_UP) == 0) continue;
    Interface& interface = found[at->ifa_name];
    interface.flags = at->ifa_flags;
    if (at->ifa_addr->sa_family == AF_PACKET) {
      sockaddr_ll link{};
      std::memcpy(&link, at->ifa_addr, sizeof link);
      interface.hardware = link.sll_hatype;
    } else if (at->ifa_addr->sa_family == AF_INET || at->ifa_addr->sa_family == AF_INET6) {
      interface.addresses.push_back(address_of(*at->ifa_addr));
    }
  }
  ::freeifaddrs(list);
  return found;
}

bool is_loopback(const Interface& interface) { return (interface.flags & IFF_LOOPBACK) != 0; }

/// Packets come in by it: it has Ethernet neighbours (a dummy has none, and does not ask for them).
bool has_neighbours(const Interface& interface) {
  return interface.hardware == ARPHRD_ETHER && (interface.flags & IFF_NOARP) == 0;
}

bool holds(const Interface& interface, const net::Address& address) {
  if (is_loopback(interface) && !address.v6 && address.ip[0] == 127) return true;  // all of 127.0.0.0/8
  return std::any_of(interface.addresses.begin(), interface.addresses.end(),
                     [&](const net::Address& held) { return held.same_ip(address); });
}

bool is_loopbacks_own(const net::Address& address) {
  if (!address.v6) return address.ip[0] == 127;
  return address.same_ip(net::Address::parse("::1", 0).value());
}

}  // namespace

std::vector<std::string> interfaces_of(const std::vector<net::Address>& addresses) {
  std::vector<std::string> names;
  const std::map<std::string, Interface> interfaces = read_interfaces();
  const auto add = [&](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  for (const net::Address& address : addresses) {
    bool reached = false;
    for (const auto& [name, interface] : interfaces) {
      const bool comes_in = is_loopback(interface) ? is_loopbacks_own(address) : has_neighbours(interface);
      if (!comes_in || !holds(interface, address)) continue;
      add(name);
      reached = true;
    }
    if (reached) continue;
    for (const auto& [name, interface] : interfaces) {
      if (has_neighbours(interface)) add(name);
    }
  }
  return names;
}

}  // namespace sipfarm::bpf
