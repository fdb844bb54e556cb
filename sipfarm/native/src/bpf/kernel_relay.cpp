#include "bpf/kernel_relay.hpp"

#include <net/if.h>

#include <algorithm>
#include <atomic>

#include "bpf/object.hpp"

namespace sipfarm::bpf {
namespace {

constexpr std::uint64_t k_ns_per_ms = 1'000'000;

std::span<const unsigned char> relay_object() noexcept {
#ifdef SIPFARM_BPF
  return object("relay");
#else
  return {};
#endif
}

}  // namespace

std::unique_ptr<KernelRelay> KernelRelay::open(const KernelRelayConfig& config, std::string& reason) {
  auto program = RelayProgram::load(relay_object(), config.tables * config.flows + 1, reason);
  if (!program) return nullptr;
  auto relay = std::make_unique<KernelRelay>(std::move(program), config);
  if (!relay->attach(config, reason)) return nullptr;
  return relay;
}

KernelRelay::KernelRelay(std::unique_ptr<RelayProgram> program, const KernelRelayConfig& config) : program_{std::move(program)} {
  for (unsigned i = 0; i < config.tables; ++i) {
    tables_.emplace_back(program_->ports(), program_->flows(), 1 + i * config.flows, config.flows);
  }
}

bool KernelRelay::attach(const KernelRelayConfig& config, std::string& reason) {
  const std::vector<std::string> names = config.interfaces.empty() ? interfaces_of(config.addresses) : config.interfaces;
  for (const std::string& name : names) {
    std::string why;
    const std::uint32_t interface = ::if_nametoindex(name.c_str());
    if (interface == 0) {
      reason = "no interface " + name;
      return false;
    }
    auto hook = IngressHook::attach(interface, program_->fd(), config.tcx, why);
    if (!hook) {
      reason = name + ": " + why;
      return false;
    }
    where_ += (where_.empty() ? "" : ", ") + name + " (" + hook->kind() + ")";
    hooks_.push_back(std::move(hook));
  }
  if (hooks_.empty()) reason = "no interface holds a media address";
  return !hooks_.empty();
}

void KernelRelay::renew(std::int64_t now_ms) noexcept {
  const auto until_ns = static_cast<std::uint64_t>(now_ms + lease_ms) * k_ns_per_ms;
  std::atomic_ref{program_->lease_until_ns()}.store(until_ns, std::memory_order_relaxed);
}

}  // namespace sipfarm::bpf
