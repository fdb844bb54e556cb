#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/hop.hpp"
#include "sip/key_map.hpp"
#include "sip/message_pool.hpp"
#include "sip/output.hpp"
#include "sip/siphash.hpp"
#include "sip/slot_map.hpp"
#include "sip/timer_wheel.hpp"
#include "sip/transaction_fsm.hpp"

// Transactions (RFC 3261 §17): matching, retransmission and timers. Who uses a transaction is told by its `user`; the layer only
// says what is to be passed on, and calls nobody.

namespace sipfarm::sip {

enum class User : std::uint8_t {
  none,     // answers come from the engine, responses are nobody's business
  tasks,    // Python
  own,      // a request of the farm's own that has another way left: `user_id` names it
  forward,  // a fork: `user_id` names it
};

/// New work finds the tables full before what goes on with standing work does: an eighth is kept for that.
enum class Work : std::uint8_t { fresh, standing };

/// Timers that can run beside each other: the automatic 100, the retransmission, and the one that bounds the state.
struct RunningTimers {
  TimerId trying = TimerId::none;
  TimerId retransmit = TimerId::none;
  TimerId bound = TimerId::none;
  std::int64_t retransmit_ms = 0;
};

struct ServerTransaction {
  Machine machine = Machine::non_invite_server;
  State state = State::trying;
  User user = User::none;
  bool provisional_sent = false;
  bool cancelled = false;
  int status = 0;  // last response sent
  std::uint64_t key = 0;
  std::uint64_t merge = 0;  // merge_key() where a user agent of ours has it
  std::uint64_t home = 0;  // hash of the Call-ID: where the directory keeps the key
  std::uint64_t user_id = 0;
  std::int64_t heard_ms = 0;  // of an INVITE's user, last
  MessageRef request;  // until the final response
  net::Hop source;    // as received
  net::Hop reply_to;  // RFC 3261 §18.2.2
  std::string response;
  std::string to_tag;  // ours, minted when the first response with a tag was made
  RunningTimers timers;

  void clear() {
    request.reset();
    to_tag.clear();
    merge = 0;
    user = User::none;
    user_id = 0;
    status = 0;
    provisional_sent = cancelled = false;
    timers = {};
  }
};

struct ClientTransaction {
  Machine machine = Machine::non_invite_client;
  State state = State::trying;
  User user = User::none;
  Method method = Method::other;
  bool started = false;
  std::uint32_t branch_index = 0;  // of the fork
  std::uint64_t user_id = 0;       // fork, or Python's key
  std::uint64_t cancel = 0;        // the CANCEL sent for this INVITE: it has the same branch
  net::Hop hop;
  std::string server;   // the name that a TLS server at `hop` must prove
  std::string request;  // as sent; after a failure of an INVITE the ACK to it; nothing once neither can be needed
  RunningTimers timers;

  void clear() {
    user = User::none;
    user_id = 0;
    cancel = 0;
    branch_index = 0;
    started = false;
    server.clear();
    timers = {};
  }
};

/// Identifies the server transaction of a request on whichever member it arrives (RFC 3261 §17.2.3; the fallback for RFC 2543 peers, and
/// for a branch that is the cookie alone, adds Request-URI, From tag and the whole top Via). Call-ID and CSeq number, which all requests
/// of a transaction share, are always in it: a branch used twice does no harm then. `as` is invite for an ACK or CANCEL.
std::uint64_t transaction_key(const SipKey& key, const Message& request, Method as) noexcept;

/// The same for all ways that one request may have come by (RFC 3261 §8.2.2.2): From tag, Call-ID and CSeq. 0 for what is within a dialog.
std::uint64_t merge_key(const SipKey& key, const Message& request) noexcept;

/// Something that happened by itself and that the user is to be told.
struct Fired {
  enum class What : std::uint8_t { timeout, transport_error, server_ended, unanswered };
  What what = What::timeout;
  std::uint64_t handle = 0;  // of a client transaction; of a server transaction for server_ended and unanswered
  User user = User::none;
  std::uint64_t user_id = 0;
  std::uint32_t branch_index = 0;
};

class TransactionLayer {
 public:
  struct Limits {
    std::size_t server_transactions = 400'000;
    std::size_t client_transactions = 600'000;
    std::size_t bytes = std::size_t{1} << 30;  // of requests and responses kept for retransmission
    std::int64_t unanswered_ms = 240'000;      // that an INVITE's user may be silent; whoever forwards it has clocks of his own
  };

  TransactionLayer(TimerWheel& wheel, const TransactionTimers& timers, const SipKey& key, Limits limits);

  // server side
  ServerTransaction* find_server(std::uint64_t handle) noexcept { return servers_.find(handle); }
  /// The transaction that a request belongs to, or nullptr; `handle` is set with it.
  ServerTransaction* match_server(const Message& request, Method as, std::uint64_t& handle) noexcept;
  bool has_server(std::uint64_t key) const noexcept { return server_by_key_.find(key) != 0; }
  /// nullptr at the limit.
  ServerTransaction* open_server(MessageRef request, const net::Hop& source, std::int64_t now_ms, std::uint64_t& handle,
                                 Work work = Work::fresh);
  /// A user agent of ours takes a request. False: it is answered, or taken already by another way (RFC 3261 §8.2.2.2).
  bool take_as_user_agent(std::uint64_t handle);
  /// A request that matched came again, or the ACK to a response other than 2xx.
  void receive_request(std::uint64_t handle, Input input, std::int64_t now_ms, Output& out);
  /// Sends `response` by the table and keeps it for retransmission. False: the state no longer allows it.
  bool respond(std::uint64_t handle, std::string_view response, int status, std::int64_t now_ms, Output& out);
  /// Sends the last response once more, timers untouched: a 2xx of a UA core (RFC 3261 §13.3.1.4).
  void retransmit(std::uint64_t handle, Output& out);
  /// Sends the one and only response and forgets the transaction (RFC 3261 §8.2.7).
  void answer_statelessly(std::uint64_t handle, std::string_view response, Output& out);
  /// A 2xx passed on in the Accepted state (RFC 6026 §7.1).
  void pass_success(std::uint64_t handle, std::string_view response, Output& out);

  // client side
  ClientTransaction* find_client(std::uint64_t handle) noexcept { return clients_.find(handle); }
  /// nullptr at a limit. The caller fills request (which is empty) and hop and then calls start().
  ClientTransaction* open_client(Method method, User user, std::uint64_t user_id, std::uint64_t& handle, Work work = Work::fresh);
  void start(std::uint64_t handle, std::int64_t now_ms, Output& out);
  /// True when the response is to be passed to the user.
  bool receive_response(std::uint64_t handle, const Message& response, std::int64_t now_ms, Output& out);
  /// Sends a CANCEL for an INVITE in Proceeding (RFC 3261 §9.1), once.
  void cancel(std::uint64_t handle, std::string_view reason_lines, std::int64_t now_ms, Output& out);
  void drop_client(std::uint64_t handle);
  /// What was sent for a client transaction could not be delivered.
  void transport_failed(std::uint64_t handle, std::int64_t now_ms, Output& out, std::vector<Fired>& fired);

  /// A timer of this layer fired; `payload` is what it gave to the wheel.
  void expire(std::uint64_t payload, std::int64_t now_ms, Output& out, std::vector<Fired>& fired);
  static bool owns(std::uint64_t payload) noexcept { return (payload >> 62) < 2; }

  template <typename Visit>
  void each_server(Visit visit) {
    servers_.each(visit);
  }
  template <typename Visit>
  void each_client(Visit visit) {
    clients_.each(visit);
  }
  std::size_t server_count() const noexcept { return servers_.size(); }
  std::size_t client_count() const noexcept { return clients_.size(); }
  std::size_t bytes() const noexcept { return bytes_; }
  const SipKey& key() const noexcept { return key_; }

 private:
  void step_server(std::uint64_t handle, ServerTransaction& transaction, Input input, std::string_view response, std::int64_t now_ms,
                   Output& out);
  void step_client(std::uint64_t handle, ClientTransaction& transaction, Input input, const Message* response, std::int64_t now_ms,
                   Output& out, std::vector<Fired>* fired, bool& pass);
  template <typename Transaction>
  void run_timers(std::uint64_t payload_base, Transaction& transaction, Action actions, bool reliable, std::int64_t now_ms);
  void stop(TimerId& timer) noexcept;
  void stop_timers(RunningTimers& timers) noexcept;
  void end_server(std::uint64_t handle, ServerTransaction& transaction);
  void end_client(std::uint64_t handle, ClientTransaction& transaction);
  void send_failure_ack(ClientTransaction& transaction, const Message& response, bool first, Output& out);
  void keep(std::string& kept, std::string_view text);
  void release(std::string& kept) noexcept;
  /// Has a table of `size` entries, `limit` of them for new work, room for one more, and are there bytes for it?
  bool has_room(std::size_t size, std::size_t limit, Work work) const noexcept;

  TimerWheel& wheel_;
  TransactionTimers timers_;
  SipKey key_;
  SlotMap<ServerTransaction> servers_;
  SlotMap<ClientTransaction> clients_;
  KeyMap server_by_key_;
  KeyMap user_agent_by_merge_;
  std::vector<std::string> spare_;  // buffers of ended transactions
  std::size_t bytes_ = 0;
  Limits limits_;
  std::string scratch_;
  Message parsed_;
};

}  // namespace sipfarm::sip
