#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bpf/flow_table.hpp"
#include "bpf/ingress_hook.hpp"
#include "bpf/relay_program.hpp"
#include "net/address.hpp"

namespace sipfarm::bpf {

struct KernelRelayConfig {
  std::vector<net::Address> addresses;   // that media ports are bound on; their ports are not used
  std::vector<std::string> interfaces;   // that media come in by; empty: found by the addresses
  unsigned tables = 1;                   // one for each thread
  std::uint32_t flows = 16'384;          // of each table
  bool tcx = true;                       // false: clsact, as on kernels before 6.6
};

/// Relays RTP in the kernel, at the ingress of the interfaces that it comes in by. Only packets to a port that has a flow are
/// touched. Each process has a program and tables of its own; several work side by side.
class KernelRelay {
 public:
  /// Nothing, and why not in `reason`, where the build, the kernel or the process's rights do not give it.
  static std::unique_ptr<KernelRelay> open(const KernelRelayConfig& config, std::string& reason);

  /// Each belongs to one thread.
  FlowTable& table(unsigned index) noexcept { return tables_[index]; }

  /// Flows that nobody looks after for `lease_ms` go up. Any thread.
  void renew(std::int64_t now_ms) noexcept;
  static constexpr std::int64_t lease_ms = 5'000;

  /// "eth0 (tcx), lo (tcx)".
  const std::string& where() const noexcept { return where_; }

  KernelRelay(std::unique_ptr<RelayProgram> program, const KernelRelayConfig& config);

 private:
  bool attach(const KernelRelayConfig& config, std::string& reason);

  std::unique_ptr<RelayProgram> program_;
  std::vector<FlowTable> tables_;
  std::vector<std::unique_ptr<IngressHook>> hooks_;
  std::string where_;
};

/// The interfaces that packets for these addresses come in by: those that hold one. An address that only loopback or a dummy
/// holds, other than loopback's own, is reached through any: then all that are up and speak Ethernet.
std::vector<std::string> interfaces_of(const std::vector<net::Address>& addresses);

}  // namespace sipfarm::bpf
