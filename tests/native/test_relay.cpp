// The packet path of one thread, driven turn by turn with a clock of the test's own. On loopback a datagram is in
// the receiver's queue when sendto returns, so "nothing came" needs no waiting.
#include <doctest/doctest.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <vector>

#include "relay_rig.hpp"

using namespace sipfarm::rtp;
using namespace sipfarm::testing;

TEST_CASE_TEMPLATE("RTP and RTCP pass byte for byte, both ways, from the right ports", Kind, PerPort, Steered) {
  for (const char* host : {"127.0.0.1", "::1"}) {
    CAPTURE(host);
    Call<Kind> call{{}, host};
    for (std::uint16_t sequence = 0; sequence < 5; ++sequence) {
      const Bytes there = rtp_packet(sequence, "from alice");
      const auto at_bob = call.hears(call.bob, call.alice, Side::a, there);
      REQUIRE(at_bob);
      CHECK(at_bob->bytes == there);
      CHECK(at_bob->source == call.rtp(Side::b));
      const Bytes back = rtp_packet(sequence, "from bob", 101);
      const auto at_alice = call.hears(call.alice, call.bob, Side::b, back);
      REQUIRE(at_alice);
      CHECK(at_alice->bytes == back);
      CHECK(at_alice->source == call.rtp(Side::a));
    }
    call.alice_rtcp.send(rtcp_packet(), call.rtcp(Side::a));
    call.rig.carry();
    const auto report = call.bob_rtcp.receive(0);
    REQUIRE(report);
    CHECK(report->bytes == rtcp_packet());
    CHECK(report->source == call.rtcp(Side::b));
    CHECK(call.counters(Side::a).packets_in == 6);
    CHECK(call.counters(Side::b).packets_out == 6);
    CHECK(call.counters(Side::a).bytes_in == call.counters(Side::b).bytes_out);
    CHECK(call.counters(Side::b).packets_in == 5);
    CHECK(call.rig.events().empty());  // the SDP told the truth: nothing to report
  }
}

TEST_CASE_TEMPLATE("RTCP on the RTP port goes to each side as that side has agreed", Kind, PerPort, Steered) {
  for (const int agreed : {1, 2, 3}) {
    const bool mux_a = (agreed & 1) != 0;
    const bool mux_b = (agreed & 2) != 0;
    CAPTURE(mux_a);
    CAPTURE(mux_b);
    Call<Kind> call;
    Remote a = at(call.alice);
    a.rtcp_mux = mux_a;
    if (!mux_a) a.rtcp = call.alice_rtcp.address();
    Remote b = at(call.bob);
    b.rtcp_mux = mux_b;
    if (!mux_b) b.rtcp = call.bob_rtcp.address();
    call.rig.relay_.set_remote(*call.stream, Side::a, a, call.rig.now_ms);
    call.rig.relay_.set_remote(*call.stream, Side::b, b, call.rig.now_ms);
    (mux_a ? call.alice : call.alice_rtcp).send(rtcp_packet(), mux_a ? call.rtp(Side::a) : call.rtcp(Side::a));
    call.rig.carry();
    const auto report = (mux_b ? call.bob : call.bob_rtcp).receive(0);
    REQUIRE(report);
    CHECK(report->bytes == rtcp_packet());
    CHECK(report->source == (mux_b ? call.rtp(Side::b) : call.rtcp(Side::b)));
  }
}

TEST_CASE_TEMPLATE("without rtcp-mux payload types 64..95 with a marker stay RTP", Kind, PerPort, Steered) {
  Call<Kind> call;
  Bytes packet = rtp_packet(1, "marked", 200);
  const auto heard = call.hears(call.bob, call.alice, Side::a, packet);
  REQUIRE(heard);
  CHECK(heard->bytes == packet);
}

TEST_CASE_TEMPLATE("STUN, DTLS and ZRTP pass, anything else on an RTP stream is dropped and counted", Kind, PerPort, Steered) {
  Call<Kind> call;
  for (const int first : {0, 1, 17, 22, 63}) {
    Bytes packet(64, 0x55);
    packet[0] = static_cast<std::uint8_t>(first);
    CHECK(call.hears(call.bob, call.alice, Side::a, packet));
  }
  for (const int first : {4, 15, 64, 127, 192, 255}) {
    Bytes packet(64, 0x55);
    packet[0] = static_cast<std::uint8_t>(first);
    CHECK_FALSE(call.hears(call.bob, call.alice, Side::a, packet));
  }
  CHECK_FALSE(call.hears(call.bob, call.alice, Side::a, {}));
  CHECK_FALSE(call.hears(call.bob, call.alice, Side::a, {0x80}));
  CHECK(call.counters(Side::a).malformed == 8);
}

TEST_CASE_TEMPLATE("a stream that is not RTP passes every datagram", Kind, PerPort, Steered) {
  Rig<Kind> rig;
  MediaSocket alice;
  MediaSocket bob;
  Command command = Command::open_relay(1, 0, 0, at(alice), at(bob));
  command.opaque = true;
  Stream& stream = rig.open(command);
  for (int first = 0; first < 256; ++first) {
    const Bytes packet{static_cast<std::uint8_t>(first), 200, 3};
    alice.send(packet, rig.address(stream.face(Side::a).rtp));
    rig.carry();
    const auto heard = bob.receive(0);
    REQUIRE(heard);
    CHECK(heard->bytes == packet);
  }
}

TEST_CASE_TEMPLATE("a phone behind a NAT is learned and told, and a hijacker after it is refused", Kind, PerPort, Steered) {
  Call<Kind> call;
  Remote wrong = at(call.alice);
  wrong.rtp.port = 9;  // what the phone believes its address to be
  wrong.rtp.ip[3] = 2;
  call.rig.relay_.set_remote(*call.stream, Side::a, wrong, call.rig.now_ms);
  REQUIRE(call.hears(call.bob, call.alice, Side::a, rtp_packet(1, "learn me")));
  const auto events = call.rig.events();
  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == Event::Kind::latched);
  CHECK(events[0].stream == 7);
  CHECK(events[0].side == Side::a);
  CHECK(events[0].address == call.alice.address());
  CHECK(call.hears(call.alice, call.bob, Side::b, rtp_packet(1, "to the learned address")));

  for (const std::int64_t step_ms : {20, 3'100, 100'000}) {  // in the window, at its end, long after
    call.rig.now_ms += step_ms;
    REQUIRE(call.hears(call.bob, call.alice, Side::a, rtp_packet(2, "still me")));
    CHECK_FALSE(call.hears(call.bob, call.stranger, Side::a, rtp_packet(3, "hijack")));
    CHECK(call.hears(call.alice, call.bob, Side::b, rtp_packet(4, "for alice only")));
    CHECK_FALSE(call.stranger.receive(0));
  }
  CHECK(call.counters(Side::a).strangers == (Kind::k_counts_refused ? 3 : 1));  // those after the lock the kernel refused
}

TEST_CASE_TEMPLATE("packets of a stranger that were queued before the lock do not slip through it", Kind, PerPort, Steered) {
  Call<Kind> call;
  for (int i = 0; i < 10; ++i) {
    call.alice.send(rtp_packet(1, "alice"), call.rtp(Side::a));
    call.stranger.send(rtp_packet(1, "stranger"), call.rtp(Side::a));
  }
  call.rig.carry();
  for (int i = 0; i < 10; ++i) {
    const auto heard = call.bob.receive(0);
    REQUIRE(heard);
    CHECK(heard->bytes == rtp_packet(1, "alice"));
  }
  CHECK_FALSE(call.bob.receive(0));
  CHECK(call.counters(Side::a).strangers == 10);
}

TEST_CASE_TEMPLATE("a new SDP moves the latch to the new address", Kind, PerPort, Steered) {
  Call<Kind> call;
  REQUIRE(call.hears(call.bob, call.alice, Side::a, rtp_packet(1, "old")));
  const MediaSocket moved;
  call.rig.relay_.set_remote(*call.stream, Side::a, at(moved), call.rig.now_ms);
  CHECK(call.hears(moved, call.bob, Side::b, rtp_packet(1, "to the new address at once")));
  CHECK(call.hears(call.bob, call.alice, Side::a, rtp_packet(2, "late packet from the old address")));
  CHECK(call.hears(moved, call.bob, Side::b, rtp_packet(2, "not sent back there")));
  CHECK(call.hears(call.bob, moved, Side::a, rtp_packet(3, "new")));
  CHECK_FALSE(call.hears(call.bob, call.alice, Side::a, rtp_packet(4, "old")));
  CHECK_FALSE(call.alice.receive(0));
}

TEST_CASE_TEMPLATE("the same SDP again does not interrupt a locked stream", Kind, PerPort, Steered) {
  Call<Kind> call;
  REQUIRE(call.hears(call.bob, call.alice, Side::a, rtp_packet(1, "before")));
  call.rig.relay_.set_remote(*call.stream, Side::a, at(call.alice), call.rig.now_ms);
  CHECK(call.stream->face(Side::a).rtp.locked);
  CHECK(call.hears(call.bob, call.alice, Side::a, rtp_packet(2, "after")));
}

TEST_CASE_TEMPLATE("before the answer the callee is heard and not sent to", Kind, PerPort, Steered) {
  Rig<Kind> rig;
  const MediaSocket alice;
  const MediaSocket bob;
  Stream& stream = rig.open(Command::open_relay(1, 0, 0, at(alice)));
  bob.send(rtp_packet(1, "early media"), rig.address(stream.face(Side::b).rtp));
  alice.send(rtp_packet(1, "too early"), rig.address(stream.face(Side::a).rtp));
  rig.carry();
  CHECK(alice.receive(0));
  CHECK_FALSE(bob.receive(0));
  CHECK(stream.read_counters()[1].unsent == 1);
  rig.relay_.set_remote(stream, Side::b, at(bob), rig.now_ms);
  alice.send(rtp_packet(2, "now"), rig.address(stream.face(Side::a).rtp));
  rig.carry();
  CHECK(bob.receive(0));
}

TEST_CASE_TEMPLATE("a hold by 0.0.0.0 and a multicast address are not sent to", Kind, PerPort, Steered) {
  for (const char* host : {"0.0.0.0", "239.1.2.3"}) {
    CAPTURE(host);
    Call<Kind> call;
    Remote held;
    held.rtp = Address::parse(host, 4'000).value();
    call.rig.relay_.set_remote(*call.stream, Side::a, held, call.rig.now_ms);
    call.bob.send(rtp_packet(1, "music"), call.rtp(Side::b));
    call.rig.carry();
    CHECK(call.counters(Side::a).unsent == 1);
    CHECK(call.counters(Side::a).packets_out == 0);
  }
}

TEST_CASE_TEMPLATE("a far end that is not there yet costs no packet of a later one", Kind, PerPort, Steered) {
  Call<Kind> call;
  std::optional<MediaSocket> gone{std::in_place};
  const std::uint16_t port = gone->address().port;
  call.rig.relay_.set_remote(*call.stream, Side::b, at(*gone), call.rig.now_ms);
  REQUIRE(call.hears(call.alice, *gone, Side::b, rtp_packet(1, "locks side b")));
  gone.reset();
  for (std::uint16_t sequence = 1; sequence < 4; ++sequence) {
    call.alice.send(rtp_packet(sequence, "port unreachable"), call.rtp(Side::a));
    call.rig.carry();
  }
  const MediaSocket back{"127.0.0.1", port};
  CHECK(call.hears(back, call.alice, Side::a, rtp_packet(9, "hello again")));
}

TEST_CASE_TEMPLATE("an echo comes back with another SSRC, telephone-event too, RTCP does not", Kind, PerPort, Steered) {
  Rig<Kind> rig;
  const MediaSocket phone;
  Stream& stream = rig.open(Command::open_echo(1, 0, at(phone)));
  const Address rtp = rig.address(stream.face(Side::a).rtp);
  for (const std::uint8_t payload_type : Bytes{0, 9, 101}) {
    phone.send(rtp_packet(77, "hello", payload_type), rtp);
    rig.carry();
    const auto heard = phone.receive(0);
    REQUIRE(heard);
    CHECK(heard->source == rtp);
    CHECK(heard->bytes == rtp_packet(77, "hello", payload_type, 0x0a0b0c0d));
  }
  phone.send(rtcp_packet(), rig.address(stream.face(Side::a).rtcp));
  phone.send(rtcp_packet(), rtp);
  phone.send(Bytes(20, 0), rtp);  // STUN
  rig.carry();
  CHECK_FALSE(phone.receive(0));
}

TEST_CASE_TEMPLATE("a stream is told silent when neither side has sent for the timeout, and again after each further one", Kind, PerPort, Steered) {
  RelayConfig config;
  config.silence_timeout_ms = 60'000;
  Call<Kind> call{config};
  call.rig.now_ms += 50'000;
  REQUIRE(call.hears(call.alice, call.bob, Side::b, rtp_packet(1, "one side speaks")));
  call.rig.now_ms += 59'999;
  call.rig.relay_.sweep(call.rig.now_ms);
  CHECK(call.rig.events().empty());
  call.rig.now_ms += 1;
  call.rig.relay_.sweep(call.rig.now_ms);
  const auto events = call.rig.events();
  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == Event::Kind::silence);
  CHECK(events[0].counters[1].packets_in == 1);
  call.rig.now_ms += 59'999;
  call.rig.relay_.sweep(call.rig.now_ms);
  CHECK(call.rig.events().empty());
  call.rig.now_ms += 1;
  call.rig.relay_.sweep(call.rig.now_ms);
  CHECK(call.rig.events().size() == 1);
}

TEST_CASE_TEMPLATE("a held stream is not told silent, and has its full time after the hold", Kind, PerPort, Steered) {
  Call<Kind> call;
  call.rig.relay_.set_held(*call.stream, true, call.rig.now_ms);
  call.rig.now_ms += 500'000;
  call.rig.relay_.sweep(call.rig.now_ms);
  CHECK(call.rig.events().empty());
  call.rig.relay_.set_held(*call.stream, false, call.rig.now_ms);
  call.rig.now_ms += 59'999;
  call.rig.relay_.sweep(call.rig.now_ms);
  CHECK(call.rig.events().empty());
  call.rig.now_ms += 1;
  call.rig.relay_.sweep(call.rig.now_ms);
  CHECK(call.rig.events().size() == 1);
}

TEST_CASE_TEMPLATE("a closed stream carries nothing, and its ports keep nothing for the next", Kind, PerPort, Steered) {
  Call<Kind> call;
  REQUIRE(call.hears(call.bob, call.alice, Side::a, rtp_packet(1, "last words")));
  call.alice.send(rtp_packet(2, "queued when the call ended"), call.rtp(Side::a));
  call.rig.relay_.close(*call.stream, call.rig.now_ms);
  call.rig.carry();
  CHECK_FALSE(call.rig.relay_.flush());
  const auto events = call.rig.events();
  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == Event::Kind::closed);
  CHECK(events[0].counters[0].packets_in == 1);
  for (int i = 0; i < 100; ++i) call.alice.send(rtp_packet(3, "still talking"), call.rtp(Side::a));
  call.rig.carry();
  CHECK_FALSE(call.bob.receive(0));

  // The same sockets in a new call with other phones.
  const MediaSocket carol;
  Stream next;
  next.id = 8;
  for (const Side side : {Side::a, Side::b}) {
    for (Channel Face::*channel : {&Face::rtp, &Face::rtcp}) {
      (next.face(side).*channel).fd = (call.stream->face(side).*channel).fd;
      (next.face(side).*channel).port = (call.stream->face(side).*channel).port;
    }
  }
  call.rig.relay_.open(next, Command::open_relay(8, 0, 0, at(carol), at(call.bob)), call.rig.now_ms);
  call.rig.carry();
  CHECK_FALSE(call.bob.receive(0));
  CHECK(call.hears(call.bob, carol, Side::a, rtp_packet(1, "carol")));
}

TEST_CASE_TEMPLATE("a port takes no more than its packet rate, so that a loop of ports cannot spin", Kind, PerPort, Steered) {
  RelayConfig config;
  config.max_packets_per_s = 50;
  Rig<Kind> rig{config};
  Stream& one = rig.open(Command::open_relay(1, 0, 0));
  Stream& two = rig.open(Command::open_relay(2, 0, 0));
  const auto aim = [&rig](Stream& stream, Side side, const Channel& target) {
    Remote remote;
    remote.rtp = rig.address(target);
    rig.relay_.set_remote(stream, side, remote, rig.now_ms);
  };
  aim(one, Side::b, two.face(Side::a).rtp);
  aim(two, Side::a, one.face(Side::b).rtp);
  aim(two, Side::b, one.face(Side::a).rtp);
  aim(one, Side::a, two.face(Side::b).rtp);
  const MediaSocket spark;
  spark.send(rtp_packet(1, "round and round"), rig.address(one.face(Side::a).rtp));
  rig.carry();  // would not return
  std::uint64_t flooded = 0;
  for (const Stream* stream : {&one, &two}) {
    for (const auto& counters : stream->read_counters()) flooded += counters.flooded;
  }
  CHECK(flooded > 0);
}

TEST_CASE_TEMPLATE("a closed event that finds no room is told later, none is lost", Kind, PerPort, Steered) {
  Rig<Kind> rig;
  std::vector<Stream*> streams;
  for (std::uint64_t id = 0; id < 40; ++id) {
    streams.push_back(&rig.open(Command::open_relay(id, 0, 0)));
  }
  for (Stream* stream : streams) rig.relay_.close(*stream, rig.now_ms);
  rig.carry();
  std::size_t told = 0;
  for (int i = 0; i < 10; ++i) {
    rig.relay_.flush();
    told += rig.events().size();
  }
  CHECK(told == 40);
}

TEST_CASE_TEMPLATE("what leaves carries the codepoint, and its source is not the machine's choice", Kind, PerPort, Steered) {
  for (const char* host : {"127.0.0.1", "127.9.8.7", "::1"}) {
    CAPTURE(host);
    Call<Kind> call{{}, host};
    const bool v6 = call.bob.address().v6;
    const int on = 1;
    if (v6) {
      ::setsockopt(call.bob.descriptor(), IPPROTO_IPV6, IPV6_RECVTCLASS, &on, sizeof on);
    } else {
      ::setsockopt(call.bob.descriptor(), IPPROTO_IP, IP_RECVTOS, &on, sizeof on);
    }
    call.alice.send(rtp_packet(1, "expedited"), call.rtp(Side::a));
    call.rig.carry();
    Bytes bytes(100);
    alignas(cmsghdr) std::array<char, 64> control{};
    sockaddr_storage source{};
    iovec data{bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_name = &source;
    message.msg_namelen = sizeof source;
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    REQUIRE(::recvmsg(call.bob.descriptor(), &message, MSG_DONTWAIT) > 0);
    CHECK(Address::from_sockaddr(source).value() == call.rtp(Side::b));
    const cmsghdr* const told = CMSG_FIRSTHDR(&message);
    REQUIRE(told != nullptr);
    CHECK(*CMSG_DATA(told) == 46 << 2);
  }
}

TEST_CASE_TEMPLATE("a datagram of any size passes where the m-line is not RTP", Kind, PerPort, Steered) {
  for (const char* host : {"127.0.0.1", "::1"}) {
    Rig<Kind> rig{{}, host};
    const MediaSocket alice{host};
    const MediaSocket bob{host};
    Command command = Command::open_relay(1, 0, 0, at(alice), at(bob));
    command.opaque = true;
    Stream& stream = rig.open(command);
    for (const unsigned size : {0U, 1U, 1'471U, 1'472U, 1'473U, 9'001U, 65'507U}) {
      CAPTURE(size);
      Bytes packet(size);
      for (std::size_t i = 0; i < size; ++i) packet[i] = static_cast<std::uint8_t>(i * 7);
      alice.send(packet, rig.address(stream.face(Side::a).rtp));
      rig.carry();
      const auto heard = bob.receive(0);
      REQUIRE(heard);
      CHECK(heard->bytes == packet);
    }
  }
}
