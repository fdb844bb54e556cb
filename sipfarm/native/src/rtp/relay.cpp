#include "rtp/relay.hpp"

#include <algorithm>

namespace sipfarm::rtp {
namespace {

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

net::Address source_of(const Arrival& arrival) noexcept {
  return net::Address::from_sockaddr(*arrival.source).value_or(net::Address{});
}

/// Where a face is protected, what is neither has no business there.
bool is_protected(Packet kind) noexcept { return kind == Packet::rtp || kind == Packet::rtcp; }

srtp::Protocol protocol_of(Packet kind) noexcept {
  return kind == Packet::rtcp ? srtp::Protocol::rtcp : srtp::Protocol::rtp;
}

}  // namespace

Relay::Relay(const RelayConfig& config, MediaSockets& sockets, SpscRing<Event>& events, KernelPath* kernel)
    : config_{config}, sockets_{sockets}, events_{events}, kernel_{kernel} {
  streams_.reserve(config_.max_streams);
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
    attach(face.rtp, stream, side, false);
    attach(face.rtcp, stream, side, true);
    set_remote(stream, side, command.remotes[index(side)], now_ms);
  }
}

void Relay::attach(Channel& channel, Stream& stream, Side side, bool rtcp) noexcept {
  channel.stream = &stream;  // also without a port: what leaves by it looks for its stream
  channel.side = side;
  channel.rtcp = rtcp;
  channel.latch = SourceLatch{config_.latch};
  if (!channel.present()) return;
  if (!sockets_.open(channel)) channel.port = 0;  // no memory for another watch: it stays silent and is told as such
}

void Relay::detach(Channel& channel) noexcept {
  if (channel.present()) sockets_.close(channel);
}

void Relay::set_remote(Stream& stream, Side side, const Remote& remote, std::int64_t now_ms) noexcept {
  Face& face = stream.face(side);
  face.mux = remote.rtcp_mux;
  reopen(face.rtp, usable(remote.rtp), remote.signalling, now_ms);
  reopen(face.rtcp, remote.rtcp_mux ? net::Address{} : usable(rtcp_of(remote)), remote.signalling, now_ms);
}

void Relay::reopen(Channel& channel, const net::Address& signalled, const net::Address& signalling,
                   std::int64_t now_ms) noexcept {
  if (!channel.present()) return;
  channel.latch.open(signalled, signalling, now_ms);
  if (channel.latch.locked()) return;
  recall(*channel.stream, now_ms);
  sockets_.unlock(channel);
  sockets_.aim(channel);
}

void Relay::set_held(Stream& stream, bool held, std::int64_t now_ms) noexcept {
  stream.held = held;
  stream.silent_since_ms = now_ms;
}

void Relay::set_security(Stream& stream, Side side, FaceSecurity& security, std::int64_t now_ms) noexcept {
  recall(stream, now_ms);
  Face& face = stream.face(side);
  face.security.take(&security);
  if (security.plain) return;
  for (Channel* channel : {&face.rtp, &face.rtcp}) {
    if (channel->present()) sockets_.unlock(*channel);
  }
}

void Relay::close(Stream& stream, std::int64_t now_ms) noexcept {
  recall(stream, now_ms);
  for (Face& face : stream.faces) {
    detach(face.rtp);
    detach(face.rtcp);
  }
  streams_.back()->place = stream.place;
  streams_[stream.place] = streams_.back();
  streams_.pop_back();
  stream.drained_at = sockets_.drains() + 2;
  stream.next_closed = nullptr;
  *closed_end_ = &stream;
  closed_end_ = &stream.next_closed;
}

void Relay::set_bridge(Stream& stream, Bridge* bridge, std::int64_t now_ms) noexcept {
  recall(stream, now_ms);
  stream.bridge = bridge;
  stream.bridges_taken.fetch_add(1, std::memory_order_release);
}

// ---- the way of a packet

std::size_t Relay::carry(std::int64_t now_ms) noexcept {
  std::size_t taken = 0;
  int batches = 0;
  carried_ms_ = now_ms;
  do {
    const std::span<Arrival> arrivals = sockets_.receive(now_ms);
    for (Arrival& arrival : arrivals) pass(arrival, now_ms);
    send();
    taken += arrivals.size();
  } while (sockets_.more() && ++batches < k_batches);
  return taken;
}

void Relay::pass(Arrival& arrival, std::int64_t now_ms) noexcept {
  Channel& in = *arrival.channel;
  Stream& stream = *in.stream;
  Face& face = stream.face(in.side);
  LiveCounters& counters = face.counters;
  if (!within_rate(in, arrival, now_ms)) return;
  const Packet kind = stream.opaque ? Packet::rtp : demux(arrival.bytes);
  if (kind == Packet::malformed) return drop(counters.malformed);
  if (const FaceSecurity* const security = face.security.current()) {
    if (!open_protected(*security, kind, arrival, now_ms)) return;
  } else if (!arrival.vouched && !admit(in, *arrival.source, now_ms)) {
    return drop(counters.strangers);
  }
  counters.packets_in.add(1);
  counters.bytes_in.add(arrival.bytes.size());
  counters.last_in_ms.set(static_cast<std::uint64_t>(now_ms));
  if (stream.bridge != nullptr) return convert(in, kind, arrival.bytes, now_ms);
  if (Channel* out = route(in, kind, arrival.bytes)) depart(*out, kind, arrival.bytes);
}

/// What comes for a protected port from elsewhere has a rate of its own, so that it cannot use up that of the far end.
bool Relay::within_rate(Channel& in, const Arrival& arrival, std::int64_t now_ms) noexcept {
  LiveCounters& counters = counters_of(in);
  if (in.stream->face(in.side).security.current() != nullptr && in.latch.locked() &&
      source_of(arrival) != in.latch.remote()) {
    if (in.elsewhere.take(now_ms, k_elsewhere_per_s)) return true;
    drop(counters.strangers);
    return false;
  }
  if (in.allowance.take(now_ms, config_.max_packets_per_s)) return true;
  sockets_.shed(in, now_ms);
  drop(counters.flooded);
  return false;
}

/// The packet is plain from here on, and its source is that of the far end. False, and counted, if it is not authentic.
bool Relay::open_protected(const FaceSecurity& security, Packet kind, Arrival& arrival, std::int64_t now_ms) noexcept {
  Channel& in = *arrival.channel;
  LiveCounters& counters = counters_of(in);
  srtp::Outcome opened{srtp::Result::unauthentic, 0, false};
  if (security.in && is_protected(kind)) opened = security.in->unprotect(protocol_of(kind), arrival.bytes);
  if (opened.result != srtp::Result::ok) {
    refuse(counters, opened.result);
    return false;
  }
  arrival.bytes = arrival.bytes.first(opened.bytes);
  const net::Address before = in.latch.remote();
  return follow(in, in.latch.receive_authentic(source_of(arrival), opened.newest, now_ms), before);
}

void Relay::refuse(LiveCounters& counters, srtp::Result why) noexcept {
  if (why == srtp::Result::malformed) return drop(counters.malformed);
  const bool replayed = why == srtp::Result::replayed;
  (replayed ? totals_.replayed : totals_.unauthentic).add(1);
  drop(replayed ? counters.replayed : counters.unauthentic);
}

bool Relay::admit(Channel& in, const sockaddr_storage& from, std::int64_t now_ms) noexcept {
  const net::Address source = net::Address::from_sockaddr(from).value_or(net::Address{});
  const net::Address before = in.latch.remote();
  return follow(in, in.latch.receive(source, now_ms), before);
}

bool Relay::follow(Channel& in, SourceLatch::Verdict verdict, const net::Address& before) noexcept {
  if (verdict == SourceLatch::Verdict::refused) return false;
  if (verdict == SourceLatch::Verdict::accepted) return true;
  sockets_.aim(in);
  const bool is_protected = in.stream->face(in.side).security.current() != nullptr;
  if (verdict == SourceLatch::Verdict::locked && !is_protected) sockets_.lock(in);
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

/// What a conversion makes leaves by the other side.
class Relay::Sink final : public PacketSink {
 public:
  Sink(Relay& relay, Channel& out) noexcept : relay_{relay}, out_{out} {}

  std::span<std::uint8_t> room() noexcept override {
    if (relay_.departing_ == k_batch) relay_.send();
    return relay_.outgoing_[relay_.departing_];
  }
  void send(std::size_t bytes) noexcept override { relay_.depart(out_, Packet::rtp, room().first(bytes)); }

 private:
  Relay& relay_;
  Channel& out_;
};

void Relay::convert(Channel& in, Packet kind, std::span<const std::uint8_t> bytes, std::int64_t now_ms) noexcept {
  if (kind != Packet::rtp || in.rtcp) return;
  Sink sink{*this, in.stream->face(opposite(in.side)).rtp};
  in.stream->bridge->receive(in.side, bytes, now_ms * 1'000, sink);
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

void Relay::depart(Channel& out, Packet kind, std::span<std::uint8_t> bytes) noexcept {
  LiveCounters& counters = counters_of(out);
  if (out.to_bytes == 0) return drop(counters.unsent);
  if (const FaceSecurity* const security = out.stream->face(out.side).security.current()) {
    if (!security->out || !is_protected(kind)) return drop(counters.unsent);
    const srtp::Outcome sealed =
        security->out->protect(protocol_of(kind), {bytes.data(), bytes.size() + k_tailroom}, bytes.size());
    if (sealed.result != srtp::Result::ok) return drop(counters.unsent);
    bytes = {bytes.data(), sealed.bytes};
  }
  if (departing_ == k_batch) send();
  departures_[departing_++] = {&out, bytes};
}

void Relay::send() noexcept {
  const std::span<Departure> departures = std::span{departures_}.first(departing_);
  departing_ = 0;
  sockets_.send(departures);
  for (const Departure& departure : departures) {
    LiveCounters& counters = counters_of(*departure.channel);
    if (!departure.sent) {
      drop(counters.unsent);
      continue;
    }
    counters.packets_out.add(1);
    counters.bytes_out.add(departure.bytes.size());
    totals_.packets.add(1);
    totals_.bytes.add(departure.bytes.size());
    if (kernel_ != nullptr) kernel_->left(*departure.channel, departure.bytes, carried_ms_);
  }
}

void Relay::recall(Stream& stream, std::int64_t now_ms) noexcept {
  if (kernel_ != nullptr) take_note(kernel_->recall(stream, now_ms));
}

void Relay::take_note(const KernelPath::Done& done) noexcept {
  totals_.packets.add(done.packets);
  totals_.packets_in_kernel.add(done.packets);
  totals_.bytes.add(done.bytes);
  totals_.dropped.add(done.dropped);
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

/// What waits for a packet of a side from which nothing comes any more.
void Relay::expire(Stream& stream, std::int64_t now_ms) noexcept {
  for (const Side from : {Side::a, Side::b}) {
    Sink sink{*this, stream.face(opposite(from)).rtp};
    stream.bridge->expire(from, now_ms * 1'000, sink);
  }
  send();
}

bool Relay::flush() noexcept {
  while (closed_ != nullptr && closed_->drained_at <= sockets_.drains()) {
    Stream* const next = closed_->next_closed;
    Event event;
    event.kind = Event::Kind::closed;
    event.stream = closed_->id;
    event.counters = closed_->read_counters();
    if (!tell(event)) break;  // from here on the stream may be freed
    closed_ = next;
    if (next == nullptr) closed_end_ = &closed_;
  }
  return closed_ != nullptr && closed_->drained_at > sockets_.drains();
}

void Relay::sweep(std::int64_t now_ms) noexcept {
  sockets_.sweep();
  const bool reroute = kernel_ != nullptr && kernel_->renew(now_ms);
  for (Stream* stream : streams_) {
    if (stream->bridge != nullptr) expire(*stream, now_ms);
    if (reroute) recall(*stream, now_ms);
    if (kernel_ != nullptr) take_note(kernel_->collect(*stream));
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
