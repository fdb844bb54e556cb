#pragma once

#include <doctest/doctest.h>

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sip/engine.hpp"

// Engines in virtual time, with text messages going in and coming out: one engine, or a farm of them that exchange bus frames.

namespace sipfarm::tests {

inline net::Hop hop_of(const char* host, std::uint16_t port, net::Transport transport = net::Transport::udp, std::uint32_t flow = 0) {
  net::Hop hop;
  hop.remote = net::Address::parse(host, port).value();
  hop.transport = transport;
  hop.local = transport == net::Transport::udp ? 0 : 1;
  hop.flow = flow;
  return hop;
}

inline const net::Hop alice = hop_of("192.0.2.1", 5061);
inline const net::Hop bob = hop_of("192.0.2.2", 5062);
inline const net::Hop carol = hop_of("192.0.2.3", 5063);

constexpr std::string_view offer =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 9 0\r\n";
constexpr std::string_view answer =
    "v=0\r\no=- 2 2 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\nm=audio 6000 RTP/AVP 9\r\n";

inline std::string with_body(std::string head, std::string_view body) {
  if (!body.empty()) head += "Content-Type: application/sdp\r\n";
  return head + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string{body};
}

/// A request of Alice's. `more` is whole lines.
struct Ask {
  std::string method = "INVITE";
  std::string uri = "sip:bob@example.test";
  std::string branch = "z9hG4bKalice1";
  std::string from_tag = "alice";
  std::string to_tag;
  std::string call_id = "call-1";
  std::string via = "SIP/2.0/UDP 192.0.2.1:5061";
  int cseq = 1;
  int max_forwards = 70;
  std::string more = "Contact: <sip:alice@192.0.2.1:5061>\r\n";
  std::string body;

  std::string text() const {
    std::string out = method + " " + uri + " SIP/2.0\r\nVia: " + via + (branch.empty() ? "" : ";branch=" + branch) + "\r\n";
    if (max_forwards >= 0) out += "Max-Forwards: " + std::to_string(max_forwards) + "\r\n";
    out += "From: <sip:alice@example.test>;tag=" + from_tag + "\r\nTo: <sip:bob@example.test>" + (to_tag.empty() ? "" : ";tag=" + to_tag) + "\r\n";
    return with_body(out + "Call-ID: " + call_id + "\r\nCSeq: " + std::to_string(cseq) + " " + method + "\r\n" + more, body);
  }
};

/// The header fields of a message with that name, whole lines.
inline std::string lines_of(std::string_view message, std::string_view name) {
  std::string out;
  for (std::size_t begin = message.find("\r\n") + 2; begin < message.size();) {
    const std::size_t end = message.find("\r\n", begin);
    if (end == std::string_view::npos || end == begin) break;
    const std::string_view line = message.substr(begin, end - begin);
    if (line.starts_with(name) && line.size() > name.size() && line[name.size()] == ':') out += std::string{line} + "\r\n";
    begin = end + 2;
  }
  return out;
}
inline std::string value_of(std::string_view message, std::string_view name) {
  const std::string lines = lines_of(message, name);
  const std::size_t end = lines.find("\r\n");
  return end == std::string::npos ? "" : lines.substr(name.size() + 2, end - name.size() - 2);
}
inline std::size_t count_of(std::string_view message, std::string_view name) {
  const std::string lines = lines_of(message, name);
  std::size_t count = 0;
  for (std::size_t at = lines.find("\r\n"); at != std::string::npos; at = lines.find("\r\n", at + 2)) ++count;
  return count;
}
inline bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

/// What a callee answers to a request that it got.
inline std::string reply(std::string_view request, const std::string& status, const std::string& tag = "bob", std::string_view body = {},
                         const std::string& more = "Contact: <sip:bob@192.0.2.2:5062>\r\n") {
  std::string to = lines_of(request, "To");
  if (to.find(";tag=") == std::string::npos && !status.starts_with("100")) to.insert(to.size() - 2, ";tag=" + tag);
  return with_body("SIP/2.0 " + status + "\r\n" + lines_of(request, "Via") + lines_of(request, "Record-Route") + lines_of(request, "From") + to +
                       lines_of(request, "Call-ID") + lines_of(request, "CSeq") + more,
                   body);
}

/// The route set of the caller (from a response), or of the callee (from a request), as a Route line.
inline std::string caller_route(std::string_view response) {
  std::string out;
  for (std::string rest = lines_of(response, "Record-Route"); !rest.empty();) {
    const std::size_t end = rest.find("\r\n");
    out = rest.substr(14, end - 14) + (out.empty() ? "" : ", ") + out;
    rest.erase(0, end + 2);
  }
  return out.empty() ? "" : "Route: " + out + "\r\n";
}
inline std::string callee_route(std::string_view request) {
  std::string out;
  for (std::string rest = lines_of(request, "Record-Route"); !rest.empty();) {
    const std::size_t end = rest.find("\r\n");
    out += (out.empty() ? "" : ", ") + rest.substr(14, end - 14);
    rest.erase(0, end + 2);
  }
  return out.empty() ? "" : "Route: " + out + "\r\n";
}

inline sip::Target to(const net::Hop& hop, const std::string& uri) {
  sip::Target target;
  target.uri = uri;
  target.hop = hop;
  return target;
}
inline sip::Target to_bob() { return to(bob, "sip:bob@192.0.2.2:5062"); }
inline sip::Target to_carol() { return to(carol, "sip:carol@192.0.2.3:5063"); }

struct Sent {
  net::Hop hop;
  std::string text;
  std::uint64_t transaction = 0;
  std::string server;  // the name that a TLS server must prove
};

/// One member. What it sends and asks gathers in `sent`, `events` and `frames` until take()n.
class Bench {
 public:
  Bench() : Bench{config(1)} {}
  explicit Bench(sip::EngineConfig given) : engine{std::move(given), ports, now_ms} {
    for (std::uint16_t port = 20'000; port < 20'400; port = static_cast<std::uint16_t>(port + 2)) ports.add(port);
  }

  static sip::EngineConfig config(std::uint16_t member) {
    sip::EngineConfig out;
    const auto address = net::Address::parse("192.0.2.100", 5060).value();
    out.listens.push_back({net::Transport::udp, address, "192.0.2.100", 5060});
    out.listens.push_back({net::Transport::tcp, address, "192.0.2.100", 5060});
    out.member = member;
    out.mark_key.key.fill(7);
    out.transaction_key.fill(9);
    out.media = net::Address::parse("192.0.2.100", 0).value();
    return out;
  }

  void receive(const net::Hop& from, std::string_view text) {
    net::Batch batch;
    batch.add(from, text);
    engine.receive(batch, now_ms, out_);
    gather();
  }
  /// From deadline to deadline, as a driver would.
  void advance(std::int64_t by_ms) {
    const std::int64_t end = now_ms + by_ms;
    for (auto next = engine.next_deadline_ms(); next && *next <= end; next = engine.next_deadline_ms()) {
      now_ms = std::max(now_ms, *next);
      engine.expire(now_ms, out_);
      gather();
    }
    now_ms = end;
  }
  template <typename Act>
  auto act(Act what) {
    if constexpr (std::is_void_v<decltype(what(engine, now_ms, out_))>) {
      what(engine, now_ms, out_);
      gather();
    } else {
      const auto result = what(engine, now_ms, out_);
      gather();
      return result;
    }
  }
  void forward(std::uint64_t transaction, std::vector<sip::Target> targets, const sip::ForwardOptions& options = {}) {
    act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.forward(transaction, targets, options, now, out); });
  }
  bool respond(std::uint64_t transaction, int status, std::string_view headers = {}, std::string_view body = {}) {
    return act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { return e.respond(transaction, {status, {}, headers, body, {}}, now, out); });
  }
  void finish(std::uint64_t transaction) {
    act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.finish(transaction, now, out); });
  }
  void fail(std::uint64_t transaction) {
    act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.transport_failed(transaction, now, out); });
  }

  /// A request that Python is to decide on, and what it decides.
  std::uint64_t ask(const Ask& request, const net::Hop& from = alice) {
    receive(from, request.text());
    return take_event(sip::EventKind::request).id;
  }
  /// Alice calls targets; what each gets is left in `sent`, without the 100 to Alice.
  std::uint64_t call(std::vector<sip::Target> targets, const sip::ForwardOptions& options = {}, const Ask& invite = {}) {
    const std::uint64_t id = ask(invite);
    forward(id, std::move(targets), options);
    if (!sent.empty() && sent.front().text.starts_with("SIP/2.0 100")) sent.erase(sent.begin());
    return id;
  }

  /// The next message that was sent, which begins so.
  std::string take(std::string_view start) { return take_sent(start).text; }
  Sent take_sent(std::string_view start) {
    REQUIRE_MESSAGE(!sent.empty(), "nothing sent, expected ", start);
    Sent first = std::move(sent.front());
    sent.pop_front();
    CHECK_MESSAGE(first.text.starts_with(start), first.text.substr(0, first.text.find('\r')), ", expected ", start);
    return first;
  }
  void nothing_sent() {
    CHECK_MESSAGE(sent.empty(), sent.front().text);
    sent.clear();
  }
  sip::Event take_event(sip::EventKind kind) {
    REQUIRE(!events.empty());
    sip::Event first = std::move(events.front());
    events.pop_front();
    REQUIRE(first.kind == kind);
    return first;
  }
  void no_event() { CHECK(events.empty()); }
  /// What became of each packet is told from now on.
  void trace() { out_.tracing = true; }

  const sip::Counters& counters() const { return engine.core().counters; }
  std::uint64_t dropped(sip::Drop why) const { return counters().drops[static_cast<std::size_t>(why)]; }
  /// All tables are empty and all ports back.
  void at_rest() {
    advance(600'000);
    events.clear();
    CHECK(engine.transactions().server_count() == 0);
    CHECK(engine.transactions().client_count() == 0);
    CHECK(engine.transactions().bytes() == 0);
    CHECK(engine.forwarder().fork_count() == 0);
    CHECK(engine.forwarder().query_count() == 0);
    CHECK(engine.forwarder().own_count() == 0);
    CHECK(engine.forwarder().calls().size() == 0);
    CHECK(engine.waiting_count() == 0);
    CHECK(engine.directory_size() == 0);
    CHECK(engine.core().messages.out() == 0);
    CHECK(engine.core().wheel.size() == 0);
    CHECK(ports.taken() == 0);
  }

  std::int64_t now_ms = 10'000;
  rtp::PortPool ports;
  sip::Engine engine;
  std::deque<Sent> sent;
  std::deque<sip::Event> events;
  std::vector<rtp::Command> media;
  std::deque<std::pair<std::uint16_t, std::string>> frames;
  std::string told;  // a line for each packet

 private:
  void gather() {
    for (const sip::PacketRecord& packet : out_.packets) {
      const std::string_view bytes = out_.bytes(packet);
      told += sip::fate_names[static_cast<std::size_t>(packet.fate.what)];
      if (packet.fate.why != sip::Drop::none) told += std::string{" ("} + sip::drop_names[static_cast<std::size_t>(packet.fate.why)] + ")";
      if (packet.from != 0) told += " from " + std::to_string(packet.from);
      if (packet.fate.member != 0) told += " to " + std::to_string(packet.fate.member);
      told += ": " + std::string{bytes.substr(0, bytes.find('\r'))} + "\n";
    }
    for (const sip::Send& send : out_.sends) {
      if (send.length != 0) sent.push_back({send.hop, std::string{out_.bytes(send)}, send.transaction, std::string{out_.server(send)}});
    }
    for (sip::Event& event : out_.events) events.push_back(std::move(event));
    for (const rtp::Command& command : out_.media) media.push_back(command);
    for (const sip::BusFrame& frame : out_.frames) frames.emplace_back(frame.member, out_.bytes(frame));
    out_.clear();
  }

  sip::Output out_;
};

/// An answered call between Alice and Bob, with what both need for requests in its dialog.
struct Standing {
  std::string at_bob;    // the INVITE as Bob got it
  std::string at_alice;  // the 200 as Alice got it

  explicit Standing(Bench& bench, const sip::Target& target = to_bob(), const sip::ForwardOptions& options = {}, const Ask& invite = {}) {
    bench.call({target}, options, invite);
    at_bob = bench.take("INVITE ");
    bench.receive(target.hop.value_or(bob), reply(at_bob, "200 OK", "bob", invite.body.empty() ? std::string_view{} : answer));
    at_alice = bench.take("SIP/2.0 200");
    CHECK(bench.take_event(sip::EventKind::call).state == sip::CallState::answered);
  }
  Ask from_alice(const char* method, int cseq) const {
    Ask ask;
    ask.method = method;
    ask.uri = "sip:bob@192.0.2.2:5062";
    ask.branch = "z9hG4bKalice" + std::string{method} + std::to_string(cseq);
    ask.to_tag = "bob";
    ask.cseq = cseq;
    ask.more = caller_route(at_alice);
    return ask;
  }
  /// From and To are the other way round.
  std::string from_bob(const char* method, int cseq) const {
    return with_body(std::string{method} + " sip:alice@192.0.2.1:5061 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5062;branch=z9hG4bKbob" + method +
                         std::to_string(cseq) + "\r\nMax-Forwards: 70\r\nFrom: <sip:bob@example.test>;tag=bob\r\nTo: <sip:alice@example.test>;tag=alice\r\nCall-ID: " +
                         value_of(at_bob, "Call-ID") + "\r\nCSeq: " + std::to_string(cseq) + " " + method + "\r\n" + callee_route(at_bob),
                     {});
  }
};

/// Ends the calls that stand.
inline void end_all(Bench& bench) {
  std::vector<std::uint64_t> calls;
  bench.engine.forwarder().calls().each([&](std::uint64_t handle, const sip::Call&) { calls.push_back(handle); });
  for (const std::uint64_t call : calls) {
    bench.act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.end_call(call, "test", now, out); });
  }
}

inline void rest(Bench& bench) {
  end_all(bench);
  bench.at_rest();
}

}  // namespace sipfarm::tests
