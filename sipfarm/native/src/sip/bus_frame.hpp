#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/hop.hpp"
#include "net/msgpack.hpp"
#include "sip/protect.hpp"

namespace sipfarm::sip {

/// What one member's engine tells another's. A msgpack array each: kind, then the fields that the kind has, in this order.
struct BusMessage {
  enum class Kind : std::uint8_t {
    packet,   // hop, bytes, epoch, settled, hops: a SIP packet for its owner, which is the receiver in that epoch
    lookup,   // hop, bytes, hops: a packet that only the directory knows the owner of (CANCEL, ACK to a relayed non-2xx)
    claim,    // key, member, epoch, claim, merge: may `member` own the transaction? Asked at the home
    claimed,  // key, member, epoch, claim: who owns it
    note,     // key, member, epoch, ttl_ms: a directory entry, told to a new home or to the second-ranked
    send,     // hop, bytes, claim (transaction): to leave through a flow of the receiver
    failed,   // claim (transaction): that could not be sent
    sync,     // epoch, sender_epoch: the sender has told the receiver, each by its epoch, every note that it is home of or holds the copy of
    synced,   // epoch: the answer, with the epoch of the one that synced
    undelivered,  // hop, bytes, claim (transaction): a datagram of the receiver's that an ICMP error quotes
    sender    // hop, fault: what a request that the receiver passed on has shown of its sender; no fault: good credentials
  };
  Kind kind = Kind::packet;
  bool settled = false;  // the receiver is the owner: no more looking up
  std::uint8_t hops = 0;
  std::uint16_t member = 0;
  std::uint32_t epoch = 0;
  std::uint32_t sender_epoch = 0;
  std::uint32_t ttl_ms = 0;
  std::uint64_t key = 0;
  std::uint64_t claim = 0;
  std::uint64_t merge = 0;  // the request, by whichever way it came; 0: it is no INVITE that may have come by several
  std::optional<Fault> fault;
  net::Hop hop;
  std::string_view bytes;
};
inline constexpr std::uint8_t bus_hops_max = 2;

void append_bus_message(std::string& out, const BusMessage& message);
/// The next message; nothing when what follows is not one. `bytes` looks into what is read.
std::optional<BusMessage> read_bus_message(net::MsgpackReader& reader) noexcept;

}  // namespace sipfarm::sip
