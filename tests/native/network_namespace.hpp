#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace sipfarm::testing {

/// What a command prints; it runs in the network namespace of the calling thread.
inline std::string run(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error{"popen"};
  std::string output;
  std::array<char, 4'096> part{};
  for (std::size_t count = 0; (count = std::fread(part.data(), 1, part.size(), pipe)) > 0;) output.append(part.data(), count);
  if (::pclose(pipe) != 0) throw std::runtime_error{command + ": " + output};
  return output;
}

/// A network namespace with loopback up, gone with the last that is in it.
class NetworkNamespace {
 public:
  NetworkNamespace() {
    const int before = current();
    if (before < 0 || ::unshare(CLONE_NEWNET) != 0) throw std::runtime_error{"unshare"};
    fd_ = current();
    run("ip link set lo up");
    ::setns(before, CLONE_NEWNET);
    ::close(before);
  }
  ~NetworkNamespace() { ::close(fd_); }
  NetworkNamespace(const NetworkNamespace&) = delete;
  NetworkNamespace& operator=(const NetworkNamespace&) = delete;

  int fd() const { return fd_; }
  std::string path() const { return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_); }

  static int current() { return ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC); }

 private:
  int fd_ = -1;
};

/// The calling thread is in the namespace for as long as this lives.
class Within {
 public:
  explicit Within(const NetworkNamespace& there) : before_{NetworkNamespace::current()} {
    if (before_ < 0 || ::setns(there.fd(), CLONE_NEWNET) != 0) throw std::runtime_error{"setns"};
  }
  ~Within() {
    ::setns(before_, CLONE_NEWNET);
    ::close(before_);
  }
  Within(const Within&) = delete;
  Within& operator=(const Within&) = delete;

 private:
  int before_;
};

}  // namespace sipfarm::testing
