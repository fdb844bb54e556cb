#include "sip/bus_frame.hpp"

#include <array>
#include <cstring>

namespace sipfarm::sip {

namespace {

constexpr std::uint8_t hop_fields = 6;

void append_hop(net::MsgpackWriter& writer, const net::Hop& hop) {
  writer.uint(static_cast<std::uint64_t>(hop.transport));
  writer.uint(hop.local);
  writer.uint(hop.flow);
  writer.uint(hop.member);
  writer.bin({reinterpret_cast<const char*>(hop.remote.ip.data()), hop.remote.v6 ? std::size_t{16} : std::size_t{4}});
  writer.uint(hop.remote.port);
}

bool read_uint(net::MsgpackReader& reader, std::uint64_t max, std::uint64_t& value) noexcept {
  const auto read = reader.uint();
  if (!read || *read > max) return false;
  value = *read;
  return true;
}

bool read_hop(net::MsgpackReader& reader, net::Hop& hop) noexcept {
  std::array<std::uint64_t, 4> fields{};
  constexpr std::array<std::uint64_t, 4> bounds = {static_cast<std::uint64_t>(net::Transport::wss), 0xffff, 0xffff'ffff, 0xffff};
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (!read_uint(reader, bounds[i], fields[i])) return false;
  }
  const auto ip = reader.bin();
  std::uint64_t port = 0;
  if (!ip || (ip->size() != 4 && ip->size() != 16) || !read_uint(reader, 0xffff, port)) return false;
  hop.transport = static_cast<net::Transport>(fields[0]);
  hop.local = static_cast<std::uint16_t>(fields[1]);
  hop.flow = static_cast<std::uint32_t>(fields[2]);
  hop.member = static_cast<std::uint16_t>(fields[3]);
  hop.remote.v6 = ip->size() == 16;
  std::memcpy(hop.remote.ip.data(), ip->data(), ip->size());
  hop.remote.port = static_cast<std::uint16_t>(port);
  return true;
}

}  // namespace

void append_bus_message(std::string& out, const BusMessage& message) {
  using Kind = BusMessage::Kind;
  net::MsgpackWriter writer{out};
  const auto begin = [&](unsigned fields) {
    writer.array(static_cast<std::uint8_t>(1 + fields));
    writer.uint(static_cast<std::uint64_t>(message.kind));
  };
  switch (message.kind) {
    case Kind::packet:
      begin(hop_fields + 4);
      append_hop(writer, message.hop);
      writer.bin(message.bytes);
      writer.uint(message.epoch);
      writer.uint(message.settled ? 1 : 0);
      writer.uint(message.hops);
      break;
    case Kind::lookup:
      begin(hop_fields + 2);
      append_hop(writer, message.hop);
      writer.bin(message.bytes);
      writer.uint(message.hops);
      break;
    case Kind::claim:
    case Kind::claimed:
      begin(message.kind == Kind::claim ? 5 : 4);
      writer.uint(message.key);
      writer.uint(message.member);
      writer.uint(message.epoch);
      writer.uint(message.claim);
      if (message.kind == Kind::claim) writer.uint(message.merge);
      break;
    case Kind::note:
      begin(4);
      writer.uint(message.key);
      writer.uint(message.member);
      writer.uint(message.epoch);
      writer.uint(message.ttl_ms);
      break;
    case Kind::send:
    case Kind::undelivered:
      begin(hop_fields + 2);
      append_hop(writer, message.hop);
      writer.bin(message.bytes);
      writer.uint(message.claim);
      break;
    case Kind::failed:
      begin(1);
      writer.uint(message.claim);
      break;
    case Kind::sync:
    case Kind::synced:
      begin(message.kind == Kind::sync ? 2 : 1);
      writer.uint(message.epoch);
      if (message.kind == Kind::sync) writer.uint(message.sender_epoch);
      break;
    case Kind::sender:
      begin(hop_fields + 1);
      append_hop(writer, message.hop);
      writer.uint(message.fault ? static_cast<std::uint64_t>(*message.fault) + 1 : 0);
      break;
  }
}

std::optional<BusMessage> read_bus_message(net::MsgpackReader& reader) noexcept {
  using Kind = BusMessage::Kind;
  constexpr std::uint64_t any = UINT64_MAX;
  const auto count = reader.array();
  std::uint64_t kind = 0;
  if (!count || !read_uint(reader, static_cast<std::uint64_t>(Kind::sender), kind)) return std::nullopt;
  BusMessage message;
  message.kind = static_cast<Kind>(kind);
  std::uint64_t value = 0;
  const auto take_bytes = [&] {
    const auto bytes = reader.bin();
    if (bytes) message.bytes = *bytes;
    return bytes.has_value();
  };
  switch (message.kind) {
    case Kind::packet:
      if (*count != hop_fields + 5 || !read_hop(reader, message.hop) || !take_bytes()) return std::nullopt;
      if (!read_uint(reader, 0xffff'ffff, value)) return std::nullopt;
      message.epoch = static_cast<std::uint32_t>(value);
      if (!read_uint(reader, 1, value)) return std::nullopt;
      message.settled = value == 1;
      if (!read_uint(reader, 0xff, value)) return std::nullopt;
      message.hops = static_cast<std::uint8_t>(value);
      return message;
    case Kind::lookup:
      if (*count != hop_fields + 3 || !read_hop(reader, message.hop) || !take_bytes() || !read_uint(reader, 0xff, value)) return std::nullopt;
      message.hops = static_cast<std::uint8_t>(value);
      return message;
    case Kind::claim:
    case Kind::claimed:
    case Kind::note:
      if (*count != (message.kind == Kind::claim ? 6U : 5U) || !read_uint(reader, any, message.key) || !read_uint(reader, 0xffff, value)) return std::nullopt;
      message.member = static_cast<std::uint16_t>(value);
      if (!read_uint(reader, 0xffff'ffff, value)) return std::nullopt;
      message.epoch = static_cast<std::uint32_t>(value);
      if (message.kind != Kind::note) {
        const bool whole = read_uint(reader, any, message.claim) && (message.kind != Kind::claim || read_uint(reader, any, message.merge));
        return whole ? std::optional{message} : std::nullopt;
      }
      if (!read_uint(reader, 0xffff'ffff, value)) return std::nullopt;
      message.ttl_ms = static_cast<std::uint32_t>(value);
      return message;
    case Kind::send:
    case Kind::undelivered:
      if (*count != hop_fields + 3 || !read_hop(reader, message.hop) || !take_bytes()) return std::nullopt;
      return read_uint(reader, any, message.claim) ? std::optional{message} : std::nullopt;
    case Kind::failed:
      return *count == 2 && read_uint(reader, any, message.claim) ? std::optional{message} : std::nullopt;
    case Kind::sync:
    case Kind::synced:
      if (*count != (message.kind == Kind::sync ? 3U : 2U) || !read_uint(reader, 0xffff'ffff, value)) return std::nullopt;
      message.epoch = static_cast<std::uint32_t>(value);
      if (message.kind == Kind::synced) return message;
      if (!read_uint(reader, 0xffff'ffff, value)) return std::nullopt;
      message.sender_epoch = static_cast<std::uint32_t>(value);
      return message;
    case Kind::sender:
      if (*count != hop_fields + 2 || !read_hop(reader, message.hop) || !read_uint(reader, fault_names.size(), value)) return std::nullopt;
      if (value != 0) message.fault = static_cast<Fault>(value - 1);
      return message;
  }
  return std::nullopt;
}

}  // namespace sipfarm::sip
