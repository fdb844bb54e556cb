// Seeds: tests/vectors/credentials
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sip/digest_guard.hpp"

using namespace sipfarm;
using namespace sipfarm::sip;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

/// Credentials as a value again; what has no escapes taken out stands as it came.
std::string written(const Credentials& credentials) {
  std::string out = "Digest username=";
  append_quoted(out, credentials.username);
  out += ",realm=";
  append_quoted(out, credentials.realm);
  const std::pair<const char*, const std::string*> params[] = {
      {"nonce", &credentials.nonce},   {"uri", &credentials.uri}, {"response", &credentials.response}, {"algorithm", &credentials.algorithm},
      {"cnonce", &credentials.cnonce}, {"qop", &credentials.qop}, {"nc", &credentials.nc}};
  for (const auto& [name, value] : params) out += std::string{","} + name + "=\"" + *value + '"';
  return out;
}

}  // namespace

/// The value of an Authorization: what is read from it and written again reads the same, and nobody gets in without the password.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input{reinterpret_cast<const char*>(data), size};
  const auto credentials = parse_credentials(input);
  if (!credentials) return 0;
  require(is_digest(input));
  const auto again = parse_credentials(written(*credentials));
  require(!again || *again == *credentials);  // one near the bound may be too long with its escapes

  static const std::vector<std::string> keys = {std::string(32, 'k')};
  DigestGuard guard{{{DigestAlgorithm::md5, DigestAlgorithm::sha256}, 60'000, OwnAddresses{{"192.0.2.1"}, {5060}}},
                    NonceMint{keys, 1, NonceHolder::port},
                    NonceCounts{8, 8}};
  Message request;
  require(request.parse("REGISTER sip:x.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1\r\nFrom: <sip:a@x.test>;tag=1\r\n"
                        "To: <sip:a@x.test>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n\r\n"));
  net::Hop source;
  const Ha1s ha1s{"0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"};
  require(guard.judge(*credentials, ha1s, request, source, 1'700'000'000'000) != Verdict::accepted);
  require(guard.judge(*credentials, {}, request, source, 0) != Verdict::accepted);
  return 0;
}
