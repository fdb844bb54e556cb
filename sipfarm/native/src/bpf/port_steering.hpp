#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "bpf/steering_program.hpp"
#include "net/address.hpp"

namespace sipfarm::bpf {

/// Brings the packets of many ports of one address to one socket for each worker thread, whatever ports these are bound to.
/// A port is not ours, or it rests (what comes is dropped by the kernel), or it is open to a worker.
class PortSteering {
 public:
  /// Nothing, and why not in `reason`, where it cannot be had.
  static std::unique_ptr<PortSteering> attach(const SteeringConfig& config, std::string& reason);

  PortSteering(std::unique_ptr<SteeringProgram> program, int sink, std::uint16_t first_port) noexcept;
  ~PortSteering();
  PortSteering(const PortSteering&) = delete;
  PortSteering& operator=(const PortSteering&) = delete;

  // ---- control thread

  /// A worker's socket: UDP, bound, of the address's family. False, with errno set, if the kernel refuses it.
  bool set_worker_socket(unsigned worker, int fd) noexcept;
  /// The port is ours and rests. The caller has made sure that it is nobody else's.
  void hold(std::uint16_t port) noexcept { rest(port); }

  // ---- the worker that a held port is given to

  void open(std::uint16_t port, unsigned worker) noexcept;
  void rest(std::uint16_t port) noexcept;
  /// Only what comes from `remote` reaches the worker. The port is not locked yet.
  void lock(std::uint16_t port, const net::Address& remote) noexcept;
  void unlock(std::uint16_t port) noexcept;

  struct Refused {
    std::uint32_t strangers = 0;  // while locked
    std::uint32_t sunk = 0;       // while resting
  };
  /// What the kernel has dropped since the last call.
  Refused take_refused(std::uint16_t port) noexcept;

 private:
  steered_port& entry(std::uint16_t port) noexcept { return table_[static_cast<std::size_t>(port - first_port_)]; }

  std::unique_ptr<SteeringProgram> program_;
  std::span<steered_port> table_;
  int sink_;
  std::uint16_t first_port_;
};

}  // namespace sipfarm::bpf
