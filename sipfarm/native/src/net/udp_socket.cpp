#include "net/udp_socket.hpp"

#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace sipfarm::net {

namespace {

constexpr std::size_t quote_bytes_max = 1'280;  // an ICMPv6 error has no more (RFC 4443 §2.4), one of IPv4 less

bool nothing_there(int error) noexcept { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

/// RFC 3261 §18.4: what is unreachable, and parameter problems. That a datagram was too large, or its time was exceeded, is not told.
bool is_failure(const sock_extended_err& error) noexcept {
  if (error.ee_origin == SO_EE_ORIGIN_ICMP) {
    return (error.ee_type == ICMP_DEST_UNREACH && error.ee_code != ICMP_FRAG_NEEDED) || error.ee_type == ICMP_PARAMETERPROB;
  }
  return error.ee_origin == SO_EE_ORIGIN_ICMP6 && (error.ee_type == ICMP6_DST_UNREACH || error.ee_type == ICMP6_PARAM_PROB);
}

bool tells_failure(msghdr& header) noexcept {
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr; control = CMSG_NXTHDR(&header, control)) {
    const bool is_error = (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_RECVERR) ||
                          (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_RECVERR);
    if (!is_error || control->cmsg_len < CMSG_LEN(sizeof(sock_extended_err))) continue;
    sock_extended_err error;
    std::memcpy(&error, CMSG_DATA(control), sizeof error);
    return is_failure(error);
  }
  return false;
}

}  // namespace

void Batch::clear() noexcept {
  items_.clear();
  copies_used_ = 0;
}

void Batch::add(const Hop& hop, std::string_view bytes) {
  if (copies_used_ == copies_.size()) copies_.emplace_back();
  std::vector<char>& copy = copies_[copies_used_++];
  copy.assign(bytes.begin(), bytes.end());
  items_.push_back({hop, {copy.data(), copy.size()}});
}

UdpSocket::UdpSocket(int descriptor, std::uint16_t local)
    : descriptor_{descriptor},
      local_{local},
      buffers_(batch_max * datagram_bytes_max),
      names_(batch_max),
      vectors_(batch_max),
      headers_(batch_max) {
  const int on = 1;  // each family knows one of them
  setsockopt(descriptor, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
  setsockopt(descriptor, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
}

unsigned UdpSocket::receive(Batch& batch) {
  for (unsigned i = 0; i < batch_max; ++i) {
    vectors_[i] = {buffers_.data() + i * datagram_bytes_max, datagram_bytes_max};
    headers_[i] = {};
    headers_[i].msg_hdr.msg_name = &names_[i];
    headers_[i].msg_hdr.msg_namelen = sizeof names_[i];
    headers_[i].msg_hdr.msg_iov = &vectors_[i];
    headers_[i].msg_hdr.msg_iovlen = 1;
  }
  int received = -1;
  for (unsigned tries = 0; received < 0 && tries < tries_max; ++tries) {
    received = recvmmsg(descriptor_, headers_.data(), batch_max, MSG_DONTWAIT, nullptr);
    if (received < 0) may_have_errors_ = true;  // where there is nothing else, an error is what woke us
    if (received < 0 && nothing_there(errno)) break;
  }
  if (received <= 0) return 0;
  for (unsigned i = 0; i < static_cast<unsigned>(received); ++i) {
    const auto remote = Address::from_sockaddr(names_[i]);
    if (!remote) continue;
    Hop hop;
    hop.remote = *remote;
    hop.local = local_;
    batch.items_.push_back({hop, {buffers_.data() + i * datagram_bytes_max, headers_[i].msg_len}});
  }
  return static_cast<unsigned>(received);
}

unsigned UdpSocket::receive_undelivered(Batch& batch) {
  unsigned found = 0;
  for (unsigned i = 0; may_have_errors_ && i < batch_max; ++i) {
    sockaddr_storage name{};
    alignas(cmsghdr) std::array<char, 512> control;
    iovec vector{buffers_.data(), quote_bytes_max};
    msghdr header{};
    header.msg_name = &name;
    header.msg_namelen = sizeof name;
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t quoted = recvmsg(descriptor_, &header, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (quoted < 0) {
      may_have_errors_ = false;
      break;
    }
    const auto remote = Address::from_sockaddr(name);
    if (!remote || !tells_failure(header)) continue;
    Hop hop;
    hop.remote = *remote;
    hop.local = local_;
    batch.add(hop, {buffers_.data(), static_cast<std::size_t>(quoted)});
    ++found;
  }
  return found;
}

int UdpSocket::send_some(std::span<const Datagram> datagrams) noexcept {
  const auto count = static_cast<unsigned>(datagrams.size() < batch_max ? datagrams.size() : batch_max);
  for (unsigned i = 0; i < count; ++i) {
    const Datagram& datagram = datagrams[i];
    // sendmmsg only reads through this pointer.
    vectors_[i] = {const_cast<char*>(datagram.bytes.data()), datagram.bytes.size()};
    headers_[i] = {};
    headers_[i].msg_hdr.msg_name = &names_[i];
    headers_[i].msg_hdr.msg_namelen = datagram.remote.to_sockaddr(names_[i]);
    headers_[i].msg_hdr.msg_iov = &vectors_[i];
    headers_[i].msg_hdr.msg_iovlen = 1;
  }
  const int sent = sendmmsg(descriptor_, headers_.data(), count, MSG_DONTWAIT);
  if (sent < static_cast<int>(count)) may_have_errors_ = true;
  return sent > 0 ? sent : -errno;
}

}  // namespace sipfarm::net
