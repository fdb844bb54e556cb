#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "bpf/kernel_relay.hpp"
#include "net/address.hpp"
#include "rtp/stream.hpp"

namespace sipfarm::rtp {

struct KernelPathConfig {
  net::Address address;  // that the ports are bound on, no wildcard; its port is not used
  unsigned dscp = 46;
  std::uint32_t max_packets_per_s = 5'000;
  unsigned worker = 0;
};

/// The streams of one thread whose RTP the kernel relays: those that are locked on both sides and whose packets only change their
/// addresses. Each direction is moved there by itself, after a packet of it has left, and comes back when it is recalled.
class KernelPath {
 public:
  /// What the kernel has done since it was last asked.
  struct Done {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t dropped = 0;
  };

  KernelPath(const KernelPathConfig& config, bpf::KernelRelay& relay, bpf::Routes routes)
      : config_{config}, relay_{relay}, table_{relay.table(config.worker)}, routes_{std::move(routes)} {}

  /// The datagram has left by `out`: the kernel may relay what follows it.
  void left(Channel& out, std::span<const std::uint8_t> bytes, std::int64_t now_ms) noexcept;

  /// All of the stream's packets come up from now on.
  Done recall(Stream& stream, std::int64_t now_ms) noexcept;

  /// Counts what the kernel did as if it had been done here.
  Done collect(Stream& stream) noexcept;

  /// To be called at least every second: somebody is here. True if routes have changed: what is open is to be recalled.
  bool renew(std::int64_t now_ms) noexcept;

 private:
  void put(Face& face, const Channel& in, const Channel& out, std::int64_t now_ms) noexcept;
  void collect(Stream& stream, Side side, Done& done) noexcept;

  KernelPathConfig config_;
  bpf::KernelRelay& relay_;
  bpf::FlowTable& table_;
  bpf::Routes routes_;
};

}  // namespace sipfarm::rtp
