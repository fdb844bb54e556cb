#include "sip/transaction_layer.hpp"

#include "engine_bench.hpp"

using namespace sipfarm;
using namespace sipfarm::sip;
using namespace sipfarm::tests;

namespace {

struct Layer {
  TimerWheel wheel{0};
  MessagePool pool;
  TransactionLayer layer{wheel, TransactionTimers{}, SipKey{}, {10, 10, 100'000}};
  Output out;
  std::vector<Fired> fired;

  MessageRef parse(const std::string& text) {
    bool ok = false;
    MessageRef message = pool.parse(text, ok);
    REQUIRE(ok);
    return message;
  }
  std::uint64_t server(const Ask& ask, const net::Hop& source = alice, std::int64_t now_ms = 0) {
    std::uint64_t handle = 0;
    REQUIRE(layer.open_server(parse(ask.text()), source, now_ms, handle) != nullptr);
    return handle;
  }
  std::uint64_t client(const Ask& ask, const net::Hop& hop = bob, std::int64_t now_ms = 0) {
    std::uint64_t handle = 0;
    ClientTransaction* transaction = layer.open_client(method_of(ask.method), User::tasks, 5, handle);
    REQUIRE(transaction != nullptr);
    transaction->hop = hop;
    transaction->request = ask.text();
    layer.start(handle, now_ms, out);
    return handle;
  }
  void advance(std::int64_t to_ms) {
    for (auto next = wheel.next_deadline_ms(); next && *next <= to_ms; next = wheel.next_deadline_ms()) {
      const std::int64_t now_ms = *next;
      wheel.expire(now_ms, [&](const ExpiredTimer& timer) { layer.expire(timer.payload, now_ms, out, fired); });
    }
  }
  bool response(std::uint64_t handle, const Ask& ask, const std::string& status, std::int64_t now_ms = 0) {
    return layer.receive_response(handle, *parse(reply(ask.text(), status)), now_ms, out);
  }
  std::uint64_t key_of(const Ask& ask, Method as) { return transaction_key(SipKey{}, *parse(ask.text()), as); }
};

Ask of(const char* method) {
  Ask ask;
  ask.method = method;
  return ask;
}

}  // namespace

TEST_CASE_FIXTURE(Layer, "ACK and CANCEL have the key of their INVITE; branch, sent-by and method tell others apart (RFC 3261 §17.2.3)") {
  const std::uint64_t invite = key_of(of("INVITE"), Method::invite);
  CHECK(key_of(of("ACK"), Method::invite) == invite);
  CHECK(key_of(of("CANCEL"), Method::invite) == invite);
  CHECK(key_of(of("CANCEL"), Method::cancel) != invite);
  CHECK(key_of(of("FOO"), Method::other) != key_of(of("BAR"), Method::other));
  Ask other;
  other.branch = "z9hG4bKalice2";
  CHECK(key_of(other, Method::invite) != invite);
  other = {};
  other.via = "SIP/2.0/UDP 192.0.2.1:5062";
  CHECK(key_of(other, Method::invite) != invite);
  other = {};
  other.cseq = 2;  // a phone that uses its branch twice
  CHECK(key_of(other, Method::invite) != invite);
}

TEST_CASE_FIXTURE(Layer, "over a stream nothing is retransmitted, and waits for stray retransmissions are none (RFC 3261 §17.1.1.2, §17.2)") {
  const net::Hop stream = hop_of("192.0.2.2", 5060, net::Transport::tcp, 3);
  const std::uint64_t handle = client(of("INVITE"), stream);
  advance(31'999);
  CHECK(out.sends.size() == 1);
  CHECK(response(handle, of("INVITE"), "486 Busy", 31'999));
  CHECK(out.sends.size() == 2);  // the ACK
  advance(31'999);
  CHECK(layer.client_count() == 0);
  const std::uint64_t asked = server(of("MESSAGE"), stream, 40'000);
  CHECK(layer.respond(asked, "SIP/2.0 200 OK\r\n\r\n", 200, 40'000, out));
  advance(40'000);
  CHECK(layer.server_count() == 0);
  CHECK(layer.bytes() == 0);
}

TEST_CASE_FIXTURE(Layer, "a 2xx is passed up each time for 64*T1, a failure once and acknowledged each time (RFC 6026 §7.2, RFC 3261 §17.1.1.2)") {
  const std::uint64_t accepted = client(of("INVITE"));
  CHECK(response(accepted, of("INVITE"), "200 OK"));
  CHECK(response(accepted, of("INVITE"), "200 OK"));
  CHECK_FALSE(response(accepted, of("INVITE"), "486 Busy"));
  CHECK_FALSE(response(accepted, of("INVITE"), "180 Ringing"));
  const std::uint64_t failed = client(of("INVITE"));
  out.clear();
  CHECK(response(failed, of("INVITE"), "486 Busy"));
  CHECK_FALSE(response(failed, of("INVITE"), "486 Busy"));
  REQUIRE(out.sends.size() == 2);
  CHECK(out.bytes(out.sends[0]) == out.bytes(out.sends[1]));
  CHECK(out.bytes(out.sends[0]).starts_with("ACK "));
  advance(32'000);
  CHECK(layer.client_count() == 0);
  CHECK(layer.bytes() == 0);
  CHECK(fired.empty());
}

TEST_CASE_FIXTURE(Layer, "the response to a CANCEL is the CANCEL's, though it has the INVITE's branch (RFC 3261 §9.1)") {
  const std::uint64_t invite = client(of("INVITE"));
  layer.cancel(invite, {}, 0, out);
  CHECK(layer.client_count() == 1);  // Calling: too early
  CHECK(response(invite, of("INVITE"), "180 Ringing"));
  layer.cancel(invite, {}, 0, out);
  layer.cancel(invite, {}, 0, out);
  CHECK(layer.client_count() == 2);
  CHECK_FALSE(response(invite, of("BYE"), "200 OK"));
  CHECK(response(invite, of("CANCEL"), "200 OK"));
  CHECK(layer.find_client(invite)->state == State::proceeding);
}

TEST_CASE_FIXTURE(Layer, "timeouts and transport errors are told once, with the user they belong to") {
  client(of("MESSAGE"));
  advance(32'000);
  REQUIRE(fired.size() == 1);
  CHECK(fired[0].what == Fired::What::timeout);
  CHECK(fired[0].user_id == 5);
  const std::uint64_t handle = client(of("MESSAGE"), bob, 40'000);
  layer.transport_failed(handle, 40'000, out, fired);
  layer.transport_failed(handle, 40'000, out, fired);
  CHECK(fired.size() == 2);
  CHECK(fired[1].what == Fired::What::transport_error);
}

TEST_CASE_FIXTURE(Layer, "the request is let go with the final response, what may be repeated is kept") {
  const std::uint64_t handle = server(of("MESSAGE"));
  CHECK(pool.out() == 1);
  CHECK(layer.respond(handle, "SIP/2.0 200 OK\r\n\r\n", 200, 0, out));
  CHECK(pool.out() == 0);
  CHECK_FALSE(layer.respond(handle, "SIP/2.0 404 No\r\n\r\n", 404, 0, out));
  out.clear();
  layer.receive_request(handle, Input::request, 0, out);
  CHECK(out.bytes(out.sends[0]) == "SIP/2.0 200 OK\r\n\r\n");
}

TEST_CASE_FIXTURE(Layer, "tables are bounded in number and in bytes") {
  for (int i = 0; i < 10; ++i) {
    Ask ask;
    ask.branch += std::to_string(i);
    server(ask);
  }
  std::uint64_t handle = 0;
  CHECK(layer.open_server(parse(of("INVITE").text()), alice, 0, handle) == nullptr);
  Ask large = of("MESSAGE");
  large.body.assign(60'000, 'x');
  client(large);
  client(large);
  CHECK(layer.bytes() > 100'000);
  CHECK(layer.open_client(Method::message, User::none, 0, handle) == nullptr);
  advance(40'000);
  CHECK(layer.bytes() < 10'000);  // the 100s of the INVITEs
  CHECK(layer.open_client(Method::message, User::none, 0, handle) != nullptr);
}
