#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "net/udp_socket.hpp"
#include "rtp/port_pool.hpp"
#include "sip/bus_frame.hpp"
#include "sip/core.hpp"
#include "sip/directory.hpp"
#include "sip/farm_view.hpp"
#include "sip/forwarder.hpp"
#include "sip/output.hpp"
#include "sip/transaction_layer.hpp"

namespace sipfarm::sip {

/// How a packet came to this member.
struct Arrival {
  net::Hop hop;
  bool settled = false;   // this member is its owner: no more looking up
  std::uint8_t hops = 0;  // members that passed it on
  bool waited = false;    // a CANCEL whose INVITE did not come in time
  std::uint16_t from = 0;  // who passed it on; 0: off the wire
};

/// The way of a SIP packet: parse, protect, classify, and then forward, absorb, pass on to its owner, or tell Python. Sans-IO: each call
/// adds to the output what is to be done. engine.cpp is the line, decisions.cpp what Python answers, ownership.cpp whose a packet is,
/// member_flows.cpp what leaves through other members, undelivered.cpp what did not arrive.
class Engine {
 public:
  Engine(EngineConfig config, rtp::PortPool& ports, std::int64_t now_ms);

  void receive(const net::Batch& batch, std::int64_t now_ms, Output& out);
  /// Never later than the next thing to do; nothing when there is none.
  std::optional<std::int64_t> next_deadline_ms() const noexcept { return core_.wheel.next_deadline_ms(); }
  void expire(std::int64_t now_ms, Output& out);

  // decisions
  struct Answer {
    int status = 500;
    std::string_view reason;
    std::string_view headers;  // whole lines
    std::string_view body;
    std::string_view to_tag;   // "": the engine's own for this transaction
  };
  /// False: the transaction has ended, or was answered finally before.
  bool respond(std::uint64_t transaction, const Answer& answer, std::int64_t now_ms, Output& out);
  /// Answers finally and keeps nothing: a repeated request is decided anew, the ACK is absorbed. For senders who have proven nothing
  /// (RFC 3261 §8.2.7, §26.3.2.4).
  void answer_statelessly(std::uint64_t transaction, const Answer& answer, std::int64_t now_ms, Output& out);
  /// The last response again (a 2xx until its ACK, RFC 3261 §13.3.1.4).
  void retransmit(std::uint64_t transaction, std::int64_t now_ms, Output& out);
  void forward(std::uint64_t transaction, std::span<const Target> targets, const ForwardOptions& options, std::int64_t now_ms, Output& out);
  void finish(std::uint64_t transaction, std::int64_t now_ms, Output& out);

  // the farm as a user agent
  /// A user agent takes a request without To tag. False: it is at work on it already, by another way (RFC 3261 §8.2.2.2).
  bool take_as_user_agent(std::uint64_t transaction) { return transactions_.take_as_user_agent(transaction); }
  struct Outgoing {
    std::string_view method;
    std::string_view uri;      // the remote target
    std::string_view route;    // the route set, "<sip:…>, <sip:…>"; may be empty
    std::string_view headers;  // whole lines: From, To, Call-ID, CSeq, Contact …
    std::string_view body;
    std::string_view call_id;
    std::optional<net::Hop> heard;  // where the far end was heard last: the flow to it, where its address does not lead there
  };
  /// Sends a request (RFC 3261 §12.2.1.1); its responses come as events with `key`. An ACK is that to a 2xx: sent once, no transaction
  /// (§13.2.2.4). False: nobody knows where to, or a limit is reached.
  bool send(std::uint64_t key, const Outgoing& outgoing, std::int64_t now_ms, Output& out);
  std::string mint_tag(std::string_view call_id);
  std::string mint_contact(std::string_view call_id, std::uint16_t local) const;

  /// Names a connection of a member (0: this one) for a binding's Path (RFC 5626 §5.2); `far` is what the mark is bound to. Empty
  /// where that member is not there.
  std::string mint_flow(std::uint32_t flow, std::string_view far, std::uint16_t member = 0) const;
  /// Whose connection a flow mark names; nothing for a forged one.
  std::optional<OwnerMark> open_flow(std::string_view text, std::string_view far) const noexcept {
    return core_.keys.open(MarkKind::path, text, far);
  }

  void resolved(std::uint64_t query, std::span<const net::Hop> found, std::int64_t now_ms, Output& out);
  void transport_failed(std::uint64_t transaction, std::int64_t now_ms, Output& out);
  /// Datagrams of ours that ICMP errors quote: a client transaction that has had no response fails (RFC 3261 §17.1.4, §18.4).
  void undelivered(const net::Batch& batch, std::int64_t now_ms, Output& out);
  void end_call(std::uint64_t call, std::string_view by, std::int64_t now_ms, Output& out);
  void hang_up(std::uint64_t call, std::string_view by, std::int64_t now_ms, Output& out);

  // who may begin new work
  /// The sender has shown good credentials, or what Python has against it. Who passed its request on is told: it judges what comes from there.
  void prove(const net::Hop& source, std::int64_t now_ms, Output& out);
  void blame(const net::Hop& source, Fault fault, std::int64_t now_ms, Output& out);
  Protect& protect() noexcept { return protect_; }

  // the farm
  /// Who is there now. Membership changes move homes: live transactions are noted at the new ones.
  void set_view(std::span<const FarmMember> members, std::int64_t now_ms, Output& out);
  /// What another member's engine told this one: messages one after the other.
  void receive_bus(std::uint16_t from, std::string_view payload, std::int64_t now_ms, Output& out);
  /// A payload for another member did not leave: what would wait in vain for an answer over a stream is told so at once. Everything else
  /// comes again.
  void bus_failed(std::string_view payload, std::int64_t now_ms, Output& out);
  /// The member that has the call of an orphan takes it; 0: nobody has that call (481).
  void place_orphan(MessageRef request, const net::Hop& source, std::uint16_t member, std::int64_t now_ms, Output& out);
  std::size_t directory_size() const noexcept { return directory_.size(); }
  std::size_t waiting_count() const noexcept { return waiting_.size(); }

  Forwarder& forwarder() noexcept { return forwarder_; }
  TransactionLayer& transactions() noexcept { return transactions_; }
  const Core& core() const noexcept { return core_; }

 private:
  /// What left during one call for flows of other members becomes bus messages, and what failed is told.
  class Turn {
   public:
    Turn(Engine& engine, std::int64_t now_ms, Output& out) noexcept : engine_{engine}, now_ms_{now_ms}, out_{out}, begin_{out.sends.size()} {}
    ~Turn() { engine_.send_through_members(begin_, now_ms_, out_); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    Engine& engine_;
    std::int64_t now_ms_;
    Output& out_;
    std::size_t begin_;
  };
  /// A packet that waits for the directory: its claim's answer, or (a CANCEL at the home) the claim itself.
  struct Waiting {
    std::uint64_t key = 0;
    MessageRef request;
    Arrival arrival;
    bool is_cancel = false;
    TimerId timer = TimerId::none;
    std::uint8_t tries = 0;
  };
  /// Another member, as far as notes have been told to it.
  struct Peer {
    std::uint32_t epoch = 0;
    bool ready = false;
    bool told = false;          // it has confirmed that it got all
    std::int64_t again_ms = 0;  // tried again then, while it is not ready
  };

  // engine.cpp
  Fate receive_one(const net::Batch::Item& item, std::int64_t now_ms, Output& out);
  Fate receive_sip(std::string_view bytes, const Arrival& arrival, std::int64_t now_ms, Output& out);
  Fate receive_response(const MessageRef& response, const Arrival& arrival, std::int64_t now_ms, Output& out);
  Fate receive_request(MessageRef request, const Arrival& arrival, std::int64_t now_ms, Output& out);
  Fate receive_ack(const MessageRef& ack, const Arrival& arrival, const OwnRoute& route, bool in_own_dialog, std::int64_t now_ms, Output& out);
  Fate receive_cancel(MessageRef cancel, const Arrival& arrival, std::int64_t now_ms, Output& out);
  /// Nothing has left for a request yet, nor is it forwarded: an answer to it need not be kept.
  static bool may_be_strangers(const ServerTransaction& transaction) noexcept {
    return !transaction.provisional_sent && transaction.user != User::forward;
  }
  Fate open_request(MessageRef request, const net::Hop& source, std::int64_t now_ms, Output& out);
  /// The fate of what begins something new and is held off by its source; nothing where it is admitted.
  std::optional<Fate> held_off(const Arrival& arrival, std::int64_t now_ms) noexcept;
  void tell_of_sender(const net::Hop& source, std::optional<Fault> fault, Output& out);
  Fate refuse(const Message& request, const net::Hop& source, const Answer& answer, Drop why, Output& out);
  bool has_room() const noexcept { return core_.messages.bytes() < core_.config.messages_bytes_max; }
  Fate answer_malformed(const Message& request, const Arrival& arrival, std::int64_t now_ms, Output& out);
  void end_unanswered(std::uint64_t handle, std::int64_t now_ms, Output& out);
  void tell(std::span<const Fired> fired, std::int64_t now_ms, Output& out);

  /// A packet that waited, and what became of it.
  template <typename Step>
  static void take_up(MessageRef request, const Arrival& arrival, Output& out, Step step) {
    const std::size_t record = out.came(arrival.from, arrival.hop, request->wire());
    out.became(record, step(std::move(request)));
  }

  // decisions.cpp
  std::string stateless_tag(const Message& request) const;

  // ownership.cpp
  bool is_answered_statelessly(const Message& ack) const noexcept;
  std::optional<OwnerMark> dialog_mark_of(const Message& request) const noexcept;
  Fate tell_orphan(MessageRef request, const OwnerMark& tag, const Arrival& arrival, std::int64_t now_ms, Output& out);
  Fate pass_on(std::uint16_t member, std::string_view bytes, const Arrival& arrival, Output& out);
  Fate claim(MessageRef request, const Arrival& arrival, std::int64_t now_ms, Output& out, std::uint8_t tries = 0);
  Fate look_up(MessageRef request, const Arrival& arrival, std::int64_t now_ms, Output& out);
  std::optional<Directory::Owner> test_and_set(std::uint64_t key, Directory::Owner proposed, std::int64_t now_ms, Output& out);
  std::uint64_t merge_of(const Message& request) const noexcept;
  std::optional<Directory::Owner> owner_of_merged(std::uint64_t merge, std::int64_t now_ms) const noexcept;
  void note_merged(std::uint64_t merge, Directory::Owner owner, std::int64_t now_ms);
  void put(std::uint64_t key, Directory::Owner owner, std::int64_t until_ms, std::int64_t now_ms);
  void tidy_directory(std::int64_t now_ms);
  void enter(std::uint64_t key, Directory::Owner owner, std::int64_t until_ms, std::int64_t now_ms, Output& out);
  Fate wait_for_invite(std::uint64_t key, MessageRef cancel, const Arrival& arrival, std::int64_t now_ms);
  std::vector<Waiting> take_cancels(std::uint64_t key);
  Fate hand_over(MessageRef request, const Arrival& arrival, Directory::Owner owner, std::int64_t now_ms, Output& out);
  void copy_entry(std::uint64_t key, Directory::Owner owner, std::uint16_t second, std::int64_t now_ms, Output& out);
  std::uint64_t wait(Waiting waiting, std::int64_t now_ms);
  void expire_waiting(std::uint64_t id, std::int64_t now_ms, Output& out);
  void answer_claim(std::uint16_t from, const BusMessage& claim, std::int64_t now_ms, Output& out);
  void receive_claimed(const BusMessage& answer, std::int64_t now_ms, Output& out);
  void receive_bus_message(std::uint16_t from, const BusMessage& message, std::int64_t now_ms, Output& out);
  void greet(std::int64_t now_ms, Output& out);
  void note_to(std::uint16_t member, std::int64_t now_ms, Output& out);
  void note_again(std::int64_t now_ms, Output& out, const FarmView& before);
  void claim_again(std::int64_t now_ms, Output& out);
  void hear_sync(Directory::Owner from, std::int64_t now_ms, Output& out);
  /// Whether everybody who was there before has told this member what it is home of; until then it grants no claim.
  bool is_settled() const noexcept { return unheard_.empty(); }
  void tell_member(std::uint16_t member, const BusMessage& message, Output& out);

  // member_flows.cpp
  /// A client transaction of another member, as it is named in what is sent for it.
  static std::uint64_t transaction_of(std::uint16_t member, std::uint64_t handle) noexcept;
  void refuse_lost(const BusMessage& packet, Output& out);
  void fail_through_gone(std::int64_t now_ms, Output& out);
  void send_through_members(std::size_t begin, std::int64_t now_ms, Output& out);

  // undelivered.cpp
  void fail_undelivered(std::uint64_t handle, const net::Hop& hop, std::string_view quote, std::int64_t now_ms, Output& out);

  Core core_;
  TransactionLayer transactions_;
  Forwarder forwarder_;
  Protect protect_;
  Bucket bans_told_;  // the rest is only counted
  FarmView view_;
  Directory directory_;
  bool directory_tick_ = false;  // a timer that tidies it is set
  std::unordered_map<std::uint64_t, Waiting> waiting_;
  std::unordered_map<std::uint64_t, std::uint64_t> claims_by_key_;
  std::unordered_multimap<std::uint64_t, std::uint64_t> cancels_by_key_;
  std::uint64_t next_waiting_ = 1;
  std::unordered_map<std::uint16_t, Peer> peers_;
  std::vector<Directory::Owner> unheard_;  // members that were there when this one came
  std::int64_t born_ms_;
  std::vector<Fired> fired_;
  std::string scratch_;
  std::string frame_;
  std::uint64_t next_tag_ = 1;
};

}  // namespace sipfarm::sip
