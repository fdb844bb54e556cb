#include "net/udp_socket.hpp"

#include <cerrno>
#include <cstring>

namespace sipfarm::net {

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
      headers_(batch_max) {}

unsigned UdpSocket::receive(Batch& batch) {
  for (unsigned i = 0; i < batch_max; ++i) {
    vectors_[i] = {buffers_.data() + i * datagram_bytes_max, datagram_bytes_max};
    headers_[i] = {};
    headers_[i].msg_hdr.msg_name = &names_[i];
    headers_[i].msg_hdr.msg_namelen = sizeof names_[i];
    headers_[i].msg_hdr.msg_iov = &vectors_[i];
    headers_[i].msg_hdr.msg_iovlen = 1;
  }
  const int received = recvmmsg(descriptor_, headers_.data(), batch_max, MSG_DONTWAIT, nullptr);
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
  return sent > 0 ? sent : -errno;
}

}  // namespace sipfarm::net
