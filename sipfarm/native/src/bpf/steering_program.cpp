#include "bpf/steering_program.hpp"

#include <cerrno>
#include <cstring>

#ifdef SIPFARM_BPF
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bpf/object.hpp"
#endif

namespace sipfarm::bpf {

#ifdef SIPFARM_BPF

/// False means: errno says why.
struct SteeringProgram::Kernel {
  Kernel() = default;
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;
  ~Kernel() {
    ::bpf_link__destroy(link);
    if (table != MAP_FAILED) ::munmap(table, table_bytes);
    ::bpf_object__close(object);
  }

  bool load(const SteeringConfig& config) noexcept;
  bool attach() noexcept;

  bpf_object* object = nullptr;
  bpf_link* link = nullptr;
  void* table = MAP_FAILED;
  std::size_t table_bytes = 0;
  std::size_t ports = 0;
};

/// The maps are made to measure.
bool SteeringProgram::Kernel::load(const SteeringConfig& config) noexcept {
  ::libbpf_set_print(nullptr);
  const auto bytes = bpf::object("port_steering");
  object = ::bpf_object__open_mem(bytes.data(), bytes.size(), nullptr);
  if (object == nullptr) return false;
  steering_settings settings{};
  settings.family = config.address.v6 ? AF_INET6 : AF_INET;
  std::memcpy(settings.address, config.address.ip.data(), sizeof settings.address);
  settings.first_port = config.first_port;
  bpf_map* const constants = ::bpf_object__find_map_by_name(object, ".rodata");
  bpf_map* const entries = ::bpf_object__find_map_by_name(object, "ports");
  bpf_map* const sockets = ::bpf_object__find_map_by_name(object, "sockets");
  ports = config.last_port - config.first_port + std::size_t{1};
  if (::bpf_map__set_initial_value(constants, &settings, sizeof settings) != 0 ||
      ::bpf_map__set_max_entries(entries, static_cast<__u32>(ports)) != 0 ||
      ::bpf_map__set_max_entries(sockets, SIPFARM_PLACE_FIRST_WORKER + config.workers) != 0 ||
      ::bpf_object__load(object) != 0) {
    return false;
  }
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  table_bytes = (ports * sizeof(steered_port) + page - 1) / page * page;
  table = ::mmap(nullptr, table_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ::bpf_map__fd(entries), 0);
  return table != MAP_FAILED;
}

bool SteeringProgram::Kernel::attach() noexcept {
  const int netns = ::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (netns < 0) return false;
  link = ::bpf_program__attach_netns(::bpf_object__find_program_by_name(object, "steer"), netns);
  const int error = errno;
  ::close(netns);
  errno = error;
  return link != nullptr;
}

std::unique_ptr<SteeringProgram> SteeringProgram::load(const SteeringConfig& config, std::string& reason) {
  auto kernel = std::make_unique<Kernel>();
  if (kernel->load(config) && kernel->attach()) return std::make_unique<SteeringProgram>(std::move(kernel));
  reason = std::string{"the kernel refuses the steering program: "} + std::strerror(errno);
  return nullptr;
}

bool SteeringProgram::set_socket(std::uint32_t place, int fd) noexcept {
  const auto value = static_cast<__u64>(fd);
  return ::bpf_map__update_elem(::bpf_object__find_map_by_name(kernel_->object, "sockets"), &place, sizeof place, &value,
                                sizeof value, BPF_ANY) == 0;
}

std::span<steered_port> SteeringProgram::table() const noexcept {
  return {static_cast<steered_port*>(kernel_->table), kernel_->ports};
}

#else

struct SteeringProgram::Kernel {};

std::unique_ptr<SteeringProgram> SteeringProgram::load(const SteeringConfig&, std::string& reason) {
  reason = "built without clang or libbpf";
  return nullptr;
}

bool SteeringProgram::set_socket(std::uint32_t, int) noexcept { return false; }

std::span<steered_port> SteeringProgram::table() const noexcept { return {}; }

#endif

SteeringProgram::SteeringProgram(std::unique_ptr<Kernel> kernel) noexcept : kernel_{std::move(kernel)} {}
SteeringProgram::~SteeringProgram() = default;

}  // namespace sipfarm::bpf
