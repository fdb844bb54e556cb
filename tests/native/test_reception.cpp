#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <vector>

#include "rtp/reception.hpp"

using namespace sipfarm::rtp;

namespace {

/// A packet with its place in the stream, as the sender alone knows it.
struct Sent {
  std::uint64_t place = 0;
  std::int64_t arrival_us = 0;
};

struct Link {
  double loss = 0;
  double stays_bad = 0;      // chance that a loss is followed by another
  double duplicates = 0;
  int delay_spread_us = 0;
};

std::vector<Sent> cross(const Link& link, std::uint64_t packets, unsigned seed) {
  std::mt19937 random{seed};
  std::uniform_real_distribution<double> chance{0, 1};
  std::uniform_int_distribution<int> delay{0, std::max(1, link.delay_spread_us)};
  std::vector<Sent> arrivals;
  bool bad = false;
  for (std::uint64_t place = 0; place < packets; ++place) {
    bad = chance(random) < (bad ? std::max(link.stays_bad, link.loss) : link.loss);
    if (bad && place > 0) continue;
    const std::int64_t at = 50'000 + static_cast<std::int64_t>(place) * 20'000 + (place > 0 ? delay(random) : 0);
    arrivals.push_back({place, at});
    if (chance(random) < link.duplicates) arrivals.push_back({place, at + delay(random)});
  }
  std::stable_sort(arrivals.begin(), arrivals.end(), [](const Sent& a, const Sent& b) { return a.arrival_us < b.arrival_us; });
  return arrivals;
}

/// What RFC 3611 §4.7.2 says of a row of packets, by looking at all of it.
BurstGap::Sums dumb_bursts(const std::vector<bool>& came) {
  BurstGap::Sums sums;
  sums.packets = came.size();
  std::vector<std::size_t> lost;
  for (std::size_t i = 0; i < came.size(); ++i) {
    if (came[i]) continue;
    lost.push_back(i);
    sums.runs += i == 0 || came[i - 1];
  }
  sums.lost = lost.size();
  for (std::size_t i = 0; i < lost.size();) {
    std::size_t last = i;
    while (last + 1 < lost.size() && lost[last + 1] - lost[last] - 1 < BurstGap::k_gap_threshold) ++last;
    if (last > i) {
      ++sums.bursts;
      sums.burst_packets += lost[last] - lost[i] + 1;
      sums.burst_lost += last - i + 1;
    }
    i = last + 1;
  }
  return sums;
}

void check_same(const BurstGap::Sums& found, const BurstGap::Sums& wanted) {
  CHECK(found.packets == wanted.packets);
  CHECK(found.lost == wanted.lost);
  CHECK(found.runs == wanted.runs);
  CHECK(found.bursts == wanted.bursts);
  CHECK(found.burst_packets == wanted.burst_packets);
  CHECK(found.burst_lost == wanted.burst_lost);
}

Reception::Packet packet_of(std::uint64_t place, std::uint16_t first = 65'500, std::uint32_t ssrc = 1) {
  return {ssrc, static_cast<std::uint32_t>(place * 160 + 0xffff'ff00U), static_cast<std::uint16_t>(place + first), 0, false};
}

}  // namespace

TEST_CASE("reception: loss, duplicates, order, bursts and jitter agree with a reader that keeps everything") {
  const Link links[] = {
      {}, {0.02, 0, 0, 0}, {0.01, 0.7, 0, 3'000}, {0.3, 0.5, 0.05, 10'000}, {0, 0, 0.1, 100'000}, {0.05, 0.95, 0.01, 60'000}, {0.6, 0.6, 0, 0},
  };
  unsigned seed = 1;
  for (const Link& link : links) {
    for (int round = 0; round < 4; ++round, ++seed) {
      const std::vector<Sent> arrivals = cross(link, 20'000 * (round == 3 ? 7 : 1), seed);
      Reception reception;
      std::map<std::uint64_t, int> seen;
      std::uint64_t highest = 0;
      std::uint64_t out_of_order = 0;
      double jitter = 0;
      double transit = 0;
      for (const Sent& sent : arrivals) {
        reception.receive(packet_of(sent.place), sent.arrival_us);
        const bool again = ++seen[sent.place] > 1;
        out_of_order += sent.place < highest && !again;
        highest = std::max(highest, sent.place);
        if (again) continue;
        const double now = static_cast<double>(sent.arrival_us) * 8'000 / 1e6 - static_cast<double>(sent.place) * 160;
        if (seen.size() > 1) jitter += (std::abs(now - transit) - jitter) / 16;
        transit = now;
      }
      std::vector<bool> came(highest + 1);
      for (const auto& [place, count] : seen) came[place] = true;
      const ReceptionTotals totals = reception.totals();
      CAPTURE(seed);
      CHECK(totals.expected == highest + 1);
      CHECK(totals.received == arrivals.size());
      CHECK(totals.duplicates == arrivals.size() - seen.size());
      CHECK(totals.out_of_order == out_of_order);
      CHECK(totals.sources == 1);
      CHECK(reception.extended_highest_sequence() == 65'500 + highest);
      CHECK(reception.jitter_ticks() == doctest::Approx(jitter).epsilon(0.05).scale(20));
      check_same(reception.bursts(), dumb_bursts(came));
    }
  }
}

TEST_CASE("reception: bursts of any pattern agree with the definition") {
  std::mt19937 random{5};
  for (int round = 0; round < 500; ++round) {
    std::vector<bool> came(1 + random() % 200);
    for (std::size_t i = 0; i < came.size(); ++i) came[i] = random() % 20 != 0;
    BurstGap model;
    for (const bool each : came) each ? model.came() : model.lost();
    check_same(model.sums(), dumb_bursts(came));
  }
}

TEST_CASE("reception: the fraction lost is that since the last report, the sum that of all (RFC 3550 appendix A.3)") {
  Reception reception;
  for (std::uint64_t place = 0; place < 100; ++place) {
    if (place % 4 != 1) reception.receive(packet_of(place), static_cast<std::int64_t>(place) * 20'000);
  }
  ReportBlock block = reception.report();
  CHECK(block.fraction_lost == 64);
  CHECK(block.cumulative_lost == 25);
  CHECK(block.extended_highest_sequence == 65'599);
  for (std::uint64_t place = 100; place < 200; ++place) reception.receive(packet_of(place), static_cast<std::int64_t>(place) * 20'000);
  block = reception.report();
  CHECK(block.fraction_lost == 0);
  CHECK(block.cumulative_lost == 25);
  reception.receive(packet_of(199), 4'000'000);
  CHECK(reception.report().cumulative_lost == 24);  // a duplicate counts as received
}

TEST_CASE("reception: a packet from before the first, and one from long ago, move nothing") {
  Reception reception;
  reception.receive(packet_of(10), 0);
  CHECK(reception.receive(packet_of(9), 100) == Reception::Verdict::stray);
  CHECK(reception.totals().expected == 1);
  for (std::uint64_t place = 11; place < 300; ++place) reception.receive(packet_of(place), static_cast<std::int64_t>(place) * 20'000);
  CHECK(reception.receive(packet_of(220), 6'000'000) == Reception::Verdict::counted);
  CHECK(reception.bursts().lost == 0);
}

TEST_CASE("reception: a new source is believed at its second packet, and its sums are added") {
  Reception reception;
  for (std::uint64_t place = 0; place < 100; ++place) {
    if (place != 50) reception.receive(packet_of(place), static_cast<std::int64_t>(place) * 20'000);
  }
  CHECK(reception.receive(packet_of(0, 7, 2), 2'000'000) == Reception::Verdict::stray);
  CHECK(reception.ssrc() == 1);
  for (std::uint64_t place = 1; place < 50; ++place) {
    CHECK(reception.receive(packet_of(place, 7, 2), 2'000'000 + static_cast<std::int64_t>(place) * 20'000) == Reception::Verdict::counted);
  }
  CHECK(reception.ssrc() == 2);
  CHECK(reception.totals().sources == 2);
  CHECK(reception.totals().strays == 0);
  CHECK(reception.totals().expected == 150);
  CHECK(reception.totals().lost() == 1);
  CHECK(reception.report().cumulative_lost == 0);  // of the new source alone
  CHECK(reception.bursts().packets == 150);
  CHECK(reception.bursts().lost == 1);
}

TEST_CASE("reception: one packet of a stranger changes nothing") {
  Reception reception;
  for (std::uint64_t place = 0; place < 200; ++place) {
    reception.receive(packet_of(place), static_cast<std::int64_t>(place) * 20'000);
    if (place % 50 == 9) CHECK(reception.receive(packet_of(place * 7, 900, 77), 0) == Reception::Verdict::stray);
  }
  CHECK(reception.totals().sources == 1);
  CHECK(reception.totals().strays == 4);
  CHECK(reception.totals().lost() == 0);
  CHECK(reception.jitter_ticks() == 0);
}

TEST_CASE("reception: a sequence that starts anew is followed (RFC 3550 appendix A.1)") {
  Reception reception;
  for (std::uint64_t place = 0; place < 10; ++place) reception.receive(packet_of(place, 100), static_cast<std::int64_t>(place) * 20'000);
  for (std::uint64_t place = 0; place < 10; ++place) reception.receive(packet_of(place, 40'000), static_cast<std::int64_t>(place + 10) * 20'000);
  CHECK(reception.totals().sources == 2);
  CHECK(reception.totals().expected == 20);
  CHECK(reception.totals().lost() == 0);
  for (std::uint64_t place = 0; place < 10; ++place) reception.receive(packet_of(place, 65'535, 3), static_cast<std::int64_t>(place + 20) * 20'000);
  CHECK(reception.totals().lost() == 0);  // it begins where the numbers wrap
  CHECK(reception.extended_highest_sequence() == 65'535 + 9);
}

TEST_CASE("reception: jitter of a constant spread, in the clock of the codec") {
  for (const std::uint32_t rate : {8'000U, 16'000U, 48'000U}) {
    PayloadClocks clocks;
    clocks.set(96, rate);
    Reception reception{clocks};
    for (std::uint32_t i = 0; i < 2'000; ++i) {  // every other packet 4 ms late
      const std::int64_t at = std::int64_t{i} * 20'000 + (i % 2 == 0 ? 0 : 4'000);
      reception.receive({1, i * (rate / 50), static_cast<std::uint16_t>(i), 96, false}, at);
    }
    CHECK(reception.jitter_us() == doctest::Approx(4'000).epsilon(0.02));
    CHECK(reception.clock_rate_hz() == rate);
  }
}

TEST_CASE("reception: a codec with another clock goes on with the jitter it had (RFC 7160 §4)") {
  PayloadClocks clocks;
  clocks.set(0, 8'000);
  clocks.set(96, 48'000);
  Reception reception{clocks};
  std::uint32_t timestamp = 0;
  std::int64_t at = 0;
  for (std::uint32_t i = 0; i < 4'000; ++i, at += 20'000) {
    const bool opus = i >= 2'000;
    reception.receive({1, timestamp, static_cast<std::uint16_t>(i), static_cast<std::uint8_t>(opus ? 96 : 0), false}, at + (i % 2 == 0 ? 0 : 4'000));
    timestamp += opus ? 960 : 160;
    if (i > 500) CHECK(reception.jitter_us() == doctest::Approx(4'000).epsilon(0.05));
  }
}

TEST_CASE("reception: telephone-event, silence and a sender's own leaps are no jitter") {
  PayloadClocks clocks;
  clocks.set(0, 8'000);
  clocks.set(101, 8'000, true);
  Reception reception{clocks};
  std::uint16_t sequence = 0;
  std::uint32_t timestamp = 0;
  std::int64_t at = 0;
  const auto speak = [&](int packets, bool marker) {
    for (int i = 0; i < packets; ++i, at += 20'000, timestamp += 160) reception.receive({1, timestamp, sequence++, 0, marker && i == 0}, at);
  };
  speak(100, true);
  for (int i = 0; i < 10; ++i, at += 20'000) reception.receive({1, timestamp, sequence++, 101, i == 0}, at);  // one time stamp for all
  timestamp += 1'600;
  speak(100, false);
  at += 3'000'000;  // silence that the time stamp heeds
  timestamp += 24'000;
  speak(100, true);
  at += 500'000;  // and that it does not, but the marker says so
  speak(100, true);
  timestamp += 800'000;  // a leap without a word
  speak(100, false);
  CHECK(reception.jitter_ticks() == 0);
  CHECK(reception.totals().lost() == 0);
}

TEST_CASE("reception: a jump of many packets is loss up to the limit of appendix A.1") {
  Reception reception;
  reception.receive(packet_of(0), 0);
  reception.receive(packet_of(2'500), 50'000'000);
  CHECK(reception.totals().expected == 2'501);
  CHECK(reception.totals().lost() == 2'499);
  CHECK(reception.bursts().lost == 2'499);
  CHECK(reception.bursts().bursts == 1);
  CHECK(reception.receive(packet_of(9'000), 60'000'000) == Reception::Verdict::stray);
  CHECK(reception.totals().expected == 2'501);
}
