#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/hop.hpp"
#include "rtp/commands.hpp"
#include "sip/fate.hpp"
#include "sip/message_pool.hpp"

namespace sipfarm::sip {

/// What Python is told. Nothing else of what passes reaches it.
enum class EventKind : std::uint8_t {
  request,    // a new request, or one within a dialog of ours: `id` is its server transaction
  ack,        // ACK to a 2xx of ours
  cancel,     // the INVITE of server transaction `id` was cancelled; the CANCEL is answered already
  response,   // to a request that Python sent: `id` is Python's key; without a message: timeout (408) or transport error (503)
  exhausted,  // every branch of server transaction `id` failed, the best with `status`; `text` lists those of the step whose flow is gone
              // ("0,2"); more targets are asked for
  call,       // a forwarded call: `call` is its handle, `state` what became of it, `id` its INVITE's server transaction (0 at its end)
  orphan,     // a request within a dialog of member `number` in its life `id`, which is over: `place_orphan` is to say who has the call now
  banned,     // the address of `hop` is, `text` says why
  resolve,    // `text` host, `number` port, of query `id`: the resolver is to answer; by another transport than `hop`'s if none was `chosen`
};

enum class CallState : std::uint8_t { ringing, answered, ended, failed };

struct Event {
  EventKind kind = EventKind::request;
  CallState state = CallState::ringing;
  bool chosen = true;
  std::uint16_t status = 0;
  std::uint16_t number = 0;
  std::uint64_t id = 0;
  std::uint64_t call = 0;
  MessageRef message;
  net::Hop hop;
  std::string text;
};

/// No response came to a request that Python sent.
inline Event unanswered(std::uint64_t key, int status) {
  Event event;
  event.kind = EventKind::response;
  event.id = key;
  event.status = static_cast<std::uint16_t>(status);
  return event;
}

/// One message to be sent; its bytes stand in the output's arena.
struct Send {
  net::Hop hop;
  std::uint32_t begin = 0;
  std::uint32_t length = 0;
  std::uint64_t transaction = 0;  // client transaction to tell of a transport error; 0: nobody
  std::uint32_t server_begin = 0;
  std::uint32_t server_length = 0;  // the name that a TLS server there must prove, in the arena; 0: none
};

/// Bytes for another member's engine.
struct BusFrame {
  std::uint16_t member = 0;
  std::uint32_t begin = 0;
  std::uint32_t length = 0;
};

/// What became of one packet; its bytes stand in the output's arena.
struct PacketRecord {
  Fate fate;
  std::uint16_t from = 0;  // member that passed it on; 0: off the wire, or made here
  net::Hop hop;
  std::uint32_t begin = 0;
  std::uint32_t length = 0;
};

/// Everything one call of the engine caused. The caller performs it and may then reuse the object.
struct Output {
  std::string arena;
  std::vector<Send> sends;
  std::vector<BusFrame> frames;
  std::vector<rtp::Command> media;
  std::vector<Event> events;
  bool tracing = false;               // whether `packets` are wanted
  std::vector<PacketRecord> packets;  // each that came or left

  std::string_view bytes(const Send& send) const noexcept { return {arena.data() + send.begin, send.length}; }
  std::string_view server(const Send& send) const noexcept { return {arena.data() + send.server_begin, send.server_length}; }
  std::string_view bytes(const BusFrame& frame) const noexcept { return {arena.data() + frame.begin, frame.length}; }
  std::string_view bytes(const PacketRecord& packet) const noexcept { return {arena.data() + packet.begin, packet.length}; }

  void send(const net::Hop& hop, std::string_view bytes, std::uint64_t transaction = 0, std::string_view server = {}) {
    const auto begin = static_cast<std::uint32_t>(arena.size());
    arena.append(bytes);
    sends.push_back({hop, begin, static_cast<std::uint32_t>(bytes.size()), transaction, 0, 0});
    if (!server.empty()) name_server(sends.back(), server);
    if (tracing) packets.push_back({{Fate::What::sent, Drop::none, hop.member}, 0, hop, begin, static_cast<std::uint32_t>(bytes.size())});
  }
  void name_server(Send& send, std::string_view server) {
    send.server_begin = static_cast<std::uint32_t>(arena.size());
    send.server_length = static_cast<std::uint32_t>(server.size());
    arena.append(server);
  }
  /// A packet that came, before it is worked on; `became` gets the answer.
  std::size_t came(std::uint16_t from, const net::Hop& hop, std::string_view bytes) {
    if (!tracing) return 0;
    packets.push_back({{}, from, hop, static_cast<std::uint32_t>(arena.size()), static_cast<std::uint32_t>(bytes.size())});
    arena.append(bytes);
    return packets.size() - 1;
  }
  void became(std::size_t record, const Fate& fate) {
    if (!tracing) return;
    packets[record].fate = fate;
    if (fate.what == Fate::What::waits) packets.erase(packets.begin() + static_cast<std::ptrdiff_t>(record));
  }
  /// Takes those events out for which `settle` answers true; what it adds meanwhile stands behind the others.
  template <typename Settle>
  void settle_events(Settle settle) {
    std::vector<Event> left = std::exchange(events, {});
    std::erase_if(left, settle);
    std::move(events.begin(), events.end(), std::back_inserter(left));
    events = std::move(left);
  }
  void frame(std::uint16_t member, std::string_view bytes) {
    const auto begin = static_cast<std::uint32_t>(arena.size());
    arena.append(bytes);
    frames.push_back({member, begin, static_cast<std::uint32_t>(bytes.size())});
  }
  void clear() noexcept {
    arena.clear();
    sends.clear();
    frames.clear();
    media.clear();
    events.clear();
    packets.clear();
  }
};

}  // namespace sipfarm::sip
