#include "rtp/relay.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "rtp/descriptors.hpp"
#include "rtp/socket.hpp"

namespace sipfarm::rtp {
namespace {

constexpr std::size_t k_datagram_bytes = 65'536;

/// 0.0.0.0 holds a stream (RFC 3264 §8.4); a group is never sent to on a peer's word.
net::Address usable(const net::Address& address) noexcept {
  return address.port == 0 || address.is_unspecified() || address.is_multicast() ? net::Address{} : address;
}

net::Address rtcp_of(const Remote& remote) noexcept {
  if (!remote.rtcp.empty() || remote.rtp.empty() || remote.rtp.port == 65'535) return remote.rtcp;
  net::Address next = remote.rtp;
  ++next.port;
  return next;
}

}  // namespace

Relay::Relay(const RelayConfig& config, SpscRing<Event>& events)
    : config_{config}, events_{events}, epoll_{make_epoll()}, buffer_(k_datagram_bytes) {
  streams_.reserve(config_.max_streams);
  closed_.reserve(config_.max_streams);
}

Relay::~Relay() { ::close(epoll_); }

void Relay::watch(int fd) noexcept {
  epoll_event event{EPOLLIN, {}};
  event.data.ptr = nullptr;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
}

// ---- commands

void Relay::open(Stream& stream, const Command& command, std::int64_t now_ms) noexcept {
  stream.place = streams_.size();
  streams_.push_back(&stream);
  stream.echo = command.kind == Command::Kind::open_echo;
  stream.opaque = command.opaque;
  stream.silent_since_ms = now_ms;
  for (const Side side : {Side::a, Side::b}) {
    Face& face = stream.face(side);
    face.counters.last_in_ms.set(static_cast<std::uint64_t>(now_ms));
    const bool rtp = attach(face.rtp, stream, side, false);
    const bool rtcp = attach(face.rtcp, stream, side, true);  // in any case: what leaves by it looks for its stream
    if (!rtp || !rtcp) {
      detach(face.rtp);
      detach(face.rtcp);
      continue;  // no memory for another watch: the stream stays silent and is told as such
    }
    set_remote(stream, side, command.remotes[index(side)], now_ms);
  }
}

bool Relay::attach(Channel& channel, Stream& stream, Side side, bool rtcp) noexcept {
  channel.stream = &stream;
  channel.side = side;
  channel.rtcp = rtcp;
  channel.latch = SourceLatch{config_.latch};
  if (channel.fd < 0) return true;  // an echo has one face
  epoll_event event{EPOLLIN, {}};
  event.data.ptr = &channel;
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, channel.fd, &event) != 0) return false;
  unmute(channel.fd);
  return true;
}

void Relay::detach(Channel& channel) noexcept {
  if (channel.fd < 0) return;
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, channel.fd, nullptr);
  mute(channel.fd);
}

void Relay::set_remote(Stream& stream, Side side, const Remote& remote, std::int64_t now_ms) noexcept {
  Face& face = stream.face(side);
  face.mux = remote.rtcp_mux;
  reopen(face.rtp, usable(remote.rtp), remote.signalling, now_ms);
  reopen(face.rtcp, remote.rtcp_mux ? net::Address{} : usable(rtcp_of(remote)), remote.signalling, now_ms);
}

void Relay::reopen(Channel& channel, const net::Address& signalled, const net::Address& signalling,
                   std::int64_t now_ms) noexcept {
  if (channel.fd < 0) return;
  channel.latch.open(signalled, signalling, now_ms);
  if (channel.latch.locked()) return;
  if (channel.connected) disconnect(channel.fd);
  channel.connected = false;
  channel.settled = false;
  aim(channel);
}

void Relay::aim(Channel& channel) noexcept {
  const net::Address& remote = channel.latch.remote();
  channel.to_bytes = remote.empty() ? 0 : remote.to_sockaddr(channel.to);
}

void Relay::set_held(Stream& stream, bool held, std::int64_t now_ms) noexcept {
  stream.held = held;
  stream.silent_since_ms = now_ms;
}

void Relay::close(Stream& stream) noexcept {
  for (Face& face : stream.faces) {
    detach(face.rtp);
    detach(face.rtcp);
  }
  streams_.back()->place = stream.place;
  streams_[stream.place] = streams_.back();
  streams_.pop_back();
  closed_.push_back(&stream);
}

// ---- the way of a packet

bool Relay::wait(int timeout_ms) noexcept {
  const int count = ::epoll_wait(epoll_, ready_.data(), static_cast<int>(ready_.size()), timeout_ms);
  ready_count_ = count > 0 ? static_cast<std::size_t>(count) : 0;
  totals_.wakeups.add(1);
  bool watched = false;
  for (std::size_t i = 0; i < ready_count_; ++i) watched |= ready_[i].data.ptr == nullptr;
  return watched;
}

std::size_t Relay::carry(std::int64_t now_ms) noexcept {
  taken_ = 0;
  for (std::size_t i = 0; i < ready_count_; ++i) {
    if (i + 1 < ready_count_) __builtin_prefetch(ready_[i + 1].data.ptr);
    if (ready_[i].data.ptr != nullptr) serve(*static_cast<Channel*>(ready_[i].data.ptr), now_ms);
  }
  ready_count_ = 0;
  return taken_;
}

/// With thousands of streams each packet meets a cold cache: fetch what it will need while the kernel is at work.
void Relay::prefetch(const Channel& channel) noexcept {
  const Stream& stream = *channel.stream;
  const Face& out = stream.faces[index(opposite(channel.side))];
  __builtin_prefetch(&stream);
  __builtin_prefetch(&stream.faces[index(channel.side)], 1);
  __builtin_prefetch(&out, 1);
  __builtin_prefetch(&out.rtp);
}

void Relay::serve(Channel& channel, std::int64_t now_ms) noexcept {
  for (int i = 0; i < k_settle; ++i) {
    Datagram datagram;
    const Received received = receive(channel, datagram);
    if (received == Received::packet) pass(channel, datagram, now_ms);
    if (received == Received::nothing) channel.settled = channel.connected;
    if (received == Received::nothing || channel.settled || !channel.connected) return;
  }
}

Relay::Received Relay::receive(Channel& channel, Datagram& datagram) noexcept {
  ssize_t count = 0;
  prefetch(channel);
  if (channel.settled) {
    count = ::recv(channel.fd, buffer_.data(), buffer_.size(), 0);
  } else {
    sockaddr_storage storage;  // written by the kernel
    socklen_t bytes = sizeof storage;
    count = ::recvfrom(channel.fd, buffer_.data(), buffer_.size(), 0, reinterpret_cast<sockaddr*>(&storage), &bytes);
    if (count >= 0) datagram.source = net::Address::from_sockaddr(storage).value_or(net::Address{});
  }
  if (count < 0) return errno == EAGAIN ? Received::nothing : Received::error;
  ++taken_;
  datagram.bytes = {buffer_.data(), static_cast<std::size_t>(count)};
  return Received::packet;
}

void Relay::pass(Channel& in, const Datagram& datagram, std::int64_t now_ms) noexcept {
  Stream& stream = *in.stream;
  LiveCounters& counters = stream.face(in.side).counters;
  const Packet kind = stream.opaque ? Packet::rtp : demux(datagram.bytes);
  if (kind == Packet::malformed) return drop(counters.malformed);
  if (!in.settled && !admit(in, datagram.source, now_ms)) return drop(counters.strangers);
  if (!in.allowance.take(now_ms, config_.max_packets_per_s)) return drop(counters.flooded);
  counters.packets_in.add(1);
  counters.bytes_in.add(datagram.bytes.size());
  counters.last_in_ms.set(static_cast<std::uint64_t>(now_ms));
  if (Channel* out = route(in, kind, datagram.bytes)) send(*out, datagram.bytes);
}

bool Relay::admit(Channel& in, const net::Address& source, std::int64_t now_ms) noexcept {
  const net::Address before = in.latch.remote();
  const SourceLatch::Verdict verdict = in.latch.receive(source, now_ms);
  if (verdict == SourceLatch::Verdict::refused) return false;
  if (verdict == SourceLatch::Verdict::accepted) return true;
  aim(in);
  if (verdict == SourceLatch::Verdict::locked) lock(in);
  if (in.latch.remote() != before) {
    Event event;
    event.kind = Event::Kind::latched;
    event.side = in.side;
    event.rtcp = in.rtcp;
    event.stream = in.stream->id;
    event.address = in.latch.remote();
    if (!tell(event)) totals_.events_lost.add(1);
  }
  return true;
}

/// From here on the kernel keeps strangers out. Where it cannot connect, the latch goes on doing so.
void Relay::lock(Channel& channel) noexcept {
  channel.connected = connect_to(channel.fd, channel.latch.remote());
  channel.settled = false;
}

/// The port a packet leaves from; nothing for what an echo does not reflect.
Channel* Relay::route(Channel& in, Packet kind, std::span<std::uint8_t> bytes) noexcept {
  Stream& stream = *in.stream;
  if (stream.echo) {
    if (in.rtcp || kind != Packet::rtp) return nullptr;
    make_echo(bytes, stream.echo_ssrc);
    return &in;
  }
  Face& out = stream.face(opposite(in.side));
  const bool rtcp = in.rtcp || (kind == Packet::rtcp && stream.face(in.side).mux);
  return rtcp && !out.mux ? &out.rtcp : &out.rtp;
}

void Relay::send(Channel& out, std::span<const std::uint8_t> bytes) noexcept {
  LiveCounters& counters = out.stream->face(out.side).counters;
  if (!out.connected && out.to_bytes == 0) return drop(counters.unsent);
  ssize_t sent = -1;
  if (out.connected) {
    sent = ::send(out.fd, bytes.data(), bytes.size(), 0);
    // An ICMP error of an earlier packet is told to the next one, which then has not been sent.
    if (sent < 0 && errno == ECONNREFUSED) sent = ::send(out.fd, bytes.data(), bytes.size(), 0);
  } else {
    sent = ::sendto(out.fd, bytes.data(), bytes.size(), 0, reinterpret_cast<const sockaddr*>(&out.to), out.to_bytes);
  }
  if (sent < 0) return drop(counters.unsent);
  counters.packets_out.add(1);
  counters.bytes_out.add(bytes.size());
  totals_.packets.add(1);
  totals_.bytes.add(bytes.size());
}

void Relay::drop(Counter& reason) noexcept {
  reason.add(1);
  totals_.dropped.add(1);
}

// ---- what is told

bool Relay::tell(const Event& event) noexcept {
  const bool pushed = events_.push(event);
  told_ |= pushed;
  return pushed;
}

void Relay::flush() noexcept {
  while (!closed_.empty()) {
    Event event;
    event.kind = Event::Kind::closed;
    event.stream = closed_.back()->id;
    event.counters = closed_.back()->read_counters();
    if (!tell(event)) break;
    closed_.pop_back();
  }
}

void Relay::sweep(std::int64_t now_ms) noexcept {
  for (Stream* stream : streams_) {
    if (stream->held) continue;
    std::int64_t last_ms = stream->silent_since_ms;
    for (const Face& face : stream->faces) {
      last_ms = std::max(last_ms, static_cast<std::int64_t>(face.counters.last_in_ms.get()));
    }
    if (now_ms - last_ms < config_.silence_timeout_ms) continue;
    Event event;
    event.kind = Event::Kind::silence;
    event.stream = stream->id;
    event.counters = stream->read_counters();
    if (tell(event)) stream->silent_since_ms = now_ms;
  }
}

}  // namespace sipfarm::rtp
