#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "bpf/steered_port.h"
#include "net/address.hpp"

namespace sipfarm::bpf {

struct SteeringConfig {
  net::Address address;  // of this machine, no wildcard; its port is not used
  std::uint16_t first_port = 0;
  std::uint16_t last_port = 0;
  unsigned workers = 1;
};

/// port_steering.bpf.c in the kernel, at work in this network namespace. It is gone with the object, and with the process
/// however that ends: nothing is pinned.
class SteeringProgram {
 public:
  /// Nothing, and why not in `reason`, where the build, the kernel or the process's rights do not give it.
  static std::unique_ptr<SteeringProgram> load(const SteeringConfig& config, std::string& reason);

  struct Kernel;
  explicit SteeringProgram(std::unique_ptr<Kernel> kernel) noexcept;
  ~SteeringProgram();
  SteeringProgram(const SteeringProgram&) = delete;
  SteeringProgram& operator=(const SteeringProgram&) = delete;

  /// False, with errno set, if the kernel refuses the socket.
  bool set_socket(std::uint32_t place, int fd) noexcept;
  /// From the first port to the last; the program reads the same memory.
  std::span<steered_port> table() const noexcept;

 private:
  std::unique_ptr<Kernel> kernel_;
};

}  // namespace sipfarm::bpf
