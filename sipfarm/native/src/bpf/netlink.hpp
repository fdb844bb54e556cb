#pragma once

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace sipfarm::bpf {

/// One rtnetlink request, built in place (RFC 3549). What finds no room makes it invalid.
class NetlinkRequest {
 public:
  template <typename Header>
  NetlinkRequest(std::uint16_t type, std::uint16_t flags, const Header& header) noexcept {
    nlmsghdr& message = head();
    message.nlmsg_type = type;
    message.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    message.nlmsg_len = NLMSG_HDRLEN;
    append(&header, sizeof header);
  }

  void add(std::uint16_t type, const void* value, std::size_t bytes) noexcept {
    const rtattr attribute{static_cast<std::uint16_t>(RTA_LENGTH(bytes)), type};
    append(&attribute, sizeof attribute);
    append(value, bytes);
  }
  void add(std::uint16_t type, std::uint32_t value) noexcept { add(type, &value, sizeof value); }
  void add(std::uint16_t type, const char* text) noexcept { add(type, text, std::strlen(text) + 1); }

  /// What is added until `end` stands within an attribute of this type.
  std::size_t begin(std::uint16_t type) noexcept {
    const std::size_t at = head().nlmsg_len;
    add(type, nullptr, 0);
    return at;
  }
  void end(std::size_t at) noexcept {
    if (!valid_) return;
    const auto bytes = static_cast<std::uint16_t>(head().nlmsg_len - at);
    std::memcpy(buffer_.data() + at, &bytes, sizeof bytes);
  }

  bool valid() const noexcept { return valid_; }
  nlmsghdr& head() noexcept { return *reinterpret_cast<nlmsghdr*>(buffer_.data()); }

 private:
  void append(const void* bytes, std::size_t count) noexcept {
    const std::size_t at = head().nlmsg_len;
    valid_ = valid_ && at + NLMSG_ALIGN(count) <= buffer_.size();
    if (!valid_) return;
    if (count != 0) std::memcpy(buffer_.data() + at, bytes, count);
    head().nlmsg_len = static_cast<std::uint32_t>(at + NLMSG_ALIGN(count));
  }

  alignas(nlmsghdr) std::array<std::uint8_t, 512> buffer_{};
  bool valid_ = true;
};

/// The value of an attribute after `header_bytes` of the message's own header; nothing if there is none, or a short one.
template <typename Value>
std::optional<Value> attribute(const nlmsghdr& message, std::size_t header_bytes, std::uint16_t type) noexcept {
  const auto* at = reinterpret_cast<const rtattr*>(reinterpret_cast<const char*>(&message) + NLMSG_SPACE(header_bytes));
  auto rest = static_cast<std::int64_t>(message.nlmsg_len) - static_cast<std::int64_t>(NLMSG_SPACE(header_bytes));
  for (; RTA_OK(at, rest); at = RTA_NEXT(at, rest)) {
    if (at->rta_type != type || RTA_PAYLOAD(at) < sizeof(Value)) continue;
    Value value;
    std::memcpy(&value, RTA_DATA(at), sizeof value);
    return value;
  }
  return std::nullopt;
}

/// A socket to the routing tables of the network namespace that it is opened in. The kernel answers within the sending call, so
/// nothing here waits.
class Netlink {
 public:
  Netlink() = default;
  Netlink(Netlink&& other) noexcept;
  Netlink(const Netlink&) = delete;
  Netlink& operator=(const Netlink&) = delete;
  Netlink& operator=(Netlink&&) = delete;
  ~Netlink();

  /// False, with errno set.
  bool open() noexcept;
  bool subscribe(unsigned group) noexcept;

  /// 0, or why the kernel refuses. To be asked for with NLM_F_ACK.
  int carry_out(NetlinkRequest& request) noexcept;
  /// The one message that answers; nullptr with errno set.
  const nlmsghdr* ask(NetlinkRequest& request) noexcept;
  /// Each message of a dump is handed to `take(const nlmsghdr&)`.
  template <typename Take>
  bool dump(NetlinkRequest& request, Take take) noexcept {
    if (!send(request)) return false;
    for (;;) {
      std::size_t rest = receive();
      if (rest == 0) return false;
      for (const nlmsghdr* at = first(); is_whole(*at, rest); at = next(*at, rest)) {
        if (at->nlmsg_type == NLMSG_DONE || at->nlmsg_type == NLMSG_ERROR) return at->nlmsg_type == NLMSG_DONE;
        take(*at);
      }
    }
  }
  /// Throws away what has come; true if there was anything, or too much.
  bool drain() noexcept;

 private:
  bool send(NetlinkRequest& request) noexcept;
  std::size_t receive() noexcept;
  const nlmsghdr* first() const noexcept { return reinterpret_cast<const nlmsghdr*>(answer_.data()); }
  static bool is_whole(const nlmsghdr& message, std::size_t rest) noexcept;
  static const nlmsghdr* next(const nlmsghdr& message, std::size_t& rest) noexcept;

  int fd_ = -1;
  std::uint32_t sequence_ = 0;
  alignas(nlmsghdr) std::array<std::uint8_t, 32'768> answer_{};  // a dump comes in parts of at most this
};

}  // namespace sipfarm::bpf
