#include <doctest/doctest.h>

#include <array>
#include <deque>
#include <random>
#include <vector>

#include "rtp/rtcp_relay.hpp"
#include "rtp/rtcp_session.hpp"

using namespace sipfarm::rtp;

namespace {

constexpr std::int64_t k_second_us = 1'000'000;
constexpr std::int64_t k_packet_us = 20'000;
constexpr std::uint32_t k_session_bits_per_s = 80'000;

RtcpConfig config_of(std::uint32_t ssrc, std::uint64_t ntp_origin, bool extended = false) {
  RtcpConfig config;
  config.ssrc = ssrc;
  config.cname = {'e', 'n', 'd'};
  config.ntp_origin = ntp_origin;
  config.extended = extended;
  return config;
}

struct Datagram {
  std::int64_t at_us = 0;
  std::vector<std::uint8_t> rtcp;   // empty: RTP
  Reception::Packet rtp;
};

/// One end of a call over a simulated link, in virtual time.
struct End {
  RtcpSession session;
  bool talks = true;
  std::uint16_t sequence = 0;
  std::uint32_t timestamp = 0;
  std::int64_t next_packet_us = 0;
  std::deque<Datagram> arriving{};
  std::int64_t delay_us = 0;        // of what it sends
  double loss = 0;                  // of its RTP
  std::uint64_t lost = 0;
  std::vector<std::int64_t> reports_us{};
  std::size_t rtcp_bytes = 0;
  RtcpWatch::From side = RtcpWatch::From::a;
};

struct Call {
  End a;
  End b;
  std::mt19937 random{1};
  RtcpWatch watch;                  // in the middle of the way
  double chance() { return std::uniform_real_distribution<double>{0, 1}(random); }

  void send(End& from, End& to, std::int64_t now_us) {
    if (from.talks && now_us >= from.next_packet_us) {
      from.session.sent(from.timestamp, 160, now_us);
      const bool lost = chance() < from.loss;
      from.lost += lost;
      if (!lost) to.arriving.push_back({now_us + from.delay_us, {}, {from.session.ssrc(), from.timestamp, from.sequence, 0, false}});
      ++from.sequence;
      from.timestamp += 160;
      from.next_packet_us = now_us + k_packet_us;
    }
    std::array<std::uint8_t, RtcpSession::k_compound_bytes_max> out;
    const VoipMetrics metrics;
    const std::size_t bytes = from.session.expire(now_us, chance(), out, &metrics);
    if (bytes == 0) return;
    from.reports_us.push_back(now_us);
    from.rtcp_bytes += bytes + 28;
    const std::span<const std::uint8_t> compound{out.data(), bytes};
    REQUIRE(is_rtcp(compound));
    watch.pass(from.side, compound, now_us + from.delay_us / 2);
    to.arriving.push_back({now_us + from.delay_us, {compound.begin(), compound.end()}, {}});
  }

  static void receive(End& to, std::int64_t now_us) {
    while (!to.arriving.empty() && to.arriving.front().at_us <= now_us) {
      const Datagram& datagram = to.arriving.front();
      if (datagram.rtcp.empty()) to.session.received(datagram.rtp, datagram.at_us);
      else CHECK(to.session.received(datagram.rtcp, datagram.at_us).valid);
      to.arriving.pop_front();
    }
  }

  void run(std::int64_t from_us, std::int64_t to_us) {
    for (std::int64_t now_us = from_us; now_us < to_us; now_us += 1'000) {
      receive(a, now_us);
      receive(b, now_us);
      send(a, b, now_us);
      send(b, a, now_us);
    }
  }
};

Call make_call(bool extended = false) {
  const std::uint64_t origin = 0xd9e2'a4b1'0000'0000U;
  Call call{End{RtcpSession{config_of(0xa, origin, extended), {}, 0, 0.3}}, End{RtcpSession{config_of(0xb, origin + 0x7777'1234'5678U, extended), {}, 0, 0.9}}, std::mt19937{1}, {}};
  call.b.side = RtcpWatch::From::b;
  return call;
}

}  // namespace

TEST_CASE("rtcp session: both ends learn the way there and back, whatever their clocks show") {
  Call call = make_call();
  call.a.delay_us = 30'000;
  call.b.delay_us = 70'000;
  call.run(0, 60 * k_second_us);
  for (const End* end : {&call.a, &call.b}) {
    REQUIRE(end->session.round_trip().latest_us());
    CHECK(*end->session.round_trip().latest_us() == doctest::Approx(100'000).epsilon(0.001));
    CHECK(end->session.round_trip().smooth_us() == doctest::Approx(100'000).epsilon(0.001));
    CHECK(end->session.round_trip().count() > 5);
  }
}

TEST_CASE("rtcp session: the far end's report tells what the link has lost") {
  Call call = make_call();
  call.a.loss = 0.1;
  call.run(0, 120 * k_second_us);
  const RemoteReport& about_a = call.a.session.remote_report();
  CHECK(about_a.block.ssrc == 0xa);
  CHECK(about_a.block.cumulative_lost == doctest::Approx(static_cast<double>(call.a.lost)).epsilon(0.1));
  CHECK(about_a.block.fraction_lost == doctest::Approx(25).epsilon(0.5));
  CHECK(call.b.session.remote_report().block.cumulative_lost == 0);
  CHECK(call.b.session.reception().totals().lost() == doctest::Approx(static_cast<double>(call.a.lost)).epsilon(0.01));
}

TEST_CASE("rtcp session: reports come at their interval, spread, and within five per cent (RFC 3550 §6.2)") {
  Call call = make_call();
  call.run(0, 1'000 * k_second_us);
  for (const End* end : {&call.a, &call.b}) {
    double sum = 0;
    double least = 1e9;
    double most = 0;
    for (std::size_t i = 1; i < end->reports_us.size(); ++i) {
      const auto gap = static_cast<double>(end->reports_us[i] - end->reports_us[i - 1]) / k_second_us;
      sum += gap;
      least = std::min(least, gap);
      most = std::max(most, gap);
    }
    CHECK(end->reports_us.front() < 3'500'000);
    const double mean = sum / static_cast<double>(end->reports_us.size() - 1);
    CHECK(mean > 4.0);
    CHECK(mean < 6.0);
    CHECK(least >= 2.0);
    CHECK(most <= 7.5);
    CHECK(most - least > 2.0);
    CHECK(static_cast<double>(end->rtcp_bytes) * 8 / 1'000 < 0.05 * k_session_bits_per_s);
  }
}

TEST_CASE("rtcp session: a narrow session reports as seldom as its share allows, a wide one more often if asked to") {
  const auto interval = [](std::uint32_t rtcp_bits_per_s, bool reduced) {
    RtcpConfig config = config_of(1, 0);
    config.bandwidth_bits_per_s = rtcp_bits_per_s;
    config.reduced_minimum = reduced;
    RtcpSession session{config, {}, 0, 0.5};
    std::array<std::uint8_t, 512> out;
    while (session.expire(session.next_deadline_us(), 0.5, out) == 0) {
    }
    const std::int64_t first = session.next_deadline_us();
    while (session.expire(session.next_deadline_us(), 0.5, out) == 0) {
    }
    return session.next_deadline_us() - first;
  };
  CHECK(interval(4'000, false) == doctest::Approx(5 / 1.21828 * k_second_us).epsilon(0.01));
  CHECK(interval(100, false) > 10 * k_second_us);
  CHECK(interval(50'000, true) < k_second_us);
}

TEST_CASE("rtcp session: who only listens sends RRs, and learns the round trip by its own reference time (RFC 3611 §4.4)") {
  Call call = make_call(true);
  call.b.talks = false;
  call.a.delay_us = 20'000;
  call.b.delay_us = 20'000;
  call.run(0, 60 * k_second_us);
  CHECK(call.b.session.packets_sent() == 0);
  REQUIRE(call.b.session.round_trip().latest_us());
  CHECK(*call.b.session.round_trip().latest_us() == doctest::Approx(40'000).epsilon(0.01));
  CHECK(*call.a.session.round_trip().latest_us() == doctest::Approx(40'000).epsilon(0.01));
  CHECK(call.b.session.remote_report().at_us == -1);  // nobody reports on who says nothing
}

TEST_CASE("rtcp session: who has fallen silent is a sender until the second report after it (RFC 3550 §6.3.8)") {
  RtcpSession session{config_of(1, 0), {}, 0, 0.5};
  std::array<std::uint8_t, 512> out;
  session.sent(160, 160, 1'000);
  std::vector<RtcpType> types;
  while (types.size() < 4) {
    const std::size_t bytes = session.expire(session.next_deadline_us(), 0.5, out);
    if (bytes == 0) continue;
    RtcpReader reader{std::span{out}.first(bytes)};
    types.push_back(reader.next()->type());
  }
  CHECK(types[0] == RtcpType::sr);
  CHECK(types[2] == RtcpType::rr);
  CHECK(types[3] == RtcpType::rr);
}

TEST_CASE("rtcp session: its SR counts packets and octets and maps now to media time") {
  RtcpSession session{config_of(1, 0), {}, 0, 0.5};
  std::array<std::uint8_t, 512> out;
  for (std::uint32_t i = 0; i < 100; ++i) session.sent(i * 160, 160, std::int64_t{i} * k_packet_us);
  std::size_t bytes = 0;
  std::int64_t now_us = 0;
  while ((bytes = session.expire(now_us = session.next_deadline_us(), 0.5, out)) == 0) {
  }
  RtcpReader reader{std::span{out}.first(bytes)};
  const SenderInfo info = reader.next()->sender_info().value();
  CHECK(info.packets == 100);
  CHECK(info.octets == 16'000);
  CHECK(info.rtp_timestamp == doctest::Approx(static_cast<double>(now_us) * 0.008).epsilon(0.001));
  CHECK(static_cast<double>(info.ntp) / 4'294'967'296.0 == doctest::Approx(static_cast<double>(now_us) / 1e6).epsilon(1e-6));
}

TEST_CASE("rtcp session: a BYE of the heard source is told, another's is not; our own packets come back unheeded") {
  RtcpSession session{config_of(1, 0), {}, 0, 0.5};
  session.received(Reception::Packet{7, 0, 0, 0, false}, 0);
  std::array<std::uint8_t, 512> out;
  const auto heard = [&](std::uint32_t ssrc) {
    RtcpWriter writer{out};
    writer.report(ssrc, std::nullopt, {});
    writer.bye(ssrc, "");
    return session.received(writer.written(), 1'000);
  };
  CHECK(heard(7).bye);
  CHECK_FALSE(heard(8).bye);
  CHECK_FALSE(heard(1).bye);
  const std::size_t bytes = session.bye(2'000, "over", out);
  RtcpReader reader{std::span{out}.first(bytes)};
  CHECK(reader.next()->report(0).ssrc == 7);
  CHECK(reader.next()->type() == RtcpType::sdes);
  CHECK(reader.next()->bye_reason() == "over");
  CHECK_FALSE(session.received(std::span{out}.first(3), 0).valid);
}

TEST_CASE("rtcp session: an answer to a report that was never sent says nothing") {
  RoundTrip round_trip;
  CHECK_FALSE(round_trip.answered(5, 0, 1'000));
  CHECK_FALSE(round_trip.answered(0, 0, 1'000));
  round_trip.left(5, 0);
  CHECK_FALSE(round_trip.answered(5, 0x10000, 1'000));  // it would have been held for a second within a millisecond
  CHECK_FALSE(round_trip.answered(5, 0, 60 * k_second_us));
  CHECK(round_trip.answered(5, 0x8000, 600'000) == 100'000);
  for (std::uint32_t i = 6; i < 10; ++i) round_trip.left(i, 0);
  CHECK_FALSE(round_trip.answered(5, 0, 1'000));
}

TEST_CASE("rtcp watch: who relays learns how far each end is, and what each hears of the other") {
  Call call = make_call();
  call.a.delay_us = 30'000;
  call.b.delay_us = 70'000;
  call.a.loss = 0.2;
  call.run(0, 60 * k_second_us);
  // An SR takes half of its way from us on, its answer half of the other.
  CHECK(*call.watch.round_trip_to(RtcpWatch::From::b).latest_us() == doctest::Approx(50'000).epsilon(0.01));
  CHECK(*call.watch.round_trip_to(RtcpWatch::From::a).latest_us() == doctest::Approx(50'000).epsilon(0.01));
  CHECK(call.watch.reported_by(RtcpWatch::From::b).block.ssrc == 0xa);
  CHECK(call.watch.reported_by(RtcpWatch::From::b).block.fraction_lost == doctest::Approx(51).epsilon(0.4));
  CHECK(call.watch.reported_by(RtcpWatch::From::a).block.fraction_lost == 0);
  CHECK_FALSE(call.watch.pass(RtcpWatch::From::a, std::array<std::uint8_t, 3>{0x80, 201, 0}, 0));
}
