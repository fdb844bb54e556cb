#include "bpf/routes.hpp"

#include <net/if.h>
#include <net/if_arp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <span>

namespace sipfarm::bpf {
namespace {

constexpr std::uint16_t k_largest_packet = 65'535;
constexpr std::uint32_t k_loopback = 1;  // in every network namespace
constexpr std::array k_changes = {RTNLGRP_LINK,        RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
                                  RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE};

net::Address without_port(net::Address address) noexcept {
  address.port = 0;
  return address;
}

bool is_loopback(const net::Address& address) noexcept {
  static const net::Address six = net::Address::parse("::1", 0).value();
  return address.v6 ? address.same_ip(six) : address.ip[0] == 127;
}

std::size_t ip_bytes(const net::Address& address) noexcept { return address.v6 ? 16 : 4; }

}  // namespace

std::optional<Routes> Routes::open() noexcept {
  Routes routes;
  if (!routes.questions_.open() || !routes.changes_.open()) return std::nullopt;
  for (const unsigned group : k_changes) {
    if (!routes.changes_.subscribe(group)) return std::nullopt;
  }
  routes.read_links();
  return routes;
}

std::optional<Way> Routes::find(const net::Address& local, const net::Address& from, const net::Address& to) noexcept {
  if (from.v6 != to.v6 || local.v6 != to.v6) return std::nullopt;
  const net::Address source = without_port(from);
  const net::Address target = without_port(to);
  Known& known = known_[(net::AddressHash{}(target) ^ net::AddressHash{}(source) >> 7U) % known_.size()];
  if (!known.filled || known.from != source || known.to != target) {
    const std::optional<Way> way = ask(source, target);
    known = {source, target, way.value_or(Way{}), way.has_value(), true};
  }
  if (!known.reachable) return std::nullopt;
  Way way = known.way;
  // The stack takes neither loopback's addresses from a wire, nor our own addresses as a source there.
  if (way.out_interface == k_loopback) way.out_interface = 0;
  if (way.out_interface == 0 || is_loopback(local)) way.in_interface = k_loopback;
  return way;
}

std::optional<Way> Routes::ask(const net::Address& from, const net::Address& to) noexcept {
  rtmsg header{};
  header.rtm_family = to.v6 ? AF_INET6 : AF_INET;
  header.rtm_dst_len = header.rtm_src_len = static_cast<unsigned char>(ip_bytes(to) * 8);
  NetlinkRequest request{RTM_GETROUTE, 0, header};
  request.add(RTA_DST, to.ip.data(), ip_bytes(to));
  request.add(RTA_SRC, from.ip.data(), ip_bytes(from));
  const nlmsghdr* const answer = questions_.ask(request);
  if (answer == nullptr || answer->nlmsg_type != RTM_NEWROUTE || answer->nlmsg_len < NLMSG_SPACE(sizeof header)) return std::nullopt;
  std::memcpy(&header, NLMSG_DATA(answer), sizeof header);
  const auto out = attribute<std::uint32_t>(*answer, sizeof header, RTA_OIF);
  if (!out || (header.rtm_type != RTN_UNICAST && header.rtm_type != RTN_LOCAL)) return std::nullopt;
  Way way;
  way.out_interface = header.rtm_type == RTN_LOCAL ? 0 : *out;
  way.bytes_max = k_largest_packet;
  if (way.out_interface != 0 && !measure(way.out_interface, way)) return std::nullopt;
  return way;
}

/// False: none that is up and takes Ethernet frames.
bool Routes::measure(std::uint32_t interface, Way& way) const noexcept {
  for (const Link& link : std::span{links_}.first(links_count_)) {
    if (link.interface != interface) continue;
    way.bytes_max = link.bytes_max;
    return true;
  }
  return false;
}

void Routes::read_links() noexcept {
  links_count_ = 0;
  ifinfomsg header{};
  NetlinkRequest request{RTM_GETLINK, NLM_F_DUMP, header};
  questions_.dump(request, [&](const nlmsghdr& message) {
    if (message.nlmsg_type != RTM_NEWLINK || message.nlmsg_len < NLMSG_SPACE(sizeof header)) return;
    std::memcpy(&header, NLMSG_DATA(&message), sizeof header);
    const bool ethernet = header.ifi_type == ARPHRD_ETHER || header.ifi_type == ARPHRD_LOOPBACK;
    const auto mtu = attribute<std::uint32_t>(message, sizeof header, IFLA_MTU);
    if (!ethernet || !mtu || (header.ifi_flags & IFF_UP) == 0 || links_count_ == links_.size()) return;
    links_[links_count_++] = {static_cast<std::uint32_t>(header.ifi_index),
                              static_cast<std::uint16_t>(std::min<std::uint32_t>(*mtu, k_largest_packet))};
  });
}

bool Routes::take_changed() noexcept {
  if (!changes_.drain()) return false;
  known_.fill({});
  read_links();
  return true;
}

}  // namespace sipfarm::bpf
