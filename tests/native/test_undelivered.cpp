#include "engine_farm.hpp"

// Requests that did not arrive, as ICMP errors tell it (RFC 3261 §17.1.4, §18.4).

using namespace sipfarm;
using namespace sipfarm::tests;

namespace {

/// An ICMP error quotes so much of what was sent there.
void refuse(Bench& bench, const net::Hop& to, std::string_view quote) {
  net::Batch batch;
  batch.add(to, quote);
  bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.undelivered(batch, now, out); });
}

sip::Target by_name() {
  sip::Target target;
  target.uri = "sip:bob@pair.example.test";
  return target;
}

void resolve(Bench& bench, const std::vector<net::Hop>& found) {
  const std::uint64_t query = bench.take_event(sip::EventKind::resolve).id;
  bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.resolved(query, found, now, out); });
}

}  // namespace

TEST_CASE("a server that ICMP says is not there is passed over at once (RFC 3263 §4.3)") {
  Bench bench;
  bench.call({by_name()});
  resolve(bench, {bob, carol});
  const Sent first = bench.take_sent("INVITE ");
  CHECK(first.hop.remote == bob.remote);
  refuse(bench, bob, first.text);
  const Sent second = bench.take_sent("INVITE ");
  CHECK(second.hop.remote == carol.remote);
  CHECK(bench.counters().undelivered == 1);
  bench.receive(carol, reply(second.text, "486 Busy Here"));
  bench.take("ACK ");
  bench.take("SIP/2.0 486");
  bench.events.clear();
  bench.at_rest();
}

TEST_CASE("the beginning of a request is enough, whatever an error has after it; one that ends before the branch tells nothing") {
  Bench bench;
  bench.call({by_name()});
  resolve(bench, {bob, carol});
  const std::string first = bench.take("INVITE ");
  const std::size_t end = first.find(";branch=z9hG4bK") + 15 + sip::mark_chars;
  refuse(bench, bob, first.substr(0, end - 1));
  refuse(bench, bob, {});
  refuse(bench, bob, "INVITE");
  refuse(bench, bob, first.substr(0, first.find("\r\n") + 2));
  bench.nothing_sent();
  refuse(bench, bob, first.substr(0, end) + std::string(8, '\0'));
  CHECK(bench.take_sent("INVITE ").hop.remote == carol.remote);
}

TEST_CASE("an error that was made up changes nothing") {
  Bench bench;
  bench.call({by_name()});
  resolve(bench, {bob, carol});
  const std::string first = bench.take("INVITE ");
  refuse(bench, carol, first);  // it was sent elsewhere
  std::string guessed = first;
  const std::size_t last = guessed.find(";branch=z9hG4bK") + 15 + sip::mark_chars - 1;
  guessed[last] = guessed[last] == 'a' ? 'b' : 'a';
  refuse(bench, bob, guessed);
  std::string of_other = first;
  of_other.replace(0, 6, "CANCEL");
  refuse(bench, bob, of_other);
  bench.nothing_sent();
  CHECK(bench.counters().undelivered == 3);
  bench.receive(bob, reply(first, "486 Busy Here"));
  bench.take("ACK ");
  bench.take("SIP/2.0 486");
}

TEST_CASE("once there was a response, an error for a retransmission says nothing") {
  Bench bench;
  bench.call({by_name()});
  resolve(bench, {bob, carol});
  const std::string first = bench.take("INVITE ");
  bench.receive(bob, reply(first, "180 Ringing"));
  bench.take("SIP/2.0 180");
  refuse(bench, bob, first);
  bench.nothing_sent();
  bench.receive(bob, reply(first, "200 OK"));
  bench.take("SIP/2.0 200");
  refuse(bench, bob, first);
  bench.nothing_sent();
  rest(bench);
}

TEST_CASE("an error for a response is nobody's") {
  Bench bench;
  const std::uint64_t id = bench.ask({});
  bench.respond(id, 404);
  const std::string not_found = bench.take("SIP/2.0 404");
  refuse(bench, alice, not_found);
  bench.nothing_sent();
  bench.receive(alice, Ask{}.text());
  bench.take("SIP/2.0 404");
}

TEST_CASE("a request of a task's own that did not arrive is told to it as 503 (RFC 3261 §8.1.3.1)") {
  Bench bench;
  sip::Engine::Outgoing bye;
  bye.method = "BYE";
  bye.uri = "sip:bob@192.0.2.2:5062";
  bye.headers = "From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>;tag=2\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n";
  bye.call_id = "c";
  CHECK(bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { return e.send(7, bye, now, out); }));
  refuse(bench, bob, bench.take("BYE "));
  const sip::Event told = bench.take_event(sip::EventKind::response);
  CHECK(told.id == 7);
  CHECK(told.status == 503);
  bench.at_rest();
}

TEST_CASE("the kernel may tell any of the members that share the address") {
  Farm farm;
  farm.receive(1, alice, Ask{}.text());
  REQUIRE(farm.asked() == 1);
  farm[1].forward(farm[1].take_event(sip::EventKind::request).id, {by_name()});
  farm[1].take("SIP/2.0 100");
  resolve(farm[1], {bob, carol});
  const std::string first = farm[1].take("INVITE ");
  refuse(farm[3], carol, first);
  farm.run();
  farm[1].nothing_sent();
  refuse(farm[3], bob, first);
  farm.run();
  CHECK(farm[1].take_sent("INVITE ").hop.remote == carol.remote);
}
