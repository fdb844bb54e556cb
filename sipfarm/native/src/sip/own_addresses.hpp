#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sipfarm::sip {

/// Where the farm itself is reached: all it listens on or advertises, hosts in lower case and IPv6 in brackets.
class OwnAddresses {
 public:
  OwnAddresses(std::vector<std::string> hosts, std::vector<std::uint16_t> ports) : hosts_{std::move(hosts)}, ports_{std::move(ports)} {}

  /// Whether a URI with this host and port (0: absent) leads to the farm.
  bool include(std::string_view host, std::uint32_t port) const noexcept {
    return has_port(port == 0 ? default_port : port) && std::find(hosts_.begin(), hosts_.end(), host) != hosts_.end();
  }
  bool has_port(std::uint32_t port) const noexcept { return std::find(ports_.begin(), ports_.end(), port) != ports_.end(); }

 private:
  static constexpr std::uint32_t default_port = 5060;

  std::vector<std::string> hosts_;
  std::vector<std::uint16_t> ports_;
};

}  // namespace sipfarm::sip
