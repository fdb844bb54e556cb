#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/hop.hpp"
#include "sip/digest.hpp"
#include "sip/message.hpp"
#include "sip/nonce.hpp"
#include "sip/own_addresses.hpp"

namespace sipfarm::sip {

/// What credentials are worth. Stale: the nonce was not given to this source, or is good no more. Refused: wrong, over a nonce that was.
enum class Verdict : std::uint8_t { absent, accepted, stale, refused, malformed };

/// The HA1s of an account (RFC 7616 §3.4.2), "" for an algorithm it has none for.
struct Ha1s {
  std::string_view md5;
  std::string_view sha256;
};

struct DigestGuardConfig {
  std::vector<DigestAlgorithm> algorithms;  // those we ask for, in the order of preference
  std::int64_t nonce_lifetime_ms = 60'000;
  OwnAddresses own{{}, {}};
  SipKey transaction_key{};  // tells transactions apart where nobody else can foresee it
};

/// Finds credentials in requests and judges them (RFC 7616 §3.4, RFC 3261 §22).
class DigestGuard {
 public:
  DigestGuard(DigestGuardConfig config, NonceMint mint, NonceCounts counts);

  NonceMint& mint() noexcept { return mint_; }
  /// The values of WWW-Authenticate or Proxy-Authenticate, one for each algorithm (RFC 3261 §22.2, §22.3), all of one nonce for this source.
  std::vector<std::string> challenges(std::string_view realm, const net::Address& source, std::int64_t wall_ms, bool stale);
  std::size_t nonces_known() const noexcept { return counts_.size(); }

  /// Puts the credentials for a realm by the algorithm we like best into `best`; else what keeps us: absent or malformed. Credentials for other
  /// realms are for others (RFC 3261 §22.3).
  std::optional<Verdict> find(const Message& request, Header header, std::string_view realm, Credentials& best) const;

  /// Judges a digest; an account without HA1 is refused like a wrong password.
  Verdict judge(const Credentials& credentials, const Ha1s& ha1s, const Message& request, const net::Hop& source, std::int64_t wall_ms);

 private:
  std::size_t rank_of(const Credentials& credentials) const noexcept;

  DigestGuardConfig config_;
  NonceMint mint_;
  NonceCounts counts_;
};

/// Whether the `uri` of a digest is the Request-URI (RFC 3261 §22.4 item 1). Proxies change a Request-URI on its way: scheme, port and parameters
/// may differ, user and host may not.
///
/// Deviation: the farm's own address without a user will do for any Request-URI. Clients that know one server (SIPp is one) write that; their
/// digest is then tied to method, nonce and count alone.
bool same_resource(std::string_view uri, std::string_view request_uri, const OwnAddresses& own);

}  // namespace sipfarm::sip
