#include "engine_bench.hpp"
#include "sip/register_screen.hpp"

// REGISTERs that are challenged before anybody decides on them.

using namespace sipfarm;
using namespace sipfarm::tests;

namespace {

constexpr std::int64_t wall_ms = 1'700'000'000'000;
const sip::OwnAddresses own{{"192.0.2.100"}, {5060}};

/// A member that screens; what came in one batch.
struct Screened {
  sip::DigestGuard guard{{{sip::DigestAlgorithm::md5, sip::DigestAlgorithm::sha256}, 60'000, own},
                         sip::NonceMint{std::vector<std::string>{std::string(32, 'k')}, 1, sip::NonceHolder::port},
                         sip::NonceCounts{10, 10}};
  sip::RegisterScreen screen{guard, own};
  Bench bench;
  sip::Output out;

  void receive(const std::vector<Ask>& asked) {
    net::Batch batch;
    for (const Ask& ask : asked) batch.add(alice, ask.text());
    bench.engine.receive(batch, bench.now_ms, out);
    screen.run(bench.engine, out, bench.now_ms, wall_ms);
  }
  std::string sent(std::size_t index) const { return std::string{out.bytes(out.sends.at(index))}; }
};

Ask plain_register(const std::string& branch = "z9hG4bK1") {
  Ask ask;
  ask.method = "REGISTER";
  ask.uri = "sip:example.test";
  ask.branch = branch;
  ask.call_id = "call-" + branch;
  return ask;
}

}  // namespace

TEST_CASE("a plain REGISTER for a domain that was admitted is challenged") {
  Screened member;
  member.screen.admit("example.test", member.bench.now_ms + 1'000);
  member.receive({plain_register()});
  CHECK(member.out.events.empty());
  REQUIRE(member.out.sends.size() == 1);
  const std::string answered = member.sent(0);
  CHECK(answered.starts_with("SIP/2.0 401 Unauthorized\r\n"));
  CHECK(count_of(answered, "WWW-Authenticate") == 2);
  const std::string challenge = value_of(answered, "WWW-Authenticate");
  CHECK(challenge.starts_with("Digest realm=\"example.test\", nonce=\""));
  CHECK(challenge.ends_with("\", algorithm=MD5, qop=\"auth\""));
  const std::string nonce = challenge.substr(challenge.find("nonce=\"") + 7, sip::nonce_chars);
  CHECK(member.guard.mint().recognise(nonce, alice.remote));
}

TEST_CASE("whatever is not plain is left to be decided on") {
  std::vector<Ask> asked(7, plain_register());
  asked[0].uri = "sip:elsewhere.test";
  asked[1].more = "Authorization: Digest nonsense\r\n";
  asked[2].more = "Require: path\r\n";
  asked[3].method = "OPTIONS";
  asked[4].uri = "tel:1";
  asked[5].to_tag = "t";
  asked[6].uri = "sip:192.0.2.100:5061";
  for (Ask& ask : asked) {
    Screened member;
    member.screen.admit("example.test", member.bench.now_ms + 1'000);
    member.receive({ask});
    CHECK_MESSAGE(member.out.events.size() == 1, ask.text());
    CHECK(member.out.sends.empty());
  }
}

TEST_CASE("a domain is screened for its time, and no other") {
  Screened member;
  member.receive({plain_register("z9hG4bK1")});
  CHECK(member.out.events.size() == 1);
  member.screen.admit("other.test", member.bench.now_ms + 1'000);
  member.receive({plain_register("z9hG4bK2")});
  CHECK(member.out.events.size() == 2);
  member.screen.admit("example.test", member.bench.now_ms);
  member.receive({plain_register("z9hG4bK3")});
  CHECK(member.out.events.size() == 3);
  CHECK(member.out.sends.empty());
}

TEST_CASE("the events that stay keep their order") {
  Screened member;
  member.screen.admit("example.test", member.bench.now_ms + 1'000);
  Ask first = plain_register("z9hG4bK1");
  first.more = "Require: a\r\n";
  Ask last = plain_register("z9hG4bK3");
  last.more = "Require: b\r\n";
  member.receive({first, plain_register("z9hG4bK2"), last});
  REQUIRE(member.out.events.size() == 2);
  CHECK(member.out.events[0].message->value(sip::Header::require) == "a");
  CHECK(member.out.events[1].message->value(sip::Header::require) == "b");
  CHECK(member.out.sends.size() == 1);
}
