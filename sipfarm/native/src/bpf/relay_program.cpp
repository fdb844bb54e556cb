#include "bpf/relay_program.hpp"

#ifdef SIPFARM_BPF
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>
#endif

namespace sipfarm::bpf {

#ifdef SIPFARM_BPF

namespace {

constexpr std::size_t k_log_bytes = 1U << 20U;
constexpr std::size_t k_told_bytes = 2'000;  // of the verifier's log, its end: there it says what it does not like

std::size_t whole_pages(std::size_t bytes) noexcept {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

std::string refusal(int error, const char* log) {
  std::string reason = std::string{"the kernel refuses the relay program: "} + std::strerror(error);
  if (error == EPERM) reason += " (it takes CAP_BPF and CAP_NET_ADMIN)";
  const std::string_view said{log};
  if (!said.empty()) reason.append("\n").append(said.substr(said.size() > k_told_bytes ? said.size() - k_told_bytes : 0));
  return reason;
}

}  // namespace

/// An array map, mapped. False means: errno says why.
struct Mapping {
  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (memory != MAP_FAILED) ::munmap(memory, bytes);
  }

  bool map(const bpf_map* of) noexcept {
    if (of == nullptr) return false;
    bytes = whole_pages(std::size_t{::bpf_map__value_size(of)} * ::bpf_map__max_entries(of));
    memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ::bpf_map__fd(of), 0);
    return memory != MAP_FAILED;
  }

  template <typename Value>
  std::span<Value> entries(std::size_t count) const noexcept {
    return {static_cast<Value*>(memory), count};
  }

  void* memory = MAP_FAILED;
  std::size_t bytes = 0;
};

struct RelayProgram::Kernel {
  Kernel() = default;
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;
  ~Kernel() { ::bpf_object__close(object); }

  const bpf_map* map(const char* name) const noexcept { return ::bpf_object__find_map_by_name(object, name); }

  bool load(std::span<const unsigned char> bytes, std::uint32_t flow_places, std::vector<char>& log) noexcept {
    ::libbpf_set_print(nullptr);
    LIBBPF_OPTS(bpf_object_open_opts, options);
    options.kernel_log_buf = log.data();
    options.kernel_log_size = log.size();
    object = ::bpf_object__open_mem(bytes.data(), bytes.size(), &options);
    if (object == nullptr) return false;
    bpf_map* const flow_map = ::bpf_object__find_map_by_name(object, "flows");
    if (::bpf_map__set_max_entries(flow_map, flow_places) != 0 || ::bpf_object__load(object) != 0) return false;
    return flows.map(flow_map) && ports.map(map("ports")) && lease.map(map("lease"));
  }

  bpf_object* object = nullptr;
  Mapping ports;
  Mapping flows;
  Mapping lease;
};

std::unique_ptr<RelayProgram> RelayProgram::load(std::span<const unsigned char> object, std::uint32_t flows, std::string& reason) {
  auto kernel = std::make_unique<Kernel>();
  std::vector<char> log(k_log_bytes);
  if (kernel->load(object, flows, log)) return std::make_unique<RelayProgram>(std::move(kernel));
  reason = refusal(errno, log.data());
  return nullptr;
}

int RelayProgram::fd() const noexcept { return ::bpf_program__fd(::bpf_object__find_program_by_name(kernel_->object, "relay")); }

std::span<relay_port> RelayProgram::ports() const noexcept {
  return kernel_->ports.entries<relay_port>(::bpf_map__max_entries(kernel_->map("ports")));
}

std::span<relay_flow> RelayProgram::flows() const noexcept {
  return kernel_->flows.entries<relay_flow>(::bpf_map__max_entries(kernel_->map("flows")));
}

__u64& RelayProgram::lease_until_ns() const noexcept { return kernel_->lease.entries<__u64>(1).front(); }

#else

struct RelayProgram::Kernel {
  __u64 lease_until_ns = 0;
};

std::unique_ptr<RelayProgram> RelayProgram::load(std::span<const unsigned char>, std::uint32_t, std::string& reason) {
  reason = "built without clang or libbpf";
  return nullptr;
}

int RelayProgram::fd() const noexcept { return -1; }
std::span<relay_port> RelayProgram::ports() const noexcept { return {}; }
std::span<relay_flow> RelayProgram::flows() const noexcept { return {}; }
__u64& RelayProgram::lease_until_ns() const noexcept { return kernel_->lease_until_ns; }

#endif

RelayProgram::RelayProgram(std::unique_ptr<Kernel> kernel) noexcept : kernel_{std::move(kernel)} {}
RelayProgram::~RelayProgram() = default;

}  // namespace sipfarm::bpf
