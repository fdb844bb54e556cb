#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "bpf/relay_flow.h"

namespace sipfarm::bpf {

/// relay.bpf.c in the kernel, with the tables that it reads. At work once an IngressHook calls it.
class RelayProgram {
 public:
  /// Nothing, and why not in `reason`, with the verifier's words if it refuses the program.
  static std::unique_ptr<RelayProgram> load(std::span<const unsigned char> object, std::uint32_t flows, std::string& reason);

  struct Kernel;
  explicit RelayProgram(std::unique_ptr<Kernel> kernel) noexcept;
  ~RelayProgram();
  RelayProgram(const RelayProgram&) = delete;
  RelayProgram& operator=(const RelayProgram&) = delete;

  int fd() const noexcept;
  std::span<relay_port> ports() const noexcept;
  std::span<relay_flow> flows() const noexcept;  // the first is nobody's
  __u64& lease_until_ns() const noexcept;

 private:
  std::unique_ptr<Kernel> kernel_;
};

}  // namespace sipfarm::bpf
