#include "bpf/ingress_hook.hpp"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "bpf/netlink.hpp"

namespace sipfarm::bpf {
namespace {

constexpr std::uint32_t k_tcx_ingress = 46;  // BPF_TCX_INGRESS of <linux/bpf.h>, in those of Linux 6.6 and later
constexpr char k_filter_name[] = "sipfarm_relay";
constexpr std::uint32_t k_priority = 0x5349;
constexpr std::uint32_t k_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS);

class TcxLink final : public IngressHook {
 public:
  explicit TcxLink(int fd) noexcept : fd_{fd} {}
  ~TcxLink() override { ::close(fd_); }
  const char* kind() const noexcept override { return "tcx"; }

 private:
  int fd_;
};

/// -1 with errno set.
int link_tcx(std::uint32_t interface, int program_fd) noexcept {
  bpf_attr attributes;
  std::memset(&attributes, 0, sizeof attributes);
  attributes.link_create.prog_fd = static_cast<std::uint32_t>(program_fd);
  attributes.link_create.target_ifindex = interface;
  attributes.link_create.attach_type = k_tcx_ingress;
  return static_cast<int>(::syscall(SYS_bpf, BPF_LINK_CREATE, &attributes, sizeof attributes));
}

// ---- clsact

/// While a process holds this name, its filter is not stale. Abstract names belong to the network namespace, as filters do, and
/// end with their holder.
sockaddr_un name_of(std::uint32_t handle, socklen_t& bytes) noexcept {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const int length = std::snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "%s-%08x", k_filter_name, handle);
  bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + static_cast<std::size_t>(length));
  return name;
}

class HeldName {
 public:
  explicit HeldName(std::uint32_t handle) noexcept : fd_{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)} {
    socklen_t bytes = 0;
    const sockaddr_un name = name_of(handle, bytes);
    held_ = fd_ >= 0 && ::bind(fd_, reinterpret_cast<const sockaddr*>(&name), bytes) == 0;
  }
  HeldName(HeldName&& other) noexcept : fd_{std::exchange(other.fd_, -1)}, held_{other.held_} {}
  HeldName(const HeldName&) = delete;
  HeldName& operator=(const HeldName&) = delete;
  HeldName& operator=(HeldName&&) = delete;
  ~HeldName() {
    if (fd_ >= 0) ::close(fd_);
  }
  bool held() const noexcept { return held_; }

 private:
  int fd_;
  bool held_ = false;
};

bool is_held(std::uint32_t handle) noexcept {
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return true;
  socklen_t bytes = 0;
  const sockaddr_un name = name_of(handle, bytes);
  const bool refused = ::connect(fd, reinterpret_cast<const sockaddr*>(&name), bytes) != 0 && errno == ECONNREFUSED;
  ::close(fd);
  return !refused;
}

tcmsg filter_header(std::uint32_t interface, std::uint32_t handle) noexcept {
  tcmsg header{};
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = static_cast<int>(interface);
  header.tcm_parent = k_parent;
  header.tcm_handle = handle;
  header.tcm_info = TC_H_MAKE(k_priority << 16U, htons(ETH_P_ALL));
  return header;
}

int delete_filter(Netlink& netlink, std::uint32_t interface, std::uint32_t handle) noexcept {
  NetlinkRequest request{RTM_DELTFILTER, NLM_F_ACK, filter_header(interface, handle)};
  request.add(TCA_KIND, "bpf");
  return netlink.carry_out(request);
}

class ClsactFilter final : public IngressHook {
 public:
  ClsactFilter(Netlink netlink, HeldName name, std::uint32_t interface, std::uint32_t handle) noexcept
      : netlink_{std::move(netlink)}, name_{std::move(name)}, interface_{interface}, handle_{handle} {}
  ~ClsactFilter() override { delete_filter(netlink_, interface_, handle_); }
  const char* kind() const noexcept override { return "clsact"; }

 private:
  Netlink netlink_;  // of the interface's network namespace
  HeldName name_;
  std::uint32_t interface_;
  std::uint32_t handle_;
};

/// There may be one already: it stays as it is, and ours stays when we go, since others may have come to use it.
int make_clsact(Netlink& netlink, std::uint32_t interface) noexcept {
  tcmsg header{};
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = static_cast<int>(interface);
  header.tcm_parent = TC_H_CLSACT;
  header.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
  NetlinkRequest request{RTM_NEWQDISC, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, header};
  request.add(TCA_KIND, "clsact");
  const int error = netlink.carry_out(request);
  return error == EEXIST ? 0 : error;
}

void delete_stale_filters(Netlink& netlink, std::uint32_t interface) {
  std::vector<std::uint32_t> ours;
  NetlinkRequest request{RTM_GETTFILTER, NLM_F_DUMP, filter_header(interface, 0)};
  netlink.dump(request, [&](const nlmsghdr& message) {
    tcmsg header{};
    if (message.nlmsg_type != RTM_NEWTFILTER || message.nlmsg_len < NLMSG_SPACE(sizeof header)) return;
    std::memcpy(&header, NLMSG_DATA(&message), sizeof header);
    if (header.tcm_info >> 16U != k_priority || header.tcm_handle == 0 || header.tcm_parent != k_parent) return;
    ours.push_back(header.tcm_handle);
  });
  for (const std::uint32_t handle : ours) {
    if (!is_held(handle)) delete_filter(netlink, interface, handle);
  }
}

int add_filter(Netlink& netlink, std::uint32_t interface, std::uint32_t handle, int program_fd) noexcept {
  NetlinkRequest request{RTM_NEWTFILTER, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, filter_header(interface, handle)};
  request.add(TCA_KIND, "bpf");
  const std::size_t options = request.begin(TCA_OPTIONS);
  request.add(TCA_BPF_FD, static_cast<std::uint32_t>(program_fd));
  request.add(TCA_BPF_NAME, k_filter_name);
  request.add(TCA_BPF_FLAGS, static_cast<std::uint32_t>(TCA_BPF_FLAG_ACT_DIRECT));
  request.end(options);
  return netlink.carry_out(request);
}

std::unique_ptr<IngressHook> attach_clsact(std::uint32_t interface, int program_fd, std::string& reason) {
  Netlink netlink;
  std::uint32_t handle = 0;
  if (!netlink.open() || ::getrandom(&handle, sizeof handle, 0) != static_cast<ssize_t>(sizeof handle)) {
    reason = std::string{"no netlink: "} + std::strerror(errno);
    return nullptr;
  }
  handle = (handle & 0x7fff'ffffU) | 1U;
  HeldName name{handle};
  if (!name.held()) {
    reason = std::string{"no name for a filter: "} + std::strerror(errno);
    return nullptr;
  }
  int error = make_clsact(netlink, interface);
  if (error == 0) {
    delete_stale_filters(netlink, interface);
    error = add_filter(netlink, interface, handle, program_fd);
  }
  if (error == 0) return std::make_unique<ClsactFilter>(std::move(netlink), std::move(name), interface, handle);
  reason = std::string{"no clsact filter: "} + std::strerror(error);
  return nullptr;
}

}  // namespace

std::unique_ptr<IngressHook> IngressHook::attach(std::uint32_t interface, int program_fd, bool tcx, std::string& reason) {
  if (tcx) {
    if (const int fd = link_tcx(interface, program_fd); fd >= 0) return std::make_unique<TcxLink>(fd);
  }
  return attach_clsact(interface, program_fd, reason);
}

}  // namespace sipfarm::bpf
