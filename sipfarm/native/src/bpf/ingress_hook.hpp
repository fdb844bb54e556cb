#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace sipfarm::bpf {

/// A program at the ingress of one interface, beside whatever others are there. Gone with the object.
class IngressHook {
 public:
  virtual ~IngressHook() = default;
  IngressHook(const IngressHook&) = delete;
  IngressHook& operator=(const IngressHook&) = delete;

  /// A TCX link (Linux 6.6), which ends with the process however that ends; where there is none, a filter of clsact. Such a one
  /// outlives a killed process: filters of ours whose process is gone are taken away here. Nothing, and why not in `reason`.
  static std::unique_ptr<IngressHook> attach(std::uint32_t interface, int program_fd, bool tcx, std::string& reason);

  virtual const char* kind() const noexcept = 0;

 protected:
  IngressHook() = default;
};

}  // namespace sipfarm::bpf
