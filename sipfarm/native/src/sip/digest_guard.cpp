#include "sip/digest_guard.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "sip/text.hpp"

namespace sipfarm::sip {

namespace {

constexpr std::size_t lines_max = 8;       // of credentials looked at in one request
constexpr std::size_t nc_digits = 8;
constexpr std::size_t port_digits_max = 5;

struct Resource {
  std::string_view user;
  std::string host;
  std::uint32_t port = 0;
};

Resource resource_of(std::string_view uri) {
  const std::size_t colon = uri.find(':');
  const std::string_view scheme = uri.substr(0, colon);
  if (colon == std::string_view::npos || !(text::iequals(scheme, "sip") || text::iequals(scheme, "sips"))) return {{}, std::string{uri}, 0};
  std::string_view host = uri.substr(colon + 1);
  Resource out;
  if (const std::size_t at = host.rfind('@'); at != std::string_view::npos) {
    out.user = host.substr(0, at);
    host.remove_prefix(at + 1);
  }
  host = host.substr(0, host.find_first_of(";?"));
  if (const std::size_t mark = host.rfind(':'); mark != std::string_view::npos && host.size() - mark - 1 <= port_digits_max) {
    if (const auto port = text::parse_u32(host.substr(mark + 1))) {
      out.port = *port;
      host = host.substr(0, mark);
    }
  }
  text::append_lower(out.host, host);
  return out;
}

/// The nonce count; 0 without qop (RFC 3261 §22.4 item 8), nothing where it is malformed.
std::optional<std::uint32_t> nonce_count(const Credentials& credentials) noexcept {
  if (credentials.qop.empty()) return 0;
  if (!text::iequals(credentials.qop, "auth") || credentials.cnonce.empty() || credentials.nc.size() != nc_digits) return std::nullopt;
  std::uint32_t count = 0;
  for (const char c : credentials.nc) {
    const int digit = text::hex_value(c);
    if (digit < 0) return std::nullopt;
    count = count << 4 | static_cast<std::uint32_t>(digit);
  }
  return count;
}

/// Takes as long for any two texts of one length.
bool same_secret(std::string_view one, std::string_view other) noexcept {
  if (one.size() != other.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < one.size(); ++i) difference |= static_cast<unsigned char>(one[i]) ^ static_cast<unsigned char>(other[i]);
  return difference == 0;
}

bool is_right(const Credentials& credentials, const Ha1s& ha1s, std::string_view method) {
  const auto algorithm = digest_algorithm_of(credentials.algorithm);
  if (!algorithm) return false;
  const std::string_view ha1 = *algorithm == DigestAlgorithm::md5 ? ha1s.md5 : ha1s.sha256;
  return !ha1.empty() && same_secret(digest_response(*algorithm, ha1, method, credentials), credentials.response);
}

/// A number that a request and its retransmissions share (RFC 3261 §17.2.3). Over the whole top Via, so that a transaction without a modern
/// branch is told apart too; the key keeps others from making two of one number.
std::uint64_t transaction_of(const SipKey& key, const Message& request) noexcept {
  return SipHasher{key}
      .add(request.value(Header::via))
      .add(request.call_id())
      .add(std::uint64_t{request.cseq()})
      .add(request.method_text())
      .finish();
}

}  // namespace

bool same_resource(std::string_view uri, std::string_view request_uri, const OwnAddresses& own) {
  if (uri == request_uri) return true;
  const Resource given = resource_of(uri);
  if (given.user.empty() && own.include(given.host, given.port)) return true;
  const Resource wanted = resource_of(request_uri);
  return given.user == wanted.user && given.host == wanted.host;
}

DigestGuard::DigestGuard(DigestGuardConfig config, NonceMint mint, NonceCounts counts)
    : config_{std::move(config)}, mint_{std::move(mint)}, counts_{std::move(counts)} {}

std::size_t DigestGuard::rank_of(const Credentials& credentials) const noexcept {
  const auto& ours = config_.algorithms;
  const auto algorithm = digest_algorithm_of(credentials.algorithm);
  const auto found = algorithm ? std::find(ours.begin(), ours.end(), *algorithm) : ours.end();
  return static_cast<std::size_t>(found - ours.begin());
}

std::vector<std::string> DigestGuard::challenges(std::string_view realm, const net::Address& source, std::int64_t wall_ms, bool stale) {
  std::string nonce;
  mint_.mint(nonce, source, wall_ms);
  std::vector<std::string> out;
  for (const DigestAlgorithm algorithm : config_.algorithms) {
    std::string& value = out.emplace_back("Digest realm=\"");
    value += realm;
    value += "\", nonce=\"";
    value += nonce;
    value += algorithm == DigestAlgorithm::md5 ? "\", algorithm=MD5, qop=\"auth\"" : "\", algorithm=SHA-256, qop=\"auth\"";
    if (stale) value += ", stale=true";
  }
  return out;
}

std::optional<Verdict> DigestGuard::find(const Message& request, Header header, std::string_view realm, Credentials& best) const {
  std::size_t best_rank = config_.algorithms.size();
  bool any = false;
  std::size_t looked_at = 0;
  std::string scratch;
  for (const Line& line : request.lines()) {
    if (line.header != header) continue;
    if (++looked_at > lines_max) break;
    const std::string_view value = text::unfolded(request.value(line), scratch);
    auto found = parse_credentials(value);
    if (!found && is_digest(value)) return Verdict::malformed;
    if (!found || found->realm != realm) continue;
    const std::size_t rank = rank_of(*found);
    if (rank >= best_rank) continue;
    best = std::move(*found);
    best_rank = rank;
    any = true;
  }
  return any ? std::nullopt : std::optional{Verdict::absent};
}

Verdict DigestGuard::judge(const Credentials& credentials, const Ha1s& ha1s, const Message& request, const net::Hop& source,
                           std::int64_t wall_ms) {
  const auto count = nonce_count(credentials);
  if (!count) return Verdict::malformed;
  const auto stamp = mint_.recognise(credentials.nonce, source.remote);
  if (!stamp) return Verdict::stale;  // whatever the password: a guess over an invented nonce tells nothing
  const std::int64_t oldest_wall_ms = wall_ms - config_.nonce_lifetime_ms;
  if (issued_wall_ms(*stamp) < oldest_wall_ms) return Verdict::stale;  // nor one that somebody else may have had this address for
  if (!same_resource(credentials.uri, request.request_uri(), config_.own)) return Verdict::refused;
  if (!is_right(credentials, ha1s, request.method_text())) return Verdict::refused;
  counts_.expire(oldest_wall_ms);
  const NonceUse use = counts_.judge(*stamp, *count, transaction_of(config_.transaction_key, request), wall_ms);
  return use <= NonceUse::same_transaction ? Verdict::accepted : Verdict::stale;
}

}  // namespace sipfarm::sip
