// Seeds: tests/vectors/engine
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "sip/engine.hpp"

using namespace sipfarm;

namespace {

constexpr std::size_t k_sent_kept = 24;

sip::EngineConfig config() {
  sip::EngineConfig out;
  const auto address = net::Address::parse("192.0.2.100", 5060).value();
  out.listens.push_back({net::Transport::udp, address, "192.0.2.100", 5060});
  out.listens.push_back({net::Transport::tcp, address, "192.0.2.100", 5060});
  out.media = net::Address::parse("192.0.2.100", 0).value();
  out.transactions_max = 32;
  out.calls_max = 16;
  out.messages_bytes_max = 300'000;
  out.call_max_ms = 300'000;
  return out;
}

void require(bool condition) {
  if (!condition) std::abort();
}

constexpr std::string_view k_sdp =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\nm=video 4002 RTP/AVP 31\r\n";

/// The bytes of the input, one after the other; zeros when they are used up.
class Tape {
 public:
  Tape(const std::uint8_t* data, std::size_t size) : data_{data}, left_{size} {}
  bool empty() const { return left_ == 0; }
  std::uint8_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  std::string_view rest(std::size_t size) {
    size = std::min(size, left_);
    const std::string_view out{reinterpret_cast<const char*>(data_), size};
    data_ += size;
    left_ -= size;
    return out;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

/// One engine, its far ends and its Python, all moved by the tape.
class World {
 public:
  explicit World(Tape& tape) : tape_{tape}, engine_{config(), ports_, 0} {
    for (std::uint16_t port = 20'000; port < 20'040; port = static_cast<std::uint16_t>(port + 2)) ports_.add(port);
  }

  void run() {
    for (int steps = 0; steps < 200 && !tape_.empty(); ++steps) {
      one();
      gather();
      require(engine_.transactions().server_count() <= 36 && engine_.transactions().client_count() <= 54);
      require(engine_.forwarder().calls().size() <= 16 && engine_.forwarder().fork_count() <= 36);
      require(engine_.waiting_count() == 0 && engine_.directory_size() == 0);
    }
    for (const std::uint64_t id : asked_) engine_.respond(id, {500, {}, {}, {}, {}}, now_ms_, out_);
    for (const std::uint64_t id : asked_) engine_.finish(id, now_ms_, out_);
    gather();
    const std::int64_t end = now_ms_ + 600'000;
    for (auto next = engine_.next_deadline_ms(); next && *next <= end; next = engine_.next_deadline_ms()) {
      now_ms_ = std::max(now_ms_, *next);
      engine_.expire(now_ms_, out_);
      gather();
      for (const std::uint64_t id : asked_) engine_.respond(id, {500, {}, {}, {}, {}}, now_ms_, out_);
      gather();
    }
    require(engine_.transactions().server_count() == 0 && engine_.transactions().client_count() == 0 && engine_.transactions().bytes() == 0);
    require(engine_.forwarder().fork_count() == 0 && engine_.forwarder().query_count() == 0 && engine_.forwarder().own_count() == 0 && engine_.forwarder().calls().size() == 0);
    require(engine_.core().wheel.size() == 0 && engine_.core().messages.out() == 0);
    require(ports_.taken() == 0);
  }

 private:
  net::Hop hop() {
    const std::uint8_t which = tape_.byte();
    net::Hop out;
    out.remote = net::Address::parse("192.0.2.1", static_cast<std::uint16_t>(5'060 + which % 4)).value();
    if (which % 8 < 6) return out;
    out.transport = net::Transport::tcp;
    out.local = 1;
    out.flow = which % 3;
    return out;
  }

  void receive(const net::Hop& from, std::string_view text) {
    net::Batch batch;
    batch.add(from, text);
    engine_.receive(batch, now_ms_, out_);
  }

  std::string request() {
    constexpr const char* methods[] = {"INVITE", "ACK", "CANCEL", "BYE", "MESSAGE", "UPDATE", "SUBSCRIBE", "FOO"};
    constexpr const char* bodies[] = {"", "x"};
    const std::string method = methods[tape_.byte() % 8];
    const std::uint8_t who = tape_.byte();
    std::string uri = who % 5 == 4 ? "sip:b@name.example" : "sip:b@192.0.2.1:5061";
    std::string out = method + " " + uri + " SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1";
    out += who % 2 == 0 ? ";branch=z9hG4bK" + std::to_string(who % 4) : who % 3 == 0 ? ";branch=z9hG4bK" : "";
    out += "\r\nFrom: <sip:a@a>;tag=" + std::to_string(who % 3) + "\r\nTo: <sip:b@b>" + (who % 7 == 0 ? ";tag=9" : "");
    out += "\r\nCall-ID: " + std::to_string(who % 4) + "\r\nCSeq: " + std::to_string(1 + who % 2) + " " + method + "\r\n";
    if (who % 11 == 0) out += "Max-Breadth: 2\r\n";
    const bool sdp = tape_.byte() % 2 == 0;
    const std::string_view body = sdp ? k_sdp : bodies[who % 2];
    return out + (sdp ? "Content-Type: application/sdp\r\n" : "") + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string{body};
  }

  /// Something that the engine sent, turned into an answer to it or into a request in its dialog.
  std::string reply() {
    if (sent_.empty()) return "SIP/2.0 200 OK\r\n\r\n";
    constexpr int statuses[] = {100, 180, 183, 200, 202, 302, 401, 407, 408, 480, 481, 486, 487, 503, 600, 699};
    std::string text = sent_[tape_.byte() % sent_.size()];
    const std::uint8_t how = tape_.byte();
    const std::size_t line = text.find("\r\n");
    if (how % 8 == 7) return text;  // a mirror
    if (how % 8 == 6) {             // the dialog's next request, with the route set it came by
      std::size_t at = text.find("Record-Route:");
      while (at != std::string::npos) {
        text.replace(at, 13, "Route:");
        at = text.find("Record-Route:");
      }
      const std::size_t to = text.find("\r\nTo: ");
      const std::size_t end = to == std::string::npos ? to : text.find("\r\n", to + 2);
      if (end != std::string::npos && text.substr(to, end - to).find(";tag=") == std::string::npos) text.insert(end, ";tag=" + std::to_string(how % 3));
      const std::size_t branch = text.find("z9hG4bK");
      if (branch != std::string::npos) text.insert(branch + 7, std::to_string(how));
      return text;
    }
    text.replace(0, line, "SIP/2.0 " + std::to_string(statuses[tape_.byte() % 16]) + " X");
    const std::size_t to = text.find("\r\nTo: ");
    const std::size_t end = to == std::string::npos ? to : text.find("\r\n", to + 2);
    if (end != std::string::npos && how % 4 != 0 && text.substr(to, end - to).find(";tag=") == std::string::npos) {
      text.insert(end, ";tag=" + std::to_string(how % 3));
    }
    return text;
  }

  void decide() {
    if (asked_.empty()) return;
    const std::uint64_t id = asked_[tape_.byte() % asked_.size()];
    const std::uint8_t how = tape_.byte();
    if (how % 4 == 0) {
      constexpr int statuses[] = {100, 180, 200, 302, 404, 408, 500, 603};
      engine_.respond(id, {statuses[tape_.byte() % 8], {}, {}, {}, {}}, now_ms_, out_);
      return;
    }
    if (how % 8 == 1) return engine_.finish(id, now_ms_, out_);
    sip::ForwardOptions options;
    options.relay = how % 2 == 0;
    options.more = how % 3 == 0;
    options.step_ms = how % 5 == 0 ? 7'000 : 0;
    std::vector<sip::Target> targets(tape_.byte() % 4);
    for (sip::Target& target : targets) {
      const std::uint8_t where = tape_.byte();
      target.uri = where % 4 == 0 ? "sip:c@name.example" : where % 4 == 1 ? "tel:+1" : "sip:c@192.0.2.1:5062";
      if (where % 3 == 0) target.hop = hop();
      if (where % 5 == 0) target.route = where % 2 == 0 ? "<sip:192.0.2.1;lr>" : "<sip:192.0.2.1:5063>";
    }
    engine_.forward(id, targets, options, now_ms_, out_);
  }

  /// An ICMP error quotes the beginning of something.
  void undelivered() {
    net::Batch batch;
    const net::Hop to = hop();
    const std::size_t quoted = std::size_t{4} * tape_.byte();
    const bool made_up = sent_.empty() || tape_.byte() % 4 == 0;
    batch.add(to, made_up ? tape_.rest(quoted) : std::string_view{sent_[tape_.byte() % sent_.size()]}.substr(0, quoted));
    engine_.undelivered(batch, now_ms_, out_);
  }

  /// Ends a call whose streams are silent, if there is one.
  void hang_up() {
    const std::uint64_t nth = tape_.byte() % 16;
    std::uint64_t chosen = 0;
    std::uint64_t stream = 0;
    std::uint64_t seen = 0;
    engine_.forwarder().calls().each([&](std::uint64_t handle, const sip::Call& call) {
      if (seen++ > nth) return;
      chosen = handle;
      stream = 0;
      for (const sip::Leg& leg : call.legs) {
        for (const sip::RelayStream& relayed : leg.relay.streams()) stream = relayed.id != 0 ? relayed.id : stream;
      }
    });
    for (const std::uint64_t beside : engine_.forwarder().streams_beside(stream)) require(sip::StreamNames::call_of(beside) == chosen);
    if (chosen != 0 && nth % 2 == 0) engine_.hang_up(chosen, "fuzz", now_ms_, out_);
  }

  void one() {
    switch (tape_.byte() % 13) {
      case 0:
      case 1: return receive(hop(), request());
      case 2:
      case 3: return receive(hop(), reply());
      case 4:
      case 5: return decide();
      case 6:
        now_ms_ += std::int64_t{tape_.byte()} * tape_.byte();
        return engine_.expire(now_ms_, out_);
      case 7:
        if (!started_.empty()) engine_.transport_failed(started_[tape_.byte() % started_.size()], now_ms_, out_);
        return;
      case 8: {
        const net::Hop found[] = {hop(), hop()};
        const std::size_t count = tape_.byte() % 3;
        if (!queries_.empty()) engine_.resolved(queries_[tape_.byte() % queries_.size()], {found, count}, now_ms_, out_);
        return;
      }
      case 9: return hang_up();
      case 10:
        if (!asked_.empty()) engine_.take_as_user_agent(asked_[tape_.byte() % asked_.size()]);
        return;
      case 11: return undelivered();
      default: return receive(hop(), tape_.rest(tape_.byte()));
    }
  }

  template <typename T>
  static void keep(std::vector<T>& all, T one) {
    if (all.size() == k_sent_kept) all.erase(all.begin());
    all.push_back(std::move(one));
  }

  void gather() {
    for (const sip::Send& send : out_.sends) {
      keep(sent_, std::string{out_.bytes(send)});
      if (send.transaction != 0) keep(started_, send.transaction);
    }
    for (const sip::Event& event : out_.events) {
      if (event.kind == sip::EventKind::request) asked_.push_back(event.id);
      if (event.kind == sip::EventKind::resolve) keep(queries_, event.id);
    }
    out_.clear();
  }

  Tape& tape_;
  std::int64_t now_ms_ = 0;
  rtp::PortPool ports_;
  sip::Engine engine_;
  sip::Output out_;
  std::vector<std::string> sent_;
  std::vector<std::uint64_t> started_;
  std::vector<std::uint64_t> queries_;
  std::vector<std::uint64_t> asked_;
};

}  // namespace

/// Datagrams, decisions, failures and time in any order. Nothing grows beyond its bound, and ten minutes later nothing is left.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Tape tape{data, size};
  World world{tape};
  world.run();
  return 0;
}
