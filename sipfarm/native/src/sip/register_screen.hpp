#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "sip/digest_guard.hpp"
#include "sip/engine.hpp"
#include "sip/own_addresses.hpp"

namespace sipfarm::sip {

/// Challenges REGISTERs without credentials before anybody decides on them: half of all that a farm gets, and always the same answer. It does so for
/// the domains it was told of alone, statelessly as strangers are answered, and passes on whatever is not quite plain.
class RegisterScreen {
 public:
  RegisterScreen(DigestGuard& guard, OwnAddresses own) : guard_{guard}, own_{std::move(own)} {}

  /// A domain's REGISTERs are to be challenged, until then.
  void admit(std::string domain, std::int64_t until_ms);

  /// Answers those among the events that ask for no more than a challenge, and takes them out.
  void run(Engine& engine, Output& out, std::int64_t now_ms, std::int64_t wall_ms);

 private:
  static constexpr std::size_t domains_max = 1'024;

  /// The realm to challenge for, "" where somebody is to decide.
  std::string realm_for(const Event& event, std::int64_t now_ms) const;

  DigestGuard& guard_;
  OwnAddresses own_;
  std::unordered_map<std::string, std::int64_t> domains_;
  std::string lines_;
};

}  // namespace sipfarm::sip
