#include "sip/compose.hpp"
#include "sip/engine.hpp"

// What leaves through the flows of other members, and what becomes of it where they cannot be reached.

namespace sipfarm::sip {

namespace {

constexpr std::uint64_t foreign_bit = std::uint64_t{1} << 63;
constexpr std::uint64_t handle_mask = (std::uint64_t{1} << 40) - 1;

}  // namespace

std::uint64_t Engine::transaction_of(std::uint16_t member, std::uint64_t handle) noexcept {
  return foreign_bit | (std::uint64_t{member} << 40) | (handle & handle_mask);
}

void Engine::transport_failed(std::uint64_t transaction, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  if ((transaction & foreign_bit) != 0) {
    BusMessage message;
    message.kind = BusMessage::Kind::failed;
    message.claim = transaction & handle_mask;
    tell_member(static_cast<std::uint16_t>((transaction >> 40) & 0xffff), message, out);
    return;
  }
  fired_.clear();
  transactions_.transport_failed(transaction, now_ms, out, fired_);
  tell(fired_, now_ms, out);
}

void Engine::bus_failed(std::string_view payload, std::int64_t now_ms, Output& out) {
  const Turn turn{*this, now_ms, out};
  net::MsgpackReader reader{payload};
  while (!reader.empty()) {
    const auto message = read_bus_message(reader);
    if (!message) return core_.counters.drop(Drop::bus_malformed);
    if (!net::is_reliable(message->hop.transport)) continue;
    if (message->kind == BusMessage::Kind::send && message->claim != 0) transport_failed(message->claim, now_ms, out);
    if (message->kind == BusMessage::Kind::packet || message->kind == BusMessage::Kind::lookup) refuse_lost(*message, out);
  }
}

/// A request that came over a stream, whose sender does not repeat it, did not reach its owner.
void Engine::refuse_lost(const BusMessage& packet, Output& out) {
  bool ok = false;
  const MessageRef request = core_.messages.parse(packet.bytes, ok);
  if (!ok || !request->is_request() || request->method() == Method::ack) return;
  net::Hop hop = packet.hop;
  if (hop.member == core_.config.member) hop.member = 0;
  scratch_.clear();
  append_response(scratch_, *request, hop, {500, {}, mint_tag(request->call_id()), "Retry-After: 1\r\n", {}});
  out.send(reply_hop(request->top_via(), hop), scratch_);
}

/// What was sent through a member that is gone is not answered through it.
void Engine::fail_through_gone(std::int64_t now_ms, Output& out) {
  std::vector<std::uint64_t> failed;
  transactions_.each_client([&](std::uint64_t handle, const ClientTransaction& transaction) {
    if (transaction.hop.member != 0 && view_.find(transaction.hop.member) == nullptr) failed.push_back(handle);
  });
  for (const std::uint64_t transaction : failed) transport_failed(transaction, now_ms, out);
}

/// What is for a flow of another member goes there; where that member is gone, the flow is too. A member without sockets of its own
/// has its datagrams sent by one that has some.
void Engine::send_through_members(std::size_t begin, std::int64_t now_ms, Output& out) {
  std::vector<std::uint64_t> failed;
  for (std::size_t i = begin; i < out.sends.size(); ++i) {
    Send& send = out.sends[i];
    const bool by_edge = send.hop.member == 0 && send.hop.transport == net::Transport::udp && !view_.is_edge();
    if (by_edge) send.hop.member = view_.edge_for(net::AddressHash{}(send.hop.remote));
    if (send.length == 0 || (send.hop.member == 0 && !by_edge)) continue;
    const FarmMember* holder = view_.find(send.hop.member);
    if (holder != nullptr && send.hop.member != core_.config.member) {
      BusMessage message;
      message.kind = BusMessage::Kind::send;
      message.hop = send.hop;
      message.claim = send.transaction;
      message.bytes = out.bytes(send);
      frame_.clear();
      append_bus_message(frame_, message);
      out.frame(send.hop.member, frame_);
    } else if (send.transaction != 0) {
      failed.push_back(send.transaction);
    } else if (const auto elsewhere = sent_by_of(out.bytes(send), send.hop)) {
      send.hop = sending_hop(core_.config, elsewhere->hop);
      out.name_server(send, elsewhere->server);
      continue;
    }
    send.length = 0;  // leaves by the bus, or not at all
  }
  for (const std::uint64_t transaction : failed) transport_failed(transaction, now_ms, out);
}

}  // namespace sipfarm::sip
