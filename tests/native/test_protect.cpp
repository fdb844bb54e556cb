#include "sip/protect.hpp"

#include <doctest/doctest.h>

#include "engine_bench.hpp"

using namespace sipfarm;
using namespace sipfarm::sip;
using namespace sipfarm::tests;

namespace {

ProtectConfig settings() {
  ProtectConfig out;
  out.enabled = true;
  out.unproven_per_s = 10;
  out.unproven_total_per_s = 100;
  out.burst_s = 2;
  out.faults_max = 5;
  out.sources_max = 64;
  out.flows_max = 64;
  return out;
}

struct Gate {
  std::int64_t now_ms = 1'000'000;
  Protect protect{settings(), SipKey{}};

  int admitted(const net::Hop& source, int of) {
    int count = 0;
    for (int i = 0; i < of; ++i) count += protect.admit(source, now_ms) == Admission::admitted ? 1 : 0;
    return count;
  }
  int faults_until_ban(const net::Hop& source, Fault fault, int at_most = 100) {
    for (int i = 1; i <= at_most; ++i) {
      if (protect.fault(source, fault, now_ms)) return i;
    }
    return 0;
  }
};

net::Hop at_port(net::Hop hop, std::uint16_t port) {
  hop.remote.port = port;
  return hop;
}

}  // namespace

TEST_CASE_FIXTURE(Gate, "an address that has proven nothing has a burst, and then its rate") {
  CHECK(admitted(alice, 1'000) == 20);
  CHECK(admitted(at_port(alice, 9), 10) == 0);
  CHECK(admitted(bob, 1'000) == 20);
  now_ms += 1'000;
  CHECK(admitted(alice, 1'000) == 10);
  now_ms += 100'000;
  CHECK(admitted(alice, 1'000) == 20);
}

TEST_CASE_FIXTURE(Gate, "all that have proven nothing together have a bound too") {
  int count = 0;
  for (int i = 1; i < 100; ++i) count += admitted(hop_of(("192.0.2." + std::to_string(i)).c_str(), 5'060), 10);
  CHECK(count == 200);
}

TEST_CASE_FIXTURE(Gate, "whoever proves himself is served without a bound, from that port, and has paid nothing") {
  admitted(alice, 1'000);
  protect.prove(alice, now_ms);
  CHECK(admitted(alice, 1'000) == 1'000);
  CHECK(admitted(at_port(alice, 9), 1'000) == 2);
  now_ms += settings().proof_ms;
  CHECK(admitted(alice, 1'000) == 20);
}

TEST_CASE_FIXTURE(Gate, "an address is banned after so many faults, for a time") {
  CHECK(faults_until_ban(alice, Fault::credentials) == 5);
  CHECK(protect.admit(alice, now_ms) == Admission::banned);
  CHECK(protect.admit(bob, now_ms) == Admission::admitted);
  REQUIRE(protect.bans(now_ms).size() == 1);
  CHECK(protect.bans(now_ms)[0].address.same_ip(alice.remote));
  CHECK(protect.counters().bans == 1);
  now_ms += settings().ban_ms;
  CHECK(protect.bans(now_ms).empty());
  CHECK(protect.admit(alice, now_ms) == Admission::admitted);
}

TEST_CASE_FIXTURE(Gate, "faults that come slowly are forgiven") {
  for (int i = 0; i < 1'000; ++i) {
    CHECK(!protect.fault(alice, Fault::credentials, now_ms));
    now_ms += settings().fault_forgiven_ms;
  }
}

TEST_CASE_FIXTURE(Gate, "datagrams that anybody may have sent do not get an address banned that has a phone") {
  protect.prove(alice, now_ms);
  CHECK(faults_until_ban(at_port(alice, 9), Fault::malformed) == 0);
  CHECK(faults_until_ban(at_port(alice, 9), Fault::foreign) == 0);
  CHECK(faults_until_ban(bob, Fault::malformed) == 5);
  net::Hop stream = at_port(alice, 9);
  stream.transport = net::Transport::tcp;
  CHECK(faults_until_ban(stream, Fault::malformed) == 1);
  CHECK(protect.admit(at_port(alice, 10), now_ms) == Admission::banned);
  CHECK(protect.admit(alice, now_ms) == Admission::admitted);  // the phone that was proven
}

TEST_CASE_FIXTURE(Gate, "guessing passwords ends the proof of the flow that guesses") {
  protect.prove(alice, now_ms);
  protect.prove(at_port(alice, 9), now_ms);
  CHECK(faults_until_ban(alice, Fault::credentials) == 5);
  CHECK(protect.admit(alice, now_ms) == Admission::banned);
  CHECK(protect.admit(at_port(alice, 9), now_ms) == Admission::admitted);
}

TEST_CASE_FIXTURE(Gate, "an IPv6 network of 64 bits is one source") {
  CHECK(faults_until_ban(hop_of("2001:db8::1", 5'060), Fault::foreign) == 5);
  CHECK(protect.admit(hop_of("2001:db8::2:3", 5'060), now_ms) == Admission::banned);
  CHECK(protect.admit(hop_of("2001:db8:0:1::1", 5'060), now_ms) == Admission::admitted);
  CHECK(protect.unban(net::Address::parse("2001:db8::9", 0).value(), now_ms));
  CHECK(protect.admit(hop_of("2001:db8::1", 5'060), now_ms) == Admission::admitted);
}

TEST_CASE_FIXTURE(Gate, "a ban can be lifted") {
  faults_until_ban(alice, Fault::foreign);
  CHECK(!protect.unban(bob.remote, now_ms));
  CHECK(protect.unban(alice.remote, now_ms));
  CHECK(!protect.unban(alice.remote, now_ms));
  CHECK(protect.bans(now_ms).empty());
  CHECK(faults_until_ban(alice, Fault::foreign) == 5);
}

TEST_CASE("networks that are exempt are never held off") {
  ProtectConfig config = settings();
  config.exempt.push_back({net::Address::parse("192.0.2.0", 0).value(), 30});
  config.exempt.push_back({net::Address::parse("2001:db8:7::", 0).value(), 48});
  Protect protect{config, SipKey{}};
  const auto is_banned = [&](const char* host) {
    for (int i = 0; i < 100; ++i) protect.fault(hop_of(host, 5'060), Fault::credentials, 0);
    return protect.admit(hop_of(host, 5'060), 0) == Admission::banned;
  };
  CHECK(!is_banned("192.0.2.3"));
  CHECK(is_banned("192.0.2.4"));
  CHECK(!is_banned("2001:db8:7:1::1"));
  CHECK(is_banned("2001:db8:8::1"));
}

TEST_CASE("what is switched off holds nobody off") {
  Protect protect{ProtectConfig{}, SipKey{}};
  for (int i = 0; i < 10'000; ++i) {
    protect.fault(alice, Fault::credentials, 0);
    CHECK(protect.admit(alice, 0) == Admission::admitted);
  }
  protect.prove(alice, 0);
  CHECK(protect.bans(0).empty());
}

TEST_CASE_FIXTURE(Gate, "a full table forgets the idle before the banned") {
  faults_until_ban(alice, Fault::credentials);
  for (int i = 0; i < 10'000; ++i) {
    net::Hop other = alice;
    other.remote.ip = {10, static_cast<std::uint8_t>(i >> 16), static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)};
    protect.fault(other, Fault::foreign, now_ms);
    ++now_ms;
  }
  CHECK(protect.admit(alice, now_ms) == Admission::banned);
  CHECK(protect.counters().forgotten > 9'000);
}

namespace {

EngineConfig guarded() {
  EngineConfig config = Bench::config(1);
  config.protect = settings();
  return config;
}

Ask numbered(int number) {
  Ask ask;
  ask.branch = "z9hG4bKn" + std::to_string(number);
  ask.call_id = "n" + std::to_string(number);
  return ask;
}

void refuse(Bench& bench) {
  for (const sip::Event& event : bench.events) {
    bench.act([&](Engine& e, std::int64_t now, Output& out) { e.answer_statelessly(event.id, {407, {}, {}, {}, {}}, now, out); });
  }
  bench.events.clear();
}

}  // namespace

TEST_CASE("a flood is held off, while calls that stand and proven phones go on") {
  Bench bench{guarded()};
  Standing standing{bench};
  for (int i = 0; i < 1'000; ++i) bench.receive(at_port(alice, 9), numbered(i).text());
  CHECK(bench.events.size() == 19);  // the call was the twentieth
  CHECK(bench.dropped(Drop::over_rate) == 981);
  refuse(bench);
  bench.sent.clear();
  bench.receive(at_port(alice, 9), numbered(0).text());
  bench.no_event();
  bench.receive(alice, standing.from_alice("BYE", 2).text());
  bench.receive(bob, reply(bench.take("BYE sip:bob@"), "200 OK"));
  bench.take("SIP/2.0 200");
  bench.take_event(EventKind::call);
  bench.act([&](Engine& e, std::int64_t now, Output& out) { e.prove(alice, now, out); });
  refuse(bench);
  for (int i = 0; i < 100; ++i) bench.receive(alice, numbered(i).text());
  CHECK(bench.events.size() == 100);
  refuse(bench);
  bench.sent.clear();
  bench.at_rest();
}

TEST_CASE("malformed requests get their address banned, and Python is told once; responses are nobody's fault") {
  Bench bench{guarded()};
  for (int i = 0; i < 50; ++i) bench.receive(bob, "SIP/2.0 200 OK\r\nVia: nonsense\r\n\r\n");
  CHECK(bench.engine.protect().bans(bench.now_ms).empty());
  for (int i = 0; i < 50; ++i) bench.receive(alice, "INVITE nonsense\r\n\r\n");
  const Event banned = bench.take_event(EventKind::banned);
  CHECK(banned.hop.remote == alice.remote);
  CHECK(banned.text == "malformed");
  bench.no_event();
  CHECK(bench.dropped(Drop::banned) == 45);
  bench.receive(alice, numbered(1).text());
  Ask cancel = numbered(2);
  cancel.method = "CANCEL";
  bench.receive(alice, cancel.text());
  bench.no_event();
  bench.nothing_sent();
  CHECK(bench.dropped(Drop::banned) == 47);
  bench.at_rest();
}

TEST_CASE("a tag that was given to a stranger once opens no way past a ban") {
  Bench bench{guarded()};
  Ask invite = numbered(1);
  bench.receive(alice, invite.text());
  const std::uint64_t asked = bench.take_event(EventKind::request).id;
  bench.advance(200);
  bench.take("SIP/2.0 100");
  invite.method = "CANCEL";
  bench.receive(alice, invite.text());
  const std::string to = value_of(bench.take("SIP/2.0 200"), "To");
  bench.take_event(EventKind::cancel);
  bench.respond(asked, 487);
  bench.sent.clear();
  for (int i = 0; i < 5; ++i) bench.engine.protect().fault(alice, Fault::credentials, bench.now_ms);
  for (const char* method : {"REGISTER", "INVITE", "MESSAGE"}) {
    Ask guess = numbered(1);
    guess.method = method;
    guess.branch = "z9hG4bKguess";
    guess.to_tag = to.substr(to.find("tag=") + 4);
    bench.receive(alice, guess.text());
  }
  bench.no_event();
  CHECK(bench.dropped(Drop::banned) == 3);
}

TEST_CASE("what another member passes on of one who is banned here is dropped") {
  Bench bench{guarded()};
  for (int i = 0; i < 5; ++i) bench.engine.protect().fault(alice, Fault::credentials, bench.now_ms);
  BusMessage message;
  message.kind = BusMessage::Kind::packet;
  message.hop = alice;
  message.epoch = 1;
  message.hops = 1;
  Ask ask = numbered(1);
  ask.method = "REGISTER";
  const std::string text = ask.text();
  message.bytes = text;
  std::string frame;
  append_bus_message(frame, message);
  bench.act([&](Engine& e, std::int64_t now, Output& out) { e.receive_bus(2, frame, now, out); });
  bench.no_event();
  CHECK(bench.dropped(Drop::banned) == 1);
}

TEST_CASE("what another member sent here was admitted there") {
  Bench bench{guarded()};
  for (int i = 0; i < 5; ++i) bench.engine.protect().fault(alice, Fault::credentials, bench.now_ms);
  BusMessage message;
  message.kind = BusMessage::Kind::packet;
  message.hop = alice;
  message.settled = true;
  message.epoch = 1;
  message.hops = 1;
  const std::string text = numbered(1).text();
  message.bytes = text;
  std::string frame;
  append_bus_message(frame, message);
  bench.act([&](Engine& e, std::int64_t now, Output& out) { e.receive_bus(2, frame, now, out); });
  bench.respond(bench.take_event(EventKind::request).id, 486);
  bench.sent.clear();
  bench.at_rest();
}
