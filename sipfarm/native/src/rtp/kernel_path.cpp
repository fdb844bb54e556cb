#include "rtp/kernel_path.hpp"

#include <algorithm>
#include <utility>

#include "rtp/demux.hpp"

namespace sipfarm::rtp {
namespace {

constexpr std::int64_t k_retry_ms = 1'000;  // where there was no way or no room

}  // namespace

void KernelPath::left(Channel& out, std::span<const std::uint8_t> bytes, std::int64_t now_ms) noexcept {
  Stream& stream = *out.stream;
  if (stream.echo || stream.opaque || stream.bridge != nullptr || stream.is_protected() || out.rtcp || demux(bytes) != Packet::rtp) return;
  Face& face = stream.face(opposite(out.side));
  if (face.relayed.flow == bpf::FlowTable::none) return put(face, face.rtp, out, now_ms);
  if (!table_.is_open(face.relayed.flow)) table_.open(face.relayed.flow, ssrc_of(bytes), sequence_of(bytes));
}

void KernelPath::put(Face& face, const Channel& in, const Channel& out, std::int64_t now_ms) noexcept {
  if (now_ms < face.relayed.retry_ms || !in.latch.locked() || !out.latch.locked()) return;
  face.relayed.retry_ms = now_ms + k_retry_ms;
  bpf::Flow flow;
  flow.local = flow.new_source = config_.address;
  flow.local.port = in.port;
  flow.new_source.port = out.port;
  flow.source = in.latch.remote();
  flow.destination = out.latch.remote();
  flow.dscp = static_cast<std::uint8_t>(config_.dscp);
  flow.packets_max = config_.max_packets_per_s;
  const auto way = routes_.find(flow.local, flow.new_source, flow.destination);
  if (!way) return;
  flow.way = *way;
  face.relayed.collected = {};
  face.relayed.flow = table_.put(flow, now_ms);
}

KernelPath::Done KernelPath::recall(Stream& stream, std::int64_t now_ms) noexcept {
  for (Face& face : stream.faces) {
    if (face.relayed.flow != bpf::FlowTable::none) table_.remove(face.relayed.flow, now_ms);
  }
  const Done done = collect(stream);
  for (Face& face : stream.faces) face.relayed.flow = bpf::FlowTable::none;
  return done;
}

KernelPath::Done KernelPath::collect(Stream& stream) noexcept {
  Done done;
  for (const Side side : {Side::a, Side::b}) {
    if (stream.face(side).relayed.flow != bpf::FlowTable::none) collect(stream, side, done);
  }
  return done;
}

void KernelPath::collect(Stream& stream, Side side, Done& done) noexcept {
  Relayed& relayed = stream.face(side).relayed;
  LiveCounters& in = stream.face(side).counters;
  LiveCounters& out = stream.face(opposite(side)).counters;
  const bpf::FlowCounters now = table_.read(relayed.flow);
  const bpf::FlowCounters before = std::exchange(relayed.collected, now);
  const std::uint64_t packets = now.packets - before.packets;
  const std::uint64_t bytes = now.bytes - before.bytes;
  const std::uint64_t flooded = now.flooded - before.flooded;
  const std::uint64_t strangers = now.strangers - before.strangers;
  in.packets_in.add(packets);
  in.bytes_in.add(bytes);
  in.last_in_ms.set(std::max(in.last_in_ms.get(), static_cast<std::uint64_t>(now.last_ms)));
  in.flooded.add(flooded);
  in.strangers.add(strangers);
  out.packets_out.add(packets);
  out.bytes_out.add(bytes);
  done.packets += packets;
  done.bytes += bytes;
  done.dropped += flooded + strangers;
}

bool KernelPath::renew(std::int64_t now_ms) noexcept {
  relay_.renew(now_ms);
  return routes_.take_changed();
}

}  // namespace sipfarm::rtp
