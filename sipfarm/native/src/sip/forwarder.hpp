#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sip/core.hpp"
#include "sip/output.hpp"
#include "sip/relay_session.hpp"
#include "sip/rewrite.hpp"
#include "sip/route.hpp"
#include "sip/transaction_layer.hpp"
#include "sip/way.hpp"

// Forwarding (RFC 3261 §16): forks and forwarded calls. fork.cpp opens forks and their branches, branch_request.cpp writes what a branch
// sends, in_dialog.cpp has the requests of calls that stand, responses.cpp brings answers back, calls.cpp keeps what outlives the INVITE,
// hang_up.cpp ends it, own_request.cpp sends what begins here.

namespace sipfarm::sip {

/// One target of a forwarded request, chosen by Python.
struct Target {
  std::string uri;
  std::string route;             // "<sip:…>, <sip:…>": Path of a binding, an outbound proxy; may be empty
  std::optional<net::Hop> hop;   // the flow of a binding; without it the URI or the route says where to
};

struct ForwardOptions {
  bool relay = false;
  bool record_route = true;
  bool more = false;               // when all fail, ask Python for more targets
  std::int64_t step_ms = 0;        // after that the branches are cancelled; 0: no limit but Timer C
  std::vector<std::string> remove;  // names of headers
  std::string add;                 // whole lines
};

struct Branch {
  std::uint64_t client = 0;  // 0: not started, its name is being looked up
  std::uint32_t leg = 0;     // of the call
  std::uint32_t breadth = 1;  // its share of Max-Breadth (RFC 5393 §5)
  int status = 0;            // final; 0: open
  bool provisional = false;
  bool cancel_wanted = false;
  bool cancel_sent = false;
  TimerId clock = TimerId::none;  // Timer C; after a CANCEL 64*T1
  Way way;
  Target target;
};

/// A response context (RFC 3261 §16.7).
struct Fork {
  static constexpr std::uint32_t no_leg = UINT32_MAX;

  std::uint64_t server = 0;
  std::uint64_t call = 0;
  bool invite = false;
  bool in_dialog = false;
  bool cancelled = false;
  bool answered = false;
  bool ends_call = false;       // a BYE
  bool no_ports = false;        // the relay had none for a branch
  bool refreshes_call = false;  // an INVITE or UPDATE in dialog: 408 and 481 to it mean that the far end is gone
  rtp::Side from = rtp::Side::a;
  std::uint32_t leg = no_leg;   // in dialog: of the call
  std::uint32_t breadth = 0;    // for all branches that are open at a time
  int best_status = 0;
  std::size_t open = 0;
  std::size_t step_first = 0;   // the first branch of the step under way
  std::uint64_t loop = 0;       // what of the request decides where it goes, hashed (RFC 5393 §4.2.1)
  MessageRef best;
  std::vector<MessageRef> challenges;  // each 401 and 407 (RFC 3261 §16.7 step 7)
  OwnRoute route;               // in dialog
  bool offers = false;          // in dialog, through a relay
  bool answered_early = false;  // a provisional response has answered it
  std::vector<RelayStream> before;  // the relay as it was then
  ForwardOptions options;
  std::vector<Branch> branches;
  TimerId step = TimerId::none;  // of the branches under way, or of Python's answer to `exhausted`

  void clear();
};

/// One end of a dialog, as requests to it need it; our own part of the route set is left out.
struct FarEnd {
  std::string name;     // the value of From or To that names it, tag included
  std::string contact;  // "": too little is known of the dialog
  std::string route;
  std::optional<net::Hop> hop;  // its flow, where the contact is not where it is reached
  std::uint32_t cseq = 0;       // the last number that it has used

  void clear() noexcept;
};

/// One dialog of a forwarded call: a branch, from its offer to its BYE. Further dialogs of a branch (a fork behind it) use its relay.
struct Leg {
  std::string to_tag;  // "" until a response with one came
  bool confirmed = false;
  bool over = false;
  bool relayed = false;     // Python chose the relay at the offer
  std::uint32_t media = 0;  // the leg whose relay it is
  RelaySession relay;
  FarEnd end;  // the callee
  std::uint32_t caller_cseq = 0;
};

/// What the farm knows of a forwarded call; routing its in-dialog requests needs none of it.
struct Call {
  std::string call_id;
  std::string from_tag;
  std::string caller;  // From, To and Request-URI as they came, for people to look at
  std::string callee;
  bool answered = false;
  std::int64_t started_ms = 0;
  std::int64_t answered_ms = 0;
  TimerId limit = TimerId::none;
  FarEnd end;  // the caller; its numbers are those of each leg
  std::vector<Leg> legs;

  void clear();
};

/// A request of the farm's own, as long as it may have to be sent again by another way.
struct OwnRequest {
  std::uint64_t key = 0;  // Python's; 0: nobody waits for its responses
  Method method = Method::other;
  std::string text;  // all but its Via
  std::string call_id;
  std::string next;  // the URI that says where to, if no flow does
  std::optional<net::Hop> flow;
  Way way;

  void clear();
};

/// Whether a request within a dialog leaves the dialog as it is, or ends it.
bool begins_nothing(Method method) noexcept;

class Forwarder {
 public:
  Forwarder(Core& core, TransactionLayer& transactions);

  /// Sends a request to targets at once: the first or a further step of its fork. Answers the request itself where it may not go on.
  void forward(std::uint64_t server, std::span<const Target> targets, const ForwardOptions& options, std::int64_t now_ms, Output& out);
  /// No more targets: the best response goes back.
  void finish(std::uint64_t server, std::int64_t now_ms, Output& out);
  /// A request within a forwarded call, by Route and Request-URI alone.
  Fate forward_in_dialog(MessageRef request, const net::Hop& source, const OwnRoute& route, std::int64_t now_ms, Output& out);
  /// Does a request belong to the call that its Record-Route mark names? What does not passes policy as new.
  bool belongs(const Message& request, const OwnRoute& route) noexcept;
  /// The caller gave up (RFC 3261 §16.10).
  void cancel(std::uint64_t fork, std::string_view reason_lines, std::int64_t now_ms, Output& out);

  /// A response that its client transaction passed up.
  void receive_response(std::uint64_t fork, std::uint32_t branch, const MessageRef& response, const net::Hop& source,
                        std::int64_t now_ms, Output& out);
  /// A branch's client transaction ended without a response: 408, or 503 where what it sent did not get away.
  void fail_branch(std::uint64_t fork, std::uint32_t branch, std::uint64_t client, int status, std::int64_t now_ms, Output& out);
  void server_ended(std::uint64_t fork, std::int64_t now_ms, Output& out);
  void resolved(std::uint64_t query, std::span<const net::Hop> found, std::int64_t now_ms, Output& out);
  void end_call(std::uint64_t call, std::string_view by, std::int64_t now_ms, Output& out);

  /// The same, with a BYE to both sides.
  void hang_up(std::uint64_t call, std::string_view by, std::int64_t now_ms, Output& out);
  std::vector<std::uint64_t> streams_beside(std::uint64_t stream) noexcept;

  /// Sends a request of the farm's own; its responses are told by the user of its transaction. False: nobody knows where to, or a limit is
  /// reached.
  bool send_own(OwnRequest own, std::int64_t now_ms, Output& out);
  /// A response came: the key of who waits for it (0: nobody); nothing where the request was sent again instead, elsewhere.
  std::optional<std::uint64_t> receive_own(std::uint64_t own, std::uint64_t client, int status, std::int64_t now_ms, Output& out);
  /// No response came: the key of who is to be told; 0: it was sent again, or nobody waits.
  std::uint64_t fail_own(std::uint64_t own, std::int64_t now_ms, Output& out);

  static bool owns(std::uint64_t payload) noexcept { return (payload >> 62) == 2; }
  void expire(std::uint64_t payload, std::int64_t now_ms, Output& out);

  SlotMap<Call>& calls() noexcept { return calls_; }
  std::size_t fork_count() const noexcept { return forks_.size(); }
  std::size_t query_count() const noexcept { return queries_.size(); }
  std::size_t own_count() const noexcept { return own_.size(); }

 private:
  enum class Clock : std::uint8_t { branch, step, call, query };
  /// A name that is being looked up, for a branch, for an ACK, or for a request of our own.
  struct Query {
    std::uint64_t fork = 0;
    std::uint32_t branch = 0;
    TimerId clock = TimerId::none;
    MessageRef ack;
    net::Hop source;
    std::string name;
    std::optional<OwnRequest> own;
  };

  // fork.cpp
  Fork* open_fork(std::uint64_t server, ServerTransaction& transaction, std::uint64_t& handle);
  bool open_first(std::uint64_t server, ServerTransaction& transaction, std::uint64_t& handle, std::int64_t now_ms, Output& out);
  int refusal_of(const Message& request, const Fork* fork, std::string& headers) const;
  void share_breadth(std::uint64_t fork, std::size_t first, std::int64_t now_ms, Output& out);
  void add_branch(Fork& fork, const Target& target);
  bool locate(const Fork& fork, const Branch& branch, NextHop& next) const;
  bool ask(Query query, const NextHop& next, std::int64_t now_ms, Output& out);
  void launch(std::uint64_t fork, std::uint32_t branch, std::int64_t now_ms, Output& out);
  void start_branch(std::uint64_t fork, std::uint32_t branch, std::int64_t now_ms, Output& out);
  bool try_elsewhere(std::uint64_t fork, std::uint32_t branch, std::int64_t now_ms, Output& out);
  void answer(std::uint64_t server, int status, std::string_view headers, std::int64_t now_ms, Output& out);

  // branch_request.cpp
  bool compose(Fork& fork, Branch& branch, const ServerTransaction& server, const net::Hop& hop, std::uint64_t client, std::int64_t now_ms,
               Output& out, std::string& wire);
  bool compose_new(Fork& fork, Branch& branch, const ServerTransaction& server, const net::Hop& hop, std::uint64_t client,
                   std::int64_t now_ms, Output& out, std::string& wire);
  /// What an in-dialog request is composed of, besides itself.
  struct InDialog {
    const OwnRoute& route;
    std::uint64_t call;
    std::uint32_t leg;
    rtp::Side from;
  };
  bool compose_in_dialog(const Message& request, const net::Hop& source, const InDialog& dialog, const net::Hop& hop, std::uint64_t client,
                         std::int64_t now_ms, Output& out, std::string& wire);
  void append_via(std::string& out, const net::Hop& hop, std::uint64_t client, std::string_view call_id, std::uint64_t loop) const;
  void stamp_top_via(const Message& request, const net::Hop& source);
  void write_onward(const Onward& onward, int popped);

  // in_dialog.cpp
  InDialog dialog_of(const Message& request, const OwnRoute& route) noexcept;
  Fate pass_ack(const MessageRef& ack, const net::Hop& source, const OwnRoute& route, std::int64_t now_ms, Output& out);
  Fate send_ack(const Message& ack, const net::Hop& source, const OwnRoute& route, const net::Hop& hop, std::string_view name,
                std::int64_t now_ms, Output& out);
  bool locate_in_dialog(const Message& request, const OwnRoute& route, NextHop& next) const;

  // responses.cpp
  void receive_provisional(std::uint64_t handle, Fork& fork, std::uint32_t index, const Message& response, const net::Hop& source,
                           std::int64_t now_ms, Output& out);
  void receive_success(std::uint64_t handle, Fork& fork, std::uint32_t index, const Message& response, const net::Hop& source,
                       std::int64_t now_ms, Output& out);
  void receive_failure(std::uint64_t handle, Fork& fork, std::uint32_t index, const MessageRef& response, std::int64_t now_ms, Output& out);
  /// How SDP meets the relay; what is tentative may be refused yet.
  enum class Media : std::uint8_t { none, first, again, tentative };
  void pass_response(Fork& fork, const Message& response, std::uint32_t leg, Media media, const net::Hop& source, std::int64_t now_ms,
                     Output& out);
  void mark_failed(std::uint64_t fork, std::uint32_t branch, int status, std::int64_t now_ms, Output& out);
  void keep_best(Fork& fork, int status, const MessageRef& response);
  void end_branch(Fork& fork, Branch& branch, std::int64_t now_ms, Output& out);
  void cancel_branch(std::uint64_t handle, Fork& fork, std::uint32_t index, std::string_view reason_lines, std::int64_t now_ms,
                     Output& out);
  void cancel_open(std::uint64_t handle, Fork& fork, std::string_view reason_lines, std::int64_t now_ms, Output& out);
  void end_step(std::uint64_t handle, Fork& fork, std::int64_t now_ms, Output& out);
  void settle(std::uint64_t handle, std::int64_t now_ms, Output& out);
  static std::string lost_flows_of(const Fork& fork);
  void send_best(std::uint64_t handle, Fork& fork, std::int64_t now_ms, Output& out);
  void drop_fork(std::uint64_t handle);

  // calls.cpp
  Call* call_of(const OwnerMark& mark) noexcept;
  Call* open_call(const Message& invite, const net::Hop& source, std::int64_t now_ms, std::uint64_t& handle);
  std::uint32_t leg_of(const Call& call, std::string_view callee_tag) const noexcept;
  std::uint32_t note_dialog(std::uint64_t call, std::uint32_t branch_leg, std::string_view to_tag);
  void note_answer(const Fork& fork, std::uint32_t leg, const Message& response, std::int64_t now_ms, Output& out);
  void note_failure(const Fork& fork, int status, std::int64_t now_ms, Output& out);
  void drop_legs(std::uint64_t call, std::uint32_t branch_leg, std::int64_t now_ms, Output& out);
  void note_offer(Fork& fork, const Message& request);
  void take_offer_back(Fork& fork, std::int64_t now_ms, Output& out);
  void end_leg(std::uint64_t call, std::uint32_t leg, std::string_view by, std::int64_t now_ms, Output& out);
  SdpOutcome relay_sdp(std::uint64_t call, std::uint32_t leg, rtp::Side from, Media media, const net::Hop& source, const Message& message,
                       std::int64_t now_ms, Output& out);

  // hang_up.cpp
  static void note_caller(Call& call, const Message& invite, const net::Hop& source);
  void note_callee(const Fork& fork, Leg& leg, const Message& response);
  void note_number(const Fork& fork, const Message& request);
  void note_targets(const Fork& fork, const Message& response);
  void send_bye(const Call& call, const FarEnd& to, std::string_view from, std::uint32_t cseq, std::int64_t now_ms, Output& out);

  // own_request.cpp
  bool start_own(OwnRequest own, std::int64_t now_ms, Output& out);
  bool send_own_elsewhere(std::uint64_t own, std::int64_t now_ms, Output& out);
  void own_resolved(OwnRequest own, std::string name, std::span<const net::Hop> found, std::int64_t now_ms, Output& out);

  static std::uint64_t payload(Clock clock, std::uint64_t handle, std::uint32_t branch = 0) noexcept {
    return (std::uint64_t{2} << 62) | (static_cast<std::uint64_t>(clock) << 60) | (std::uint64_t{branch & 0xffff} << 40) | handle;
  }

  Core& core_;
  TransactionLayer& transactions_;
  SlotMap<Fork> forks_;
  SlotMap<Call> calls_;
  SlotMap<OwnRequest> own_;
  std::unordered_map<std::uint64_t, Query> queries_;
  std::uint64_t next_query_ = 1;
  std::uint64_t streams_named_ = 0;
  Rewrite rewrite_;
  std::string scratch_;
  std::string lines_;
  std::string body_;  // the SDP that goes on, after relay_sdp() said `rewritten`
};

}  // namespace sipfarm::sip
