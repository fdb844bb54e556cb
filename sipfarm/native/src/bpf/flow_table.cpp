#include "bpf/flow_table.hpp"

#include <arpa/inet.h>

#include <atomic>
#include <cstring>

namespace sipfarm::bpf {
namespace {

constexpr std::int64_t k_rest_ms = 1'000;  // far longer than a program runs
constexpr std::int64_t k_ns_per_ms = 1'000'000;

/// The program reads what is stored here, from any CPU.
template <typename Value>
void store(Value& target, Value value) noexcept {
  std::atomic_ref{target}.store(value, std::memory_order_release);
}

template <typename Value>
Value load(const Value& source) noexcept {
  return std::atomic_ref{const_cast<Value&>(source)}.load(std::memory_order_acquire);
}

void set_address(__be32& first, __be32 (&rest)[3], const net::Address& address) noexcept {
  std::memcpy(&first, address.ip.data(), sizeof first);
  std::memcpy(rest, address.ip.data() + sizeof first, sizeof rest);
}

void fill(relay_flow& at, const Flow& flow) noexcept {
  at = {};
  set_address(at.local, at.local_rest, flow.local);
  set_address(at.source, at.source_rest, flow.source);
  set_address(at.new_source, at.new_source_rest, flow.new_source);
  set_address(at.destination, at.destination_rest, flow.destination);
  at.local_port = htons(flow.local.port);
  at.source_port = htons(flow.source.port);
  at.new_source_port = htons(flow.new_source.port);
  at.destination_port = htons(flow.destination.port);
  at.in_interface = flow.way.in_interface;
  at.out_interface = flow.way.out_interface;
  at.bytes_max = flow.way.bytes_max;
  at.version = flow.local.v6 ? 6 : 4;
  at.tos = static_cast<__u8>(flow.dscp << 2U);
  at.packets_max = flow.packets_max;
  std::memcpy(at.up_types, flow.up_types.data(), sizeof at.up_types);
}

bool is_at(const relay_flow& flow, const net::Address& local) noexcept {
  return flow.version == (local.v6 ? 6 : 4) && std::memcmp(&flow.local, local.ip.data(), sizeof flow.local) == 0 &&
         std::memcmp(flow.local_rest, local.ip.data() + sizeof flow.local, sizeof flow.local_rest) == 0;
}

}  // namespace

FlowTable::FlowTable(std::span<relay_port> ports, std::span<relay_flow> flows, std::uint32_t first, std::uint32_t count)
    : ports_{ports}, flows_{flows}, count_{count}, free_{count} {
  for (std::uint32_t place = first; place < first + count; ++place) free_.push({place, -k_rest_ms});
}

FlowTable::Handle FlowTable::put(const Flow& flow, std::int64_t now_ms) noexcept {
  if (free_.size() == 0 || now_ms - free_.front().since_ms < k_rest_ms) return none;
  const Handle handle = free_.front().place;
  fill(flows_[handle], flow);
  if (!publish(flow.local, handle)) return none;
  free_.pop();
  return handle;
}

/// Tables of other threads do the same to flows of other addresses on this port.
bool FlowTable::publish(const net::Address& local, Handle handle) noexcept {
  relay_port& port = ports_[local.port];
  for (const __u32& place : port.flows) {
    const Handle other = load(place);
    if (other != none && is_at(flows_[other], local)) return false;
  }
  for (__u32& place : port.flows) {
    __u32 empty = none;
    if (std::atomic_ref{place}.compare_exchange_strong(empty, handle, std::memory_order_acq_rel)) return true;
  }
  return false;
}

bool FlowTable::open(Handle handle, std::uint32_t ssrc, std::uint16_t sequence) noexcept {
  __u64 last = SIPFARM_GATE_LAST_UP(ssrc, sequence);
  return std::atomic_ref{flows_[handle].gate}.compare_exchange_strong(last, SIPFARM_GATE_OPEN, std::memory_order_acq_rel);
}

bool FlowTable::is_open(Handle handle) const noexcept { return load(flows_[handle].gate) == SIPFARM_GATE_OPEN; }

void FlowTable::set_up_types(Handle handle, const std::array<std::uint64_t, 2>& types) noexcept {
  for (std::size_t i = 0; i < types.size(); ++i) store(flows_[handle].up_types[i], __u64{types[i]});
}

FlowCounters FlowTable::read(Handle handle) const noexcept {
  const relay_flow& flow = flows_[handle];
  return {load(flow.packets), load(flow.bytes), static_cast<std::int64_t>(load(flow.last_ns)) / k_ns_per_ms, load(flow.flooded),
          load(flow.strangers)};
}

FlowCounters FlowTable::remove(Handle handle, std::int64_t now_ms) noexcept {
  relay_flow& flow = flows_[handle];
  for (__u32& place : ports_[ntohs(flow.local_port)].flows) {
    if (load(place) == handle) store(place, __u32{none});
  }
  free_.push({handle, now_ms});
  return read(handle);
}

}  // namespace sipfarm::bpf
