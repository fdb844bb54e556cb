#include "rtp/steered_sockets.hpp"

#include <arpa/inet.h>
#include <linux/in6.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "rtp/checksum.hpp"
#include "rtp/socket.hpp"

namespace sipfarm::rtp {
namespace {

constexpr int k_receive_bytes = 32 << 20;  // of kernel memory, a few hundred bytes a packet: a stall of tenths of a second at full load
constexpr int k_send_bytes = 8 << 20;

static_assert(sizeof(udphdr) == k_headroom);

/// With CAP_NET_ADMIN beyond the system's limit, without it up to that.
void set_buffer(int fd, int forced, int plain, int bytes) noexcept {
  if (::setsockopt(fd, SOL_SOCKET, forced, &bytes, sizeof bytes) != 0) ::setsockopt(fd, SOL_SOCKET, plain, &bytes, sizeof bytes);
}

bool bind_to(int fd, const net::Address& local) noexcept {
  sockaddr_storage storage{};
  const socklen_t bytes = local.to_sockaddr(storage);
  return ::bind(fd, reinterpret_cast<const sockaddr*>(&storage), bytes) == 0;
}

/// What is steered comes here, with the port that it was sent to. The socket's own port is one that nobody knows.
bool prepare_in(int fd, const net::Address& local) noexcept {
  const int on = 1;
  set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, k_receive_bytes);
  if (!local.v6) return ::setsockopt(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, &on, sizeof on) == 0 && bind_to(fd, local);
  return ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0 &&
         ::setsockopt(fd, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, &on, sizeof on) == 0 && bind_to(fd, local);
}

/// A raw UDP socket would be given a copy of each UDP packet for its address. Connected to that very address it is given those
/// only that we send to ourselves, and the filter drops them; where it sends, each packet says.
bool prepare_out(int fd, const net::Address& local, unsigned dscp) noexcept {
  refuse_all(fd);
  mark(fd, local.v6, dscp);
  set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, k_send_bytes);
  return bind_to(fd, local) && connect_to(fd, local);
}

bool is_same(const SocketAddress& known, const sockaddr_storage& source) noexcept {
  SocketAddress other;
  std::memcpy(&other, &source, sizeof other);
  if (known.any.sa_family == AF_INET) return std::memcmp(&known, &other, offsetof(sockaddr_in, sin_zero)) == 0;
  return known.v6.sin6_port == other.v6.sin6_port && IN6_ARE_ADDR_EQUAL(&known.v6.sin6_addr, &other.v6.sin6_addr);
}

}  // namespace

// ---- made by the control thread

std::unique_ptr<SteeredSockets> SteeredSockets::make(const SteeredConfig& config, bpf::PortSteering& steering,
                                                     std::string& reason) {
  const int family = config.address.v6 ? AF_INET6 : AF_INET;
  net::Address local = config.address;
  local.port = 0;
  auto made = std::make_unique<SteeredSockets>(config, steering, ::epoll_create1(EPOLL_CLOEXEC),
                                               ::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                                               ::socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP));
  epoll_event event{EPOLLIN, {}};
  event.data.ptr = made.get();
  if (made->epoll_ >= 0 && made->in_ >= 0 && made->out_ >= 0 && prepare_in(made->in_, local) &&
      prepare_out(made->out_, local, config.dscp) && ::epoll_ctl(made->epoll_, EPOLL_CTL_ADD, made->in_, &event) == 0 &&
      steering.set_worker_socket(config.worker, made->in_)) {
    return made;
  }
  reason = std::string{"no socket for all ports: "} + std::strerror(errno);
  return nullptr;
}

SteeredSockets::SteeredSockets(const SteeredConfig& config, bpf::PortSteering& steering, int epoll, int in, int out)
    : config_{config}, steering_{steering}, epoll_{epoll}, in_{in}, out_{out},
      channels_(static_cast<std::size_t>(config.last_port - config.first_port) + 1) {
  for (std::size_t i = 0; i < k_batch; ++i) {
    rooms_[i] = {slots_[i], k_datagram_bytes};
    msghdr& header = received_[i].msg_hdr;
    header.msg_iov = &rooms_[i];
    header.msg_iovlen = 1;
    header.msg_name = &envelopes_[i].source;
    header.msg_control = envelopes_[i].control.data();
    leaving_[i].msg_hdr.msg_iov = &datagrams_[i];
    leaving_[i].msg_hdr.msg_iovlen = 1;
    leaving_[i].msg_hdr.msg_name = &destinations_[i];
  }
}

SteeredSockets::~SteeredSockets() {
  for (const int fd : {epoll_, in_, out_}) {
    if (fd >= 0) ::close(fd);
  }
}

void SteeredSockets::watch(int fd) noexcept {
  epoll_event event{EPOLLIN, {}};
  event.data.ptr = nullptr;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
}

// ---- a port's life

bool SteeredSockets::open(Channel& channel) noexcept {
  totals_.late.add(steering_.take_refused(channel.port).sunk);
  channel_at(channel.port) = &channel;
  steering_.open(channel.port, config_.worker);
  return true;
}

void SteeredSockets::close(Channel& channel) noexcept {
  steering_.rest(channel.port);
  unlock(channel);
  collect(channel);
  if (channel.shed) *std::find(shed_.begin(), shed_.end(), &channel) = shed_[--shed_count_];
  channel.shed = false;
  channel_at(channel.port) = nullptr;
}

void SteeredSockets::aim(Channel& channel) noexcept {
  set_destination(channel);
  const net::Address& remote = channel.latch.remote();
  const std::size_t ip_bytes = remote.v6 ? 16 : 4;
  const std::uint16_t rest[] = {htons(IPPROTO_UDP), htons(channel.port), htons(remote.port)};
  std::uint64_t sum = checksum_add(0, {config_.address.ip.data(), ip_bytes});
  sum = checksum_add(sum, {remote.ip.data(), ip_bytes});
  for (const std::uint16_t word : rest) sum += word;
  channel.way_sum = checksum_fold(sum);
}

void SteeredSockets::lock(Channel& channel) noexcept {
  steering_.lock(channel.port, channel.latch.remote());
  channel.locked = true;
}

void SteeredSockets::unlock(Channel& channel) noexcept {
  if (channel.locked) steering_.unlock(channel.port);
  channel.locked = false;
}

void SteeredSockets::shed(Channel& channel, std::int64_t now_ms) noexcept {
  if (channel.shed || shed_count_ == k_shed) return;
  shed_window_ = Allowance::window(now_ms);
  shed_[shed_count_++] = &channel;
  channel.shed = true;
  steering_.rest(channel.port);
}

void SteeredSockets::end_shedding() noexcept {
  for (Channel* channel : std::span{shed_}.first(shed_count_)) {
    channel->shed = false;
    collect(*channel);
    steering_.open(channel->port, config_.worker);
  }
  shed_count_ = 0;
}

/// What the kernel has kept off an open channel.
void SteeredSockets::collect(Channel& channel) noexcept {
  const auto [strangers, sunk] = steering_.take_refused(channel.port);
  if ((strangers | sunk) == 0) return;
  counters_of(channel).strangers.add(strangers);
  counters_of(channel).flooded.add(sunk);
  totals_.kept_off.add(std::uint64_t{strangers} + sunk);
}

void SteeredSockets::sweep() noexcept {
  for (Channel* channel : channels_) {
    if (channel != nullptr) collect(*channel);
  }
  std::array<std::uint32_t, SK_MEMINFO_VARS> memory{};
  socklen_t bytes = sizeof memory;
  if (::getsockopt(in_, SOL_SOCKET, SO_MEMINFO, memory.data(), &bytes) == 0) totals_.queue_full.set(memory[SK_MEMINFO_DROPS]);
}

// ---- packets

bool SteeredSockets::wait(int timeout_ms) noexcept {
  std::array<epoll_event, 2> ready{};
  const int count = ::epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()), timeout_ms);
  bool watched = false;
  more_ = false;
  for (int i = 0; i < count; ++i) {
    const bool packets = ready[static_cast<std::size_t>(i)].data.ptr != nullptr;
    more_ |= packets;
    watched |= !packets;
  }
  if (!more_) drains_ += 2;
  return watched;
}

std::span<Arrival> SteeredSockets::receive(std::int64_t now_ms) noexcept {
  if (shed_count_ != 0 && Allowance::window(now_ms) != shed_window_) end_shedding();
  if (!more_) return {};
  for (std::size_t i = 0; i < k_batch; ++i) {
    received_[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage);
    received_[i].msg_hdr.msg_controllen = sizeof(Envelope::control);
  }
  const int result = ::recvmmsg(in_, received_.data(), k_batch, MSG_DONTWAIT, nullptr);
  const std::size_t count = result > 0 ? static_cast<std::size_t>(result) : 0;
  more_ = count == k_batch;
  taken_since_drain_ += count;
  if (!more_) {
    drains_ += 2;
  } else if (taken_since_drain_ >= k_queue_packets) {
    ++drains_;
    taken_since_drain_ = 0;
  }
  std::size_t arrived = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Channel* const channel = destination(received_[i].msg_hdr);
    if (channel == nullptr) continue;
    __builtin_prefetch(channel, 1);
    arrivals_[arrived++] = {channel, {slots_[i], received_[i].msg_len}, &envelopes_[i].source, false};
  }
  for (Arrival& arrival : std::span{arrivals_}.first(arrived)) {
    arrival.vouched = arrival.channel->locked && is_same(arrival.channel->to, *arrival.source);
    prefetch(*arrival.channel);
  }
  return {arrivals_.data(), arrived};
}

/// The channel of the port that the packet was sent to; nothing, and counted, for one that has been closed meanwhile.
Channel* SteeredSockets::destination(const msghdr& header) noexcept {
  const cmsghdr* const original = CMSG_FIRSTHDR(&header);  // we ask for nothing else
  Channel* channel = nullptr;
  if (original != nullptr) {
    sockaddr_in address{};  // an IPv6 one has its port in the same place
    std::memcpy(&address, CMSG_DATA(original), sizeof address);
    const std::uint16_t port = ntohs(address.sin_port);
    if (port >= config_.first_port && port <= config_.last_port) channel = channel_at(port);
  }
  if (channel == nullptr) totals_.late.add(1);
  return channel;
}

void SteeredSockets::send(std::span<Departure> departures) noexcept {
  for (std::size_t i = 0; i < departures.size(); ++i) {
    const Channel& out = *departures[i].channel;
    const std::span<std::uint8_t> bytes = departures[i].bytes;
    destinations_[i] = out.to;
    if (out.to.any.sa_family == AF_INET6) destinations_[i].v6.sin6_port = 0;  // in a raw socket's address it would be a protocol
    leaving_[i].msg_hdr.msg_namelen = out.to_bytes;
    const std::uint16_t length = htons(static_cast<std::uint16_t>(bytes.size() + sizeof(udphdr)));
    udphdr header{};
    header.source = htons(out.port);
    header.dest = out.to.v4.sin_port;  // in the same place for IPv6
    header.len = length;
    header.check = udp_checksum(checksum_add(out.way_sum + 2ULL * length, bytes));
    std::memcpy(bytes.data() - sizeof header, &header, sizeof header);
    datagrams_[i] = {bytes.data() - sizeof header, bytes.size() + sizeof header};
  }
  transmit(departures);
}

void SteeredSockets::transmit(std::span<Departure> departures) noexcept {
  std::size_t done = 0;
  bool refused = false;  // the packet at `done`, once
  while (done < departures.size()) {
    const int count = ::sendmmsg(out_, &leaving_[done], static_cast<unsigned>(departures.size() - done), 0);
    if (count > 0) {
      for (Departure& departure : departures.subspan(done, static_cast<std::size_t>(count))) departure.sent = true;
      done += static_cast<std::size_t>(count);
      refused = false;
    } else if (errno == ECONNREFUSED && !refused) {
      refused = true;  // told of an earlier packet, one of ours to ourselves
    } else {
      ++done;
      refused = false;
    }
  }
}

}  // namespace sipfarm::rtp
