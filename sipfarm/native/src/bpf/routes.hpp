#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "bpf/netlink.hpp"
#include "net/address.hpp"

namespace sipfarm::bpf {

/// How relayed packets reach their destination.
struct Way {
  std::uint32_t in_interface = 0;   // the only one they may come in by; 0: any
  std::uint32_t out_interface = 0;  // 0: to a socket of this machine
  std::uint16_t bytes_max = 0;      // of an IP packet
};

/// The kernel's routes, asked for one destination at a time and remembered until they change. For one thread.
class Routes {
 public:
  /// Nothing, with errno set, if the kernel gives no socket.
  static std::optional<Routes> open() noexcept;

  /// From our address `from` to `to`, of packets that come to our `local`; nothing where a packet cannot be sent on without a
  /// socket: no route, another family, a device without Ethernet addresses, a socket of this machine that is not fed by loopback.
  std::optional<Way> find(const net::Address& local, const net::Address& from, const net::Address& to) noexcept;

  /// Whether routes, addresses or links have changed since the last call. Ways found before then may be wrong.
  bool take_changed() noexcept;

 private:
  struct Known {
    net::Address from;  // without ports
    net::Address to;
    Way way;
    bool reachable = false;
    bool filled = false;
  };

  Routes() = default;
  std::optional<Way> ask(const net::Address& from, const net::Address& to) noexcept;
  bool measure(std::uint32_t interface, Way& way) const noexcept;
  void read_links() noexcept;

  struct Link {
    std::uint32_t interface = 0;
    std::uint16_t bytes_max = 0;
  };

  Netlink questions_;
  Netlink changes_;
  std::array<Link, 256> links_{};  // up, and of Ethernet; the way by one that finds no room is not found
  std::size_t links_count_ = 0;
  std::array<Known, 512> known_{};
};

}  // namespace sipfarm::bpf
