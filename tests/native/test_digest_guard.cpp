#include <doctest/doctest.h>

#include "sip/digest_guard.hpp"

// Credentials found and judged (RFC 7616 §3.4, RFC 3261 §22).

using namespace sipfarm;
using namespace sipfarm::sip;

namespace {

constexpr std::int64_t now_ms = 1'700'000'000'000;
const std::string ha1_md5 = "0123456789abcdef0123456789abcdef";
const std::string ha1_sha256 = ha1_md5 + ha1_md5;

struct Guarded {
  DigestGuard guard;
  net::Hop source{*net::Address::parse("192.0.2.10", 5060)};

  explicit Guarded(std::vector<DigestAlgorithm> algorithms = {DigestAlgorithm::sha256, DigestAlgorithm::md5})
      : guard{{std::move(algorithms), 60'000, OwnAddresses{{"198.51.100.1"}, {5060}}},
              NonceMint{std::vector<std::string>{std::string(32, 'k')}, 1, NonceHolder::port},
              NonceCounts{100, 8}} {}

  /// An Authorization as a phone with the right password writes it.
  std::string line(std::string_view algorithm, std::string_view nc = "00000001") {
    Credentials made;
    guard.mint().mint(made.nonce, source.remote, now_ms);
    made.uri = "sip:x.test";
    made.algorithm = algorithm;
    made.cnonce = "c";
    made.qop = "auth";
    made.nc = nc;
    const auto known = digest_algorithm_of(algorithm);
    REQUIRE(known);
    const std::string response = digest_response(*known, *known == DigestAlgorithm::md5 ? ha1_md5 : ha1_sha256, "REGISTER", made);
    return "Authorization: Digest username=\"alice\", realm=\"x.test\", nonce=\"" + made.nonce + "\",\r\n uri=\"sip:x.test\", response=\"" +
           response + "\", algorithm=" + std::string{algorithm} + ", cnonce=\"c\", qop=auth, nc=" + std::string{nc} + "\r\n";
  }

  Verdict judge(const std::string& lines, std::string_view branch = "1", std::int64_t at_ms = now_ms) {
    Message request;
    const std::string wire = "REGISTER sip:x.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK" + std::string{branch} +
                             "\r\nFrom: <sip:alice@x.test>;tag=1\r\nTo: <sip:alice@x.test>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n" + lines + "\r\n";
    REQUIRE(request.parse(wire));
    Credentials found;
    if (const auto kept = guard.find(request, Header::authorization, "x.test", found)) return *kept;
    return guard.judge(found, {ha1_md5, ha1_sha256}, request, source, at_ms);
  }
};

}  // namespace

TEST_CASE("right credentials are accepted, for their transaction") {
  for (const char* algorithm : {"MD5", "SHA-256"}) {
    Guarded farm;
    const std::string line = farm.line(algorithm);
    CHECK(farm.judge(line) == Verdict::accepted);
    CHECK(farm.judge(line) == Verdict::accepted);
    CHECK(farm.judge(line, "2") == Verdict::stale);
  }
}

TEST_CASE("right credentials are stale too late, and from another source") {
  Guarded farm;
  const std::string line = farm.line("MD5");
  CHECK(farm.judge(line, "1", now_ms + 60'001) == Verdict::stale);
  std::string guess = farm.line("MD5");
  guess.replace(guess.find("response=\"") + 10, 4, "0000");
  CHECK(farm.judge(guess) == Verdict::refused);
  CHECK(farm.judge(guess, "1", now_ms + 60'001) == Verdict::stale);  // whatever the password
  farm.source.remote.port = 5062;
  CHECK(farm.judge(line) == Verdict::stale);
  CHECK(farm.guard.nonces_known() == 0);
}

TEST_CASE("the algorithm we like best counts, and one that we do not ask for is not seen") {
  Guarded farm;
  const std::string wrong = farm.line("MD5", "0000000x");
  CHECK(farm.judge(wrong) == Verdict::malformed);
  CHECK(farm.judge(wrong + farm.line("SHA-256")) == Verdict::accepted);
  CHECK(Guarded{{DigestAlgorithm::sha256}}.judge(wrong) == Verdict::absent);
}

TEST_CASE("a scheme that is not Digest is not seen, a malformed Digest is") {
  Guarded farm;
  CHECK(farm.judge("Authorization: Basic YWxpY2U6cHc=\r\n") == Verdict::absent);
  CHECK(farm.judge("Authorization: Digest nonsense\r\n") == Verdict::malformed);
}

TEST_CASE("the uri of a digest is the Request-URI but for scheme, port and parameters, or the farm") {
  const OwnAddresses own{{"198.51.100.1"}, {5060}};
  CHECK(same_resource("sips:bob@x.test", "sip:bob@X.test:5060;transport=tcp", own));
  CHECK(same_resource("sip:198.51.100.1", "sip:bob@x.test", own));
  CHECK_FALSE(same_resource("sip:198.51.100.1:5062", "sip:bob@x.test", own));
  CHECK_FALSE(same_resource("sip:eve@198.51.100.1", "sip:bob@x.test", own));
  CHECK_FALSE(same_resource("sip:Bob@x.test", "sip:bob@x.test", own));
}
