#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sip/digest_guard.hpp"
#include "sip/engine.hpp"
#include "sip/own_addresses.hpp"
#include "sip/register_request.hpp"
#include "store/binding_writer.hpp"

namespace sipfarm::registrar {

/// What the registrar grants, and how it answers.
struct ExpressConfig {
  sip::OwnAddresses own{{}, {}};
  std::int64_t expires_min_s = 60;
  std::int64_t expires_max_s = 7'200;
  std::int64_t expires_default_s = 3'600;
  std::uint64_t bindings_max = 10;
  std::string lines;               // of each 200, between its Contacts and its Date
  bool bound_to_receiver = false;  // a phone is reached through the member that its REGISTER came to
  std::size_t accounts_max = 65'536;
  std::size_t waiting_max = 16'384;
};

struct ExpressCounters {
  std::uint64_t registered = 0;  // answered here
  std::uint64_t left = 0;        // written, but left to be answered by who decides
  std::uint64_t crowded = 0;     // not taken up: too many were waiting
};

/// Does again what was decided once: a REGISTER that binds one contact of an account, whose digest is right and which asks for nothing else, is
/// written and answered with 200, without a decision for each. It says yes and nothing else: whatever is not plain, and each outcome but success,
/// is left to who decides (docs/adr/0016). Its answers are stateless: a repeated REGISTER is found to be one by the store (RFC 3261 §8.2.7).
class ExpressLane {
 public:
  ExpressLane(ExpressConfig config, sip::DigestGuard& guard, store::BindingWriter& writer)
      : config_{std::move(config)}, guard_{guard}, writer_{writer} {}

  /// The account that this request has registered may come by here until then, as long as `age` stays the same: the age of what is known of names.
  /// A contact of a host by name, or at a port of ours, must be of the host of this request's: where others lead was not decided.
  void admit(const sip::Message& request, const net::Hop& source, const sip::Ha1s& ha1s, std::int64_t until_ms, std::uint64_t age);

  /// Takes up those among the events that it can, and takes them out.
  void run(sip::Engine& engine, sip::Output& out, std::int64_t now_ms, std::int64_t wall_ms, std::uint64_t age);

  /// Readable when outcomes can be taken.
  int descriptor() const noexcept { return outbox_->descriptor(); }
  /// Registered and answered; a repeat changes nothing, and nobody is told.
  struct Bound {
    std::string aor;
    std::string bindings;  // all that there are now: a stored array
  };
  /// Not answered: what is to be said is for others to decide.
  struct Left {
    sip::MessageRef request;
    net::Hop source;
    store::BindingOutcome outcome;
  };
  struct Told {
    std::vector<Bound> bound;
    std::vector<Left> left;
    std::vector<std::string> late;  // addresses-of-record of updates that were done after all, when nobody waited for them any more
  };
  /// Answers what went well.
  Told take(sip::Engine& engine, sip::Output& out, std::int64_t now_ms, std::int64_t wall_ms);

  /// When the oldest has waited for the store as long as it may.
  std::optional<std::int64_t> next_deadline_ms() const noexcept;
  /// The transactions that have; nothing is answered to them here any more.
  std::vector<std::uint64_t> overdue(sip::Engine& engine, std::int64_t now_ms);

  std::size_t admitted() const noexcept { return accounts_.size(); }
  std::size_t waiting() const noexcept { return waiting_; }
  const ExpressCounters& counters() const noexcept { return counters_; }

 private:
  struct Account {
    std::string md5;
    std::string sha256;
    std::string contact_host;
    std::int64_t until_ms = 0;
  };
  struct Waiting {
    std::int64_t until_ms = 0;
    std::uint64_t transaction = 0;
  };

  void begin_age(std::uint64_t age);
  bool take_up(sip::Engine& engine, sip::Output& out, const sip::Event& event, std::int64_t now_ms, std::int64_t wall_ms);
  bool is_proven(const sip::Registrant& registrant, const Account& account, const sip::Event& event, std::int64_t wall_ms);
  void submit(const sip::Engine& engine, const sip::Event& event, std::string aor, sip::RegisterContacts asked, std::int64_t expires_s,
              std::int64_t wall_ms);
  bool answer(sip::Engine& engine, std::uint64_t transaction, std::string_view bindings, std::int64_t now_ms, std::int64_t wall_ms,
              sip::Output& out);

  ExpressConfig config_;
  sip::DigestGuard& guard_;
  store::BindingWriter& writer_;
  store::BindingOutbox outbox_ = std::make_shared<store::Outbox<store::BindingOutcome>>();
  std::unordered_map<std::string, Account> accounts_;  // by address-of-record
  std::deque<const std::string*> order_;               // of their keys: who was admitted first
  std::uint64_t age_ = 0;
  std::deque<Waiting> begun_;  // in the order they were submitted
  std::size_t waiting_ = 0;    // for the store
  ExpressCounters counters_;
  std::string lines_;
  std::string date_;
  std::int64_t date_s_ = -1;  // the second that it is the text of
};

}  // namespace sipfarm::registrar
