#include "engine_bench.hpp"
#include "registrar/express_lane.hpp"
#include "store_file.hpp"

// REGISTERs that are done again without a decision.

using namespace sipfarm;
using namespace sipfarm::tests;

namespace {

constexpr std::int64_t wall_ms = 1'700'000'000'000;
constexpr std::int64_t for_ever = INT64_MAX;
const std::string ha1 = "0123456789abcdef0123456789abcdef";
const sip::OwnAddresses own{{"192.0.2.100"}, {5060}};

/// A member whose REGISTERs are Bob's, sent by Alice's phone.
struct Laned {
  sip::DigestGuard guard{{{sip::DigestAlgorithm::md5}, 60'000, own},
                         sip::NonceMint{std::vector<std::string>{std::string(32, 'k')}, 1, sip::NonceHolder::port},
                         sip::NonceCounts{100, 10}};
  StoreFile file;
  store::BindingWriter writer{file.path(), 2'000};
  registrar::ExpressLane lane;
  Bench bench;
  sip::Output out;
  int requests = 0;

  static registrar::ExpressConfig config() {
    registrar::ExpressConfig out;
    out.own = own;
    out.lines = "Supported: path, outbound\r\n";
    return out;
  }
  explicit Laned(registrar::ExpressConfig given = config()) : lane{std::move(given), guard, writer} {}

  /// A REGISTER with good credentials, of a transaction of its own.
  Ask asked(const std::string& user = "bob") {
    sip::Credentials made;
    guard.mint().mint(made.nonce, alice.remote, wall_ms);
    made.uri = "sip:example.test";
    made.algorithm = "MD5";
    const std::string response = sip::digest_response(sip::DigestAlgorithm::md5, ha1, "REGISTER", made);
    Ask ask;
    ask.method = "REGISTER";
    ask.uri = "sip:example.test";
    ask.branch = "z9hG4bK" + std::to_string(++requests);
    ask.call_id = "call-" + user;
    ask.cseq = requests;
    ask.more += "Authorization: Digest username=\"" + user + "\", realm=\"example.test\", nonce=\"" + made.nonce +
                "\", uri=\"sip:example.test\", response=\"" + response + "\", algorithm=MD5\r\n";
    return ask;
  }

  /// Lets the sender of such a request in.
  void admit(const Ask& ask, std::int64_t until_ms = for_ever, std::uint64_t age = 0) {
    sip::MessagePool pool;
    bool ok = false;
    const sip::MessageRef request = pool.parse(ask.text(), ok);
    REQUIRE(ok);
    lane.admit(*request, alice, {ha1, {}}, until_ms, age);
  }
  void receive(const Ask& ask, std::uint64_t age = 0) {
    net::Batch batch;
    batch.add(alice, ask.text());
    bench.engine.receive(batch, bench.now_ms, out);
    lane.run(bench.engine, out, bench.now_ms, wall_ms, age);
  }
  /// Whether it is taken up; it is not waited for.
  bool takes(const Ask& ask, std::uint64_t age = 0) {
    out.events.clear();
    receive(ask, age);
    return out.events.empty();
  }
  registrar::ExpressLane::Told told() {
    pollfd readable{lane.descriptor(), POLLIN, 0};
    REQUIRE(poll(&readable, 1, 10'000) == 1);
    return lane.take(bench.engine, out, bench.now_ms, wall_ms);
  }
};

std::string with(std::string text, std::string_view part, std::string_view other) {
  return text.replace(text.find(part), part.size(), other);
}

}  // namespace

TEST_CASE("a REGISTER of an account that was let in is written, answered and told of") {
  Laned member;
  member.admit(member.asked());
  REQUIRE(member.takes(member.asked()));
  CHECK(member.out.sends.empty());
  CHECK(member.lane.waiting() == 1);
  const auto told = member.told();
  REQUIRE(told.bound.size() == 1);
  CHECK(told.bound[0].aor == "sip:bob@example.test");
  CHECK(told.left.empty());
  CHECK(member.lane.waiting() == 0);
  CHECK(member.file.count() == 1);
  REQUIRE(member.out.sends.size() == 1);
  const std::string answered{member.out.bytes(member.out.sends[0])};
  CHECK(answered.starts_with("SIP/2.0 200 OK\r\n"));
  CHECK(has(answered, "Contact: <sip:alice@192.0.2.1:5061>;expires=3600\r\nSupported: path, outbound\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"));
}

TEST_CASE("whatever is not plain is left to be decided on") {
  Laned member;
  member.admit(member.asked());
  std::vector<Ask> asked;
  const auto odd = [&]() -> Ask& { return asked.emplace_back(member.asked()); };
  const auto replace = [&](std::string_view part, std::string_view other) {
    Ask& ask = odd();
    ask.more = with(ask.more, part, other);
  };
  odd().more += "Require: path\r\n";
  odd().more += "Path: <sip:edge>\r\n";
  odd().more += "Expires: 0\r\n";
  odd().more += "Expires: 59\r\n";
  odd().more += "Contact: <sip:second@192.0.2.1>\r\n";
  odd().more += "User-Agent: T\xc3\xa9l\r\n";
  odd().to_tag = "t";
  odd().uri = "sip:elsewhere.test";
  for (const std::string_view contact : {"*", "<sip:bob@phone.test>", "<sip:bob@192.0.2.100>", "<mailto:bob@x>", "<sip:bob@192.0.2.1:5061>;reg-id=1",
                                         "<sip:bob@192.0.2.1:5061>;expires=0", "<sip:bob@192.0.2.1:5061;x=%ff>"}) {
    replace("<sip:alice@192.0.2.1:5061>", contact);
  }
  for (const auto& [part, other] : {std::pair{"response=\"", "response=\"0"}, {"realm=\"", "realm=\"x"}, {"username=\"bob", "username=\"eve"}}) {
    replace(part, other);
  }
  odd().more = "Contact: <sip:alice@192.0.2.1:5061>\r\n";
  for (const Ask& ask : asked) CHECK_MESSAGE(!member.takes(ask), ask.text());
  CHECK(member.lane.waiting() == 0);
}

TEST_CASE("credentials that were judged here are good for who decides on the request") {
  Laned member;
  member.admit(member.asked());
  member.file.run("CREATE TRIGGER refuse BEFORE INSERT ON cell BEGIN SELECT RAISE(ABORT, 'refused'); END");
  REQUIRE(member.takes(member.asked()));
  const auto told = member.told();
  CHECK(told.bound.empty());
  REQUIRE(told.left.size() == 1);
  CHECK(told.left[0].outcome.error == "refused");
  CHECK(member.out.sends.empty());
  sip::Credentials credentials;
  const sip::Message& request = *told.left[0].request;
  REQUIRE_FALSE(member.guard.find(request, sip::Header::authorization, "example.test", credentials));
  CHECK(member.guard.judge(credentials, {ha1, {}}, request, alice, wall_ms) == sip::Verdict::accepted);
}

TEST_CASE("an outcome other than success is left to who decides") {
  Laned member;
  member.admit(member.asked());
  Ask first = member.asked();
  first.cseq = 9;
  REQUIRE(member.takes(first));
  CHECK(member.told().bound.size() == 1);
  Ask late = member.asked();
  late.cseq = 8;
  REQUIRE(member.takes(late));
  const auto told = member.told();
  REQUIRE(told.left.size() == 1);
  CHECK(told.left[0].outcome.registered.status == store::RegisterStatus::out_of_order);
}

TEST_CASE("an account is let in for its time, and while names are of that age") {
  Laned member;
  member.admit(member.asked(), member.bench.now_ms + 1);
  CHECK(member.takes(member.asked()));
  CHECK_FALSE(member.takes(member.asked(), 1));
  CHECK(member.lane.admitted() == 0);
  member.admit(member.asked(), member.bench.now_ms, 1);
  CHECK_FALSE(member.takes(member.asked(), 1));
}

TEST_CASE("a contact of a host by name must be of the host that was decided on") {
  Laned member;
  const auto at = [&](const char* contact) {
    Ask ask = member.asked();
    ask.more = with(ask.more, "<sip:alice@192.0.2.1:5061>", contact);
    return ask;
  };
  member.admit(at("<sip:bob@phone.test>"));
  CHECK(member.takes(at("<sip:bob@PHONE.test:7000>")));
  CHECK(member.takes(at("<sip:bob@192.0.2.1:5061>")));
  CHECK_FALSE(member.takes(at("<sip:bob@other.test>")));
}

TEST_CASE("accounts and waiting requests are bounded") {
  auto config = Laned::config();
  config.accounts_max = 2;
  config.waiting_max = 1;
  Laned member{config};
  for (const char* user : {"bob", "carol", "dora"}) {
    Ask ask = member.asked(user);
    ask.more += "X: y\r\n";
    std::string text = with(ask.text(), "To: <sip:bob@", "To: <sip:" + std::string{user} + "@");
    sip::MessagePool pool;
    bool ok = false;
    const sip::MessageRef request = pool.parse(text, ok);
    member.lane.admit(*request, alice, {ha1, {}}, for_ever, 0);
  }
  CHECK(member.lane.admitted() == 2);
  CHECK_FALSE(member.takes(member.asked()));  // the first to be let in is the first to go
  member.admit(member.asked());
  CHECK(member.takes(member.asked()));
  CHECK_FALSE(member.takes(member.asked()));
  CHECK(member.lane.counters().crowded == 1);
  CHECK(member.told().bound.size() == 1);
  CHECK(member.takes(member.asked()));
}

TEST_CASE("who has waited too long is told of once, and not answered") {
  Laned member;
  member.admit(member.asked());
  REQUIRE(member.takes(member.asked()));
  const auto deadline = member.lane.next_deadline_ms();
  REQUIRE(deadline == member.bench.now_ms + 2'000);
  CHECK(member.lane.overdue(member.bench.engine, *deadline - 1).empty());
  const auto overdue = member.lane.overdue(member.bench.engine, *deadline);
  REQUIRE(overdue.size() == 1);
  CHECK_FALSE(member.lane.next_deadline_ms());
  REQUIRE(member.bench.engine.respond(overdue[0], {503, {}, {}, {}, {}}, *deadline, member.out));
  const auto told = member.told();
  CHECK(told.bound.empty());
  CHECK(told.left.empty());
  CHECK(told.late == std::vector<std::string>{"sip:bob@example.test"});
  CHECK(member.out.sends.size() == 1);
}

TEST_CASE("what is under way when the lane goes is finished for nobody") {
  Laned member;
  {
    registrar::ExpressLane lane{Laned::config(), member.guard, member.writer};
    sip::MessagePool pool;
    bool ok = false;
    const sip::MessageRef request = pool.parse(member.asked().text(), ok);
    lane.admit(*request, alice, {ha1, {}}, for_ever, 0);
    net::Batch batch;
    batch.add(alice, member.asked().text());
    member.bench.engine.receive(batch, member.bench.now_ms, member.out);
    lane.run(member.bench.engine, member.out, member.bench.now_ms, wall_ms, 0);
    CHECK(lane.waiting() == 1);
  }
  member.writer.close();
  CHECK(member.writer.take().empty());
  CHECK(member.file.count() == 1);
}
