// The plane with its real threads and sockets on 127.0.0.1.
#include <doctest/doctest.h>

#include <poll.h>
#include <sys/resource.h>

#include <cerrno>
#include <chrono>
#include <deque>
#include <filesystem>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "media_socket.hpp"
#include "rtp/plane.hpp"
#include "rtp/worker.hpp"

using namespace sipfarm::rtp;
using sipfarm::net::Address;
using sipfarm::testing::Bytes;
using sipfarm::testing::MediaSocket;
using sipfarm::testing::rtcp_packet;
using sipfarm::testing::rtp_packet;

namespace {

constexpr int k_patience_ms = 10'000;

/// The start of `count` neighbouring ports that are free now, well below the ephemeral range's middle.
std::uint16_t free_range(unsigned count) {
  static unsigned next = 21'000 + static_cast<unsigned>(::getpid()) % 500 * 16;
  for (;; next += 2) {
    bool free = true;
    for (unsigned i = 0; i < count && free; ++i) {
      try {
        const MediaSocket probe{"127.0.0.1", static_cast<std::uint16_t>(next + i)};
      } catch (const std::runtime_error&) {
        free = false;
      }
    }
    if (!free) continue;
    const unsigned start = next + next % 2;
    next += count + 2;
    return static_cast<std::uint16_t>(start);
  }
}

struct PerPort {
  static constexpr SocketMode mode = SocketMode::per_port;
};
struct Steered {
  static constexpr SocketMode mode = SocketMode::steered;
};

template <typename Kind>
PlaneConfig config_of() {
  PlaneConfig config;
  config.sockets = Kind::mode;
  return config;
}

struct Rig {
  explicit Rig(PlaneConfig given, std::int64_t rest_ms = 5'000) : pool{rest_ms}, plane{placed(given), pool} {
    for (std::size_t bound = 1; bound != 0;) bound = plane.replenish(now_ms);
  }
  static PlaneConfig placed(PlaneConfig config) {
    config.address = Address::parse("127.0.0.1", 0).value();
    if (config.first_port == PlaneConfig{}.first_port) {
      config.first_port = free_range(16);
      config.last_port = static_cast<std::uint16_t>(config.first_port + 15);
    }
    config.spare_pairs = 8;
    return config;
  }

  std::uint16_t take() { return pool.take(now_ms).value(); }
  void apply(const Command& command) { plane.apply({&command, 1}); }
  static Address at(std::uint16_t port) { return Address::parse("127.0.0.1", port).value(); }

  /// Waits for the next event of the kind; others are dropped.
  Event expect(Event::Kind kind) {
    for (;;) {
      for (std::size_t i = 0; i < events.size(); ++i) {
        if (events[i].kind != kind) continue;
        const Event event = events[i];
        events.erase(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        return event;
      }
      events.clear();
      pollfd ready{plane.event_fd(), POLLIN, 0};
      REQUIRE(::poll(&ready, 1, k_patience_ms) == 1);
      plane.poll_events(events);
    }
  }

  std::int64_t now_ms = 1'000;
  PortPool pool;
  Plane plane;
  std::vector<Event> events;
};

/// Waits until `holds`, which another thread is about to make true.
template <typename Condition>
bool eventually(Condition holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds{k_patience_ms};
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

Remote at(const MediaSocket& phone) {
  Remote remote;
  remote.rtp = phone.address();
  return remote;
}

/// Two phones, their stream and its two ports.
struct Call {
  explicit Call(Rig& on, std::uint64_t id = 1) : rig{on}, port_a{on.take()}, port_b{on.take()} {
    rig.apply(Command::open_relay(id, port_a, port_b, at(alice), at(bob)));
  }
  /// Sends and says what came out. The ports are opened by another thread: packets sent before are dropped, as on any muted
  /// port, so the first one is repeated until it arrives.
  Bytes hears(const MediaSocket& to, const MediaSocket& from, std::uint16_t port, const Bytes& bytes) {
    for (int tries = 0; tries < k_patience_ms / 10; ++tries) {
      from.send(bytes, Rig::at(port));
      if (const auto heard = to.receive(10)) return heard->bytes;
    }
    return {};
  }
  Rig& rig;
  MediaSocket alice, bob;
  std::uint16_t port_a, port_b;
};

}  // namespace

TEST_CASE_TEMPLATE("the plane binds ahead what the pool wants, and no more", Kind, PerPort, Steered) {
  Rig rig{config_of<Kind>()};
  CHECK(rig.pool.free() == 8);
  CHECK(rig.plane.totals().ports_bound == 8);
  CHECK(rig.plane.replenish(rig.now_ms) == 0);
  rig.take();
  CHECK(rig.plane.replenish(rig.now_ms) == 0);  // the range of the test is used up
  CHECK(rig.plane.totals().ports_bound == 8);
}

TEST_CASE_TEMPLATE("a port of another process is skipped, and taken once it is free", Kind, PerPort, Steered) {
  PlaneConfig config = config_of<Kind>();
  config.first_port = free_range(16);
  config.last_port = static_cast<std::uint16_t>(config.first_port + 15);
  auto other = std::make_unique<MediaSocket>("127.0.0.1", static_cast<std::uint16_t>(config.first_port + 3));
  Rig rig{config};
  CHECK(rig.pool.free() == 7);
  CHECK_FALSE(rig.pool.contains(static_cast<std::uint16_t>(config.first_port + 2)));
  CHECK(rig.plane.totals().ports_foreign == 1);
  other.reset();
  rig.now_ms += 1'000;
  CHECK(rig.plane.replenish(rig.now_ms) == 0);
  rig.now_ms += 10'000;
  CHECK(rig.plane.replenish(rig.now_ms) == 1);
  CHECK(rig.pool.contains(static_cast<std::uint16_t>(config.first_port + 2)));
}

TEST_CASE("a wrong address or an empty range is refused when the plane is built") {
  PortPool pool;
  PlaneConfig foreign;
  foreign.address = Address::parse("192.0.2.1", 0).value();  // TEST-NET-1, never ours
  CHECK_THROWS_AS((Plane{foreign, pool}), std::system_error);
  PlaneConfig empty;
  empty.address = Rig::at(0);
  empty.first_port = empty.last_port = 30'000;
  CHECK_THROWS_AS((Plane{empty, pool}), std::invalid_argument);
}

TEST_CASE_TEMPLATE("a process out of descriptors says why it binds no port, and goes on when there are some", Kind, PerPort, Steered) {
  PlaneConfig config = config_of<Kind>();
  config.first_port = free_range(16);
  config.last_port = static_cast<std::uint16_t>(config.first_port + 15);
  config.address = Rig::at(0);
  config.spare_pairs = 8;
  PortPool pool;
  Plane plane{config, pool};
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit none{3, before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &none);
  const std::size_t bound = plane.replenish(0);
  ::setrlimit(RLIMIT_NOFILE, &before);
  CHECK(bound == 0);
  CHECK(plane.totals().bind_errno == EMFILE);
  CHECK(plane.totals().ports_foreign == 0);
  std::size_t later = 0;
  for (std::int64_t now_ms = 5'000; now_ms < 30'000; now_ms += 5'000) later += plane.replenish(now_ms);
  CHECK(later >= 7);  // the port that failed is tried on the next lap
}

TEST_CASE_TEMPLATE("a call is relayed both ways and counted while it runs", Kind, PerPort, Steered) {
  Rig rig{config_of<Kind>()};
  Call call{rig};
  const Bytes there = rtp_packet(1, "from alice");
  const Bytes back = rtp_packet(1, "from bob");
  CHECK(call.hears(call.bob, call.alice, call.port_a, there) == there);
  CHECK(call.hears(call.alice, call.bob, call.port_b, back) == back);
  CHECK(eventually([&] { return rig.plane.totals().packets_relayed == 2; }));  // counted after it was sent
  const auto stats = rig.plane.stats(1);
  REQUIRE(stats);
  CHECK((*stats)[0].packets_in == 1);
  CHECK((*stats)[0].bytes_out == back.size());
  CHECK_FALSE(rig.plane.stats(2));
  CHECK(rig.plane.totals().streams == 1);
}

TEST_CASE_TEMPLATE("a closed stream gives final counters, and its ports serve the next call after their rest", Kind, PerPort, Steered) {
  Rig rig{config_of<Kind>()};
  Call call{rig};
  const Bytes packet = rtp_packet(1, "hello");
  CHECK(call.hears(call.bob, call.alice, call.port_a, packet) == packet);
  rig.apply(Command::close(1));
  rig.pool.give_back(call.port_a, rig.now_ms);
  rig.pool.give_back(call.port_b, rig.now_ms);
  const Event closed = rig.expect(Event::Kind::closed);
  CHECK(closed.stream == 1);
  CHECK(closed.counters[0].packets_in == 1);
  CHECK(closed.counters[1].packets_out == 1);
  CHECK_FALSE(rig.plane.stats(1));
  for (int i = 0; i < 6; ++i) rig.take();
  CHECK_FALSE(rig.pool.take(rig.now_ms + 4'999));
  rig.now_ms += 5'000;
  Call next{rig, 2};
  CHECK(next.port_a == call.port_a);
  const Bytes other = rtp_packet(1, "next call");
  CHECK(next.hears(next.bob, next.alice, next.port_a, other) == other);
}

TEST_CASE_TEMPLATE("a hijacker is refused, also after a re-INVITE that changes nothing", Kind, PerPort, Steered) {
  Rig rig{config_of<Kind>()};
  Call call{rig};
  const MediaSocket stranger;
  const Bytes first = rtp_packet(1, "alice");
  CHECK(call.hears(call.bob, call.alice, call.port_a, first) == first);
  rig.apply(Command::set_remote(1, Side::a, at(call.alice)));
  for (std::uint16_t sequence = 2; sequence < 20; ++sequence) {
    stranger.send(rtp_packet(sequence, "hijack"), Rig::at(call.port_a));
    const Bytes mine = rtp_packet(sequence, "alice");
    CHECK(call.hears(call.bob, call.alice, call.port_a, mine) == mine);
  }
  const Bytes answer = rtp_packet(1, "bob");
  CHECK(call.hears(call.alice, call.bob, call.port_b, answer) == answer);
  CHECK_FALSE(stranger.receive(0));
}

TEST_CASE_TEMPLATE("an echo stream answers its phone", Kind, PerPort, Steered) {
  Rig rig{config_of<Kind>()};
  const MediaSocket phone;
  const std::uint16_t port = rig.take();
  rig.apply(Command::open_echo(5, port, at(phone)));
  std::optional<MediaSocket::Datagram> heard;
  while (!heard) {
    phone.send(rtp_packet(3, "hello", 101), Rig::at(port));
    heard = phone.receive(10);
  }
  CHECK(heard->source == Rig::at(port));
  Bytes masked = heard->bytes;
  REQUIRE(masked.size() == rtp_packet(3, "hello").size());
  CHECK(masked != rtp_packet(3, "hello", 101));
  std::copy_n(rtp_packet(3, "hello", 101).begin() + 8, 4, masked.begin() + 8);
  CHECK(masked == rtp_packet(3, "hello", 101));
}

TEST_CASE_TEMPLATE("silence is told by the thread's own clock", Kind, PerPort, Steered) {
  PlaneConfig config = config_of<Kind>();
  config.silence_timeout_ms = 300;
  Rig rig{config};
  Call talking{rig, 1};
  rig.apply(Command::set_held(1, true));
  Call silent{rig, 2};
  CHECK(rig.expect(Event::Kind::silence).stream == 2);
  rig.apply(Command::set_held(1, false));
  CHECK(rig.expect(Event::Kind::silence).stream == 1);
}

TEST_CASE_TEMPLATE("an open that cannot be carried out is told as failed", Kind, PerPort, Steered) {
  Rig rig{config_of<Kind>()};
  Call call{rig, 1};
  const std::uint16_t spare = rig.take();
  struct Case {
    const char* why;
    Command command;
  };
  const Case cases[] = {
      {"port not bound", Command::open_relay(2, 4, spare)},
      {"port busy", Command::open_relay(3, call.port_a, spare)},
      {"one port for both sides", Command::open_relay(4, spare, spare)},
      {"stream known", Command::open_relay(1, spare, rig.take())},
      {"odd port", Command::open_echo(5, static_cast<std::uint16_t>(spare + 1))},
  };
  for (const Case& each : cases) {
    CAPTURE(each.why);
    rig.apply(each.command);
    CHECK(rig.expect(Event::Kind::failed).stream == each.command.stream);
  }
  CHECK(rig.plane.totals().commands_refused == std::size(cases));
  rig.apply(Command::close(99));
  CHECK(rig.plane.totals().commands_refused == std::size(cases) + 1);
}

TEST_CASE_TEMPLATE("two threads share the streams, and a storm of commands leaves nothing behind", Kind, PerPort, Steered) {
  PlaneConfig config = config_of<Kind>();
  config.threads = 2;
  Rig rig{config, 0};
  std::uint64_t id = 100;
  std::size_t opened = 0;
  std::size_t ended = 0;
  for (int round = 0; round < 2'000; ++round) {
    const auto a = rig.pool.take(rig.now_ms);
    const auto b = rig.pool.take(rig.now_ms);
    REQUIRE(a);
    REQUIRE(b);
    const Command commands[] = {Command::open_relay(++id, *a, *b), Command::set_remote(id, Side::b, {}),
                                Command::set_held(id, true), Command::close(id)};
    rig.plane.apply(commands);
    ++opened;
    rig.pool.give_back(*a, rig.now_ms);  // at once: where the thread is not done yet, the open is told as failed
    rig.pool.give_back(*b, rig.now_ms);
    rig.plane.poll_events(rig.events);
  }
  for (;;) {
    ended += rig.events.size();
    rig.events.clear();
    if (ended >= opened) break;
    pollfd ready{rig.plane.event_fd(), POLLIN, 0};
    REQUIRE(::poll(&ready, 1, k_patience_ms) == 1);
    rig.plane.poll_events(rig.events);
  }
  CHECK(ended == opened);
  CHECK(rig.plane.totals().streams == 0);
  CHECK(rig.pool.free() + rig.pool.resting() == 8);
}

TEST_CASE_TEMPLATE("each of two threads carries its own calls, whichever had the ports before", Kind, PerPort, Steered) {
  PlaneConfig config = config_of<Kind>();
  config.threads = 2;
  Rig rig{config, 0};
  std::uint64_t id = 0;
  for (int round = 0; round < 10; ++round) {
    std::deque<Call> calls;
    for (int i = 0; i < 3; ++i) calls.emplace_back(rig, ++id);  // an odd number: threads change ports
    for (Call& call : calls) {
      const Bytes there = rtp_packet(1, "from alice " + std::to_string(call.port_a));
      const Bytes back = rtp_packet(1, "from bob " + std::to_string(call.port_b));
      CHECK(call.hears(call.bob, call.alice, call.port_a, there) == there);
      CHECK(call.hears(call.alice, call.bob, call.port_b, back) == back);
    }
    for (std::uint64_t ended = id - 2; ended <= id; ++ended) rig.apply(Command::close(ended));
    for (Call& call : calls) {
      rig.expect(Event::Kind::closed);
      rig.pool.give_back(call.port_a, rig.now_ms);
      rig.pool.give_back(call.port_b, rig.now_ms);
    }
  }
}

TEST_CASE_TEMPLATE("stop closes every port, and may be called twice", Kind, PerPort, Steered) {
  Rig rig{config_of<Kind>()};
  Call call{rig};
  rig.plane.stop();
  const MediaSocket again{"127.0.0.1", call.port_a};
  CHECK(again.address().port == call.port_a);
  rig.apply(Command::close(1));
  rig.plane.poll_events(rig.events);
  rig.plane.stop();
  CHECK(rig.plane.totals().ports_bound == 0);
}

TEST_CASE("packets gather only where the rate makes it worthwhile") {
  Coalescer slow{500};
  std::int64_t now_us = 0;
  for (int i = 0; i < 1'000; ++i) CHECK_FALSE(slow.update(1, now_us += 1'000));
  Coalescer fast{500};
  bool busy = false;
  for (int i = 0; i < 1'000; ++i) busy = fast.update(1, now_us += 100);
  CHECK(busy);
  for (int i = 0; i < 20; ++i) busy = fast.update(0, now_us += 1'000);
  CHECK_FALSE(busy);
  Coalescer off{0};
  for (int i = 0; i < 1'000; ++i) CHECK_FALSE(off.update(64, now_us += 100));
}

TEST_CASE_TEMPLATE("bursts on one port lose nothing and keep their order while packets gather", Kind, PerPort, Steered) {
  PlaneConfig config = config_of<Kind>();
  config.coalesce_us = 2'000;
  config.max_packets_per_s = 1'000'000;
  Rig rig{config};
  Call call{rig};
  const Bytes first = rtp_packet(0, "first");
  CHECK(call.hears(call.bob, call.alice, call.port_a, first) == first);
  std::uint16_t sequence = 0;
  for (int burst = 0; burst < 100; ++burst) {
    for (std::uint16_t i = 0; i < 50; ++i) {
      call.alice.send(rtp_packet(static_cast<std::uint16_t>(sequence + i), "burst"), Rig::at(call.port_a));
    }
    for (std::uint16_t i = 0; i < 50; ++i) {
      const auto heard = call.bob.receive(k_patience_ms);
      REQUIRE(heard);
      REQUIRE(heard->bytes == rtp_packet(sequence++, "burst"));
    }
  }
}

TEST_CASE("a plane says what carries its packets, and why not the other") {
  Rig steered{config_of<Steered>()};
  CHECK(steered.plane.socket_mode() == SocketMode::steered);
  CHECK(steered.plane.socket_mode_reason().empty());
  steered.plane.stop();
  CHECK(steered.plane.socket_mode() == SocketMode::steered);
  Rig per_port{config_of<PerPort>()};
  CHECK(per_port.plane.socket_mode() == SocketMode::per_port);
  CHECK(per_port.plane.socket_mode_reason().empty());  // as it was asked for
  PlaneConfig wildcard;
  wildcard.address = Address::parse("0.0.0.0", 0).value();
  PortPool pool;
  CHECK(Plane{wildcard, pool}.socket_mode() == SocketMode::per_port);
  CHECK(Plane{wildcard, pool}.socket_mode_reason() == "the media address is a wildcard");
  wildcard.sockets = SocketMode::steered;
  CHECK_THROWS_AS((Plane{wildcard, pool}), std::system_error);
}

TEST_CASE("planes with one range share it: a port belongs to the first, however each carries") {
  PlaneConfig config = config_of<Steered>();
  config.first_port = free_range(16);
  config.last_port = static_cast<std::uint16_t>(config.first_port + 15);
  for (const SocketMode first : {SocketMode::steered, SocketMode::per_port}) {
    for (const SocketMode second : {SocketMode::steered, SocketMode::per_port}) {
      CAPTURE(static_cast<int>(first));
      CAPTURE(static_cast<int>(second));
      PlaneConfig other = config;
      config.sockets = first;
      other.sockets = second;
      auto rig = std::make_unique<Rig>(config);
      Rig later{other};
      CHECK(rig->pool.free() == 8);
      CHECK(later.pool.free() == 0);
      CHECK(later.plane.totals().ports_foreign == 8);
      CHECK_THROWS_AS((MediaSocket{"127.0.0.1", config.first_port}), std::runtime_error);
      Call call{*rig};
      const Bytes packet = rtp_packet(1, "through the first");
      CHECK(call.hears(call.bob, call.alice, call.port_a, packet) == packet);
      rig->plane.stop();
      later.now_ms += 10'000;
      CHECK(later.plane.replenish(later.now_ms) == 8);
      Call next{later};
      CHECK(next.hears(next.bob, next.alice, next.port_a, packet) == packet);
    }
  }
}

TEST_CASE("steered ports need no descriptors, whatever their number") {
  PlaneConfig config = config_of<Steered>();
  config.first_port = free_range(1'000);
  config.last_port = static_cast<std::uint16_t>(config.first_port + 999);
  const auto descriptors = [] {
    const std::filesystem::directory_iterator all{"/proc/self/fd"};
    return std::distance(begin(all), end(all));
  };
  Rig rig{config};
  const auto with_some = descriptors();
  while (rig.pool.take(rig.now_ms) || rig.plane.replenish(rig.now_ms) > 0) {
  }
  CHECK(rig.plane.totals().ports_bound == 500);
  CHECK(descriptors() == with_some);
}

TEST_CASE("a flood on one port starves no other, and what the kernel kept off is counted") {
  PlaneConfig config = config_of<Steered>();
  config.max_packets_per_s = 100;
  Rig rig{config};
  Call flooded{rig, 1};
  Call calm{rig, 2};
  const Bytes packet = rtp_packet(1, "hello");
  CHECK(flooded.hears(flooded.bob, flooded.alice, flooded.port_a, packet) == packet);
  CHECK(calm.hears(calm.bob, calm.alice, calm.port_a, packet) == packet);
  constexpr std::uint64_t k_flood = 20'000;
  constexpr std::uint64_t k_calm = 20;
  const auto began = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < k_flood; ++i) {
    flooded.alice.send(packet, Rig::at(flooded.port_a));
    if (i % (k_flood / k_calm) == 0) calm.alice.send(packet, Rig::at(calm.port_a));
  }
  for (std::uint64_t i = 0; i < k_calm; ++i) REQUIRE(calm.bob.receive(k_patience_ms));
  const auto refused = [&] { return (*rig.plane.stats(1))[0].flooded; };
  const auto accepted = [&] { return (*rig.plane.stats(1))[0].packets_in; };
  CHECK(eventually([&] { return refused() + accepted() == k_flood + 1; }));
  const auto lasted_s = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - began).count();
  CHECK(accepted() <= static_cast<std::uint64_t>(lasted_s + 2) * config.max_packets_per_s);
  CHECK(eventually([&] { return rig.plane.totals().dropped == refused(); }));
  CHECK(rig.plane.totals().queue_full == 0);
  // The port is open again with the next window.
  CHECK(flooded.hears(flooded.bob, flooded.alice, flooded.port_a, packet) == packet);
}

TEST_CASE("strangers of a locked port and packets for a port at rest do not reach the thread, and are counted") {
  PlaneConfig config = config_of<Steered>();
  Rig rig{config};
  Call call{rig, 1};
  const MediaSocket stranger;
  const Bytes packet = rtp_packet(1, "hello");
  CHECK(call.hears(call.bob, call.alice, call.port_a, packet) == packet);
  for (int i = 0; i < 1'000; ++i) stranger.send(packet, Rig::at(call.port_a));
  CHECK(eventually([&] { return (*rig.plane.stats(1))[0].strangers == 1'000; }));
  CHECK(rig.plane.totals().dropped == 1'000);
  rig.apply(Command::close(1));
  rig.expect(Event::Kind::closed);
  const std::uint64_t before = rig.plane.totals().late;
  for (int i = 0; i < 100; ++i) call.alice.send(packet, Rig::at(call.port_a));
  rig.apply(Command::open_relay(2, call.port_a, call.port_b, at(call.alice), at(call.bob)));
  CHECK(call.hears(call.bob, call.alice, call.port_a, packet) == packet);
  CHECK(rig.plane.totals().late - before >= 100);  // and what came before the port was open
  CHECK((*rig.plane.stats(2))[0].packets_in == 1);
}
