// The SIP engine by itself: INVITE, 100, 180, 200, ACK, BYE, 200 of forwarded calls, with no sockets and no Python.
//
//   engine_load [CALLS [CALLS_PER_SECOND [relay|direct]]]
// Time is virtual: the calls come in batches, and transactions and timers live as long as they would at that rate. Only the calls of
// the engine are timed; the far ends' messages are made between them. Prints one line of JSON.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "sip/engine.hpp"

using namespace sipfarm;

namespace {

constexpr std::size_t k_batch = 32;
constexpr std::size_t k_steps = 8;
constexpr std::array<const char*, k_steps> k_step_names = {"invite", "100", "180", "200", "ack", "bye", "200_bye", "timers"};

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "engine_load: %s\n", what);
  std::exit(1);
}

net::Hop udp(const char* host, std::uint16_t port) {
  net::Hop hop;
  hop.remote = net::Address::parse(host, port).value();
  return hop;
}

constexpr std::string_view k_offer =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 9 0 8 101\r\n"
    "a=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

std::string with_body(std::string head, std::string_view body) {
  if (!body.empty()) head += "Content-Type: application/sdp\r\n";
  return head + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string{body};
}

/// The header fields of `message` with that name, whole lines.
std::string lines_of(std::string_view message, std::string_view name) {
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

std::string answer_to(std::string_view request, const char* status, std::string_view body) {
  std::string to = lines_of(request, "To");
  if (to.find(";tag=") == std::string::npos) to.insert(to.size() - 2, ";tag=callee");
  return with_body(std::string{"SIP/2.0 "} + status + "\r\n" + lines_of(request, "Via") + lines_of(request, "Record-Route") +
                       lines_of(request, "From") + to + lines_of(request, "Call-ID") + lines_of(request, "CSeq") +
                       "Contact: <sip:bob@192.0.2.2:5062>\r\nUser-Agent: callee\r\n",
                   body);
}

struct Call {
  std::string id;
  std::string routes;   // the caller's route set, as a Route line
  std::string invite;   // as the callee got it
  std::string request;  // the last in-dialog request, as the callee got it
};

std::string request_of(const Call& call, const char* method, int cseq, const char* branch) {
  std::string text = std::string{method} + " sip:bob@192.0.2.2:5062 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bK" + branch + call.id +
                     ";rport\r\nMax-Forwards: 70\r\n" + call.routes + "From: \"Alice\" <sip:alice@example.test>;tag=caller" + call.id +
                     "\r\nTo: <sip:bob@example.test>;tag=callee\r\nCall-ID: " + call.id + "@192.0.2.1\r\nCSeq: " + std::to_string(cseq) + " " + method + "\r\n";
  return with_body(text, {});
}

std::string invite_of(const Call& call) {
  return with_body("INVITE sip:bob@example.test SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5061;branch=z9hG4bKi" + call.id +
                       ";rport\r\nMax-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@example.test>;tag=caller" + call.id +
                       "\r\nTo: <sip:bob@example.test>\r\nCall-ID: " + call.id +
                       "@192.0.2.1\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@192.0.2.1:5061>\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\n"
                       "Supported: replaces, timer\r\nUser-Agent: caller\r\n",
                   k_offer);
}

/// "Record-Route: a" and "Record-Route: b" of a response as one "Route: b, a".
std::string routes_from(std::string_view response) {
  std::string out;
  for (std::string rest = lines_of(response, "Record-Route"); !rest.empty();) {
    const std::size_t end = rest.find("\r\n");
    out = rest.substr(14, end - 14) + (out.empty() ? "" : ", ") + out;
    rest.erase(0, end + 2);
  }
  return out.empty() ? out : "Route: " + out + "\r\n";
}

class Load {
 public:
  Load(std::size_t calls_per_second, bool relay) : per_second_{calls_per_second}, relay_{relay}, engine_{config(), ports_, now_ms_} {
    for (std::uint32_t port = 1'024; port < 65'536; port += 2) ports_.add(static_cast<std::uint16_t>(port));
  }

  void run(std::size_t calls) {
    for (std::size_t done = 0; done < calls; done += k_batch) batch(done);
  }
  void measure(std::size_t calls) {
    run(calls);  // warm: buffers have grown, transactions linger as they do in steady state
    spent_ns_.fill(0);
    messages_ = 0;
    for (std::size_t done = calls; done < 2 * calls; done += k_batch) batch(done);
    std::int64_t total = 0;
    for (const std::int64_t spent : spent_ns_) total += spent;
    std::printf("{\"calls\": %zu, \"relay\": %s, \"ns_per_call\": %.0f, \"ns_per_message_in\": %.0f, \"ns\": {", calls, relay_ ? "true" : "false",
                static_cast<double>(total) / static_cast<double>(calls), static_cast<double>(total) / static_cast<double>(messages_));
    for (std::size_t i = 0; i < k_steps; ++i) {
      std::printf("%s\"%s\": %.0f", i == 0 ? "" : ", ", k_step_names[i], static_cast<double>(spent_ns_[i]) / static_cast<double>(calls));
    }
    std::printf("}, \"server_transactions\": %zu, \"client_transactions\": %zu, \"messages_held\": %zu, \"timers\": %zu}\n",
                engine_.transactions().server_count(), engine_.transactions().client_count(), engine_.core().messages.out(),
                engine_.core().wheel.size());
  }

 private:
  sip::EngineConfig config() {
    sip::EngineConfig config;
    config.listens.push_back({net::Transport::udp, net::Address::parse("192.0.2.100", 5060).value(), "192.0.2.100", 5060});
    config.mark_key.key.fill(7);
    config.transaction_key.fill(9);
    config.media = net::Address::parse("192.0.2.100", 0).value();
    return config;
  }

  void feed(std::size_t step, const net::Hop& from, const std::vector<std::string>& texts) {
    in_.clear();
    for (const std::string& text : texts) in_.add(from, text);
    messages_ += texts.size();
    out_.clear();
    const std::int64_t begin = now_ns();
    engine_.receive(in_, now_ms_, out_);
    if (step == 0) {
      for (std::size_t i = 0; i < out_.events.size(); ++i) {
        if (out_.events[i].kind != sip::EventKind::request) continue;
        engine_.forward(out_.events[i].id, {&target_, 1}, options_, now_ms_, out_);
      }
    }
    spent_ns_[step] += now_ns() - begin;
  }

  void expire() {
    out_.clear();
    const std::int64_t begin = now_ns();
    engine_.expire(now_ms_, out_);
    spent_ns_[k_steps - 1] += now_ns() - begin;
  }

  std::string_view sent(std::string_view start, std::size_t index) const {
    for (const sip::Send& send : out_.sends) {
      const std::string_view bytes = out_.bytes(send);
      if (bytes.starts_with(start) && index-- == 0) return bytes;
    }
    fail("a message is missing");
  }

  void batch(std::size_t first) {
    calls_in_batch_.assign(k_batch, {});
    std::vector<std::string> texts(k_batch);
    options_.relay = relay_;
    target_.uri = "sip:bob@192.0.2.2:5062";
    target_.hop = callee_;
    for (std::size_t i = 0; i < k_batch; ++i) {
      calls_in_batch_[i].id = "c" + std::to_string(first + i + 100'000);
      texts[i] = invite_of(calls_in_batch_[i]);
    }
    feed(0, caller_, texts);
    for (std::size_t i = 0; i < k_batch; ++i) calls_in_batch_[i].invite = sent("INVITE ", i);
    const std::array<const char*, 3> statuses = {"100 Trying", "180 Ringing", "200 OK"};
    for (std::size_t step = 0; step < statuses.size(); ++step) {
      for (std::size_t i = 0; i < k_batch; ++i) {
        texts[i] = answer_to(calls_in_batch_[i].invite, statuses[step], step == 2 ? k_offer : std::string_view{});
      }
      feed(1 + step, callee_, texts);
    }
    for (std::size_t i = 0; i < k_batch; ++i) calls_in_batch_[i].routes = routes_from(sent("SIP/2.0 200", i));
    for (std::size_t i = 0; i < k_batch; ++i) texts[i] = request_of(calls_in_batch_[i], "ACK", 1, "a");
    feed(4, caller_, texts);
    sent("ACK ", k_batch - 1);
    for (std::size_t i = 0; i < k_batch; ++i) texts[i] = request_of(calls_in_batch_[i], "BYE", 2, "b");
    feed(5, caller_, texts);
    for (std::size_t i = 0; i < k_batch; ++i) texts[i] = answer_to(sent("BYE ", i), "200 OK", {});
    feed(6, callee_, texts);
    sent("SIP/2.0 200", k_batch - 1);
    now_ms_ += static_cast<std::int64_t>(k_batch * 1'000 / per_second_);
    expire();
  }

  std::size_t per_second_;
  bool relay_;
  std::int64_t now_ms_ = 1'000;
  rtp::PortPool ports_;
  sip::Engine engine_;
  net::Batch in_;
  sip::Output out_;
  net::Hop caller_ = udp("192.0.2.1", 5061);
  net::Hop callee_ = udp("192.0.2.2", 5062);
  sip::Target target_;
  sip::ForwardOptions options_;
  std::vector<Call> calls_in_batch_;
  std::array<std::int64_t, k_steps> spent_ns_{};
  std::size_t messages_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const std::size_t calls = argc > 1 ? std::strtoul(argv[1], nullptr, 10) / k_batch * k_batch : 51'200;
  const std::size_t per_second = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 1'000;
  const bool relay = argc <= 3 || std::string_view{argv[3]} != "direct";
  if (calls == 0 || per_second == 0 || per_second > k_batch * 1'000) fail("engine_load [CALLS [CALLS_PER_SECOND [relay|direct]]]");
  Load load{per_second, relay};
  load.measure(calls);
}
