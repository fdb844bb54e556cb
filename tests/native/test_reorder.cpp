#include "audio/reorder.hpp"

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace sipfarm;
using audio::Reorder;
using Verdict = audio::Reorder::Verdict;

namespace {

struct Bridge {
  Reorder reorder{{}};
  std::vector<int> delivered;
  std::uint32_t lost = 0;

  void release(std::int64_t now_us) {
    while (const auto released = reorder.release(now_us)) {
      delivered.push_back(released->packet.sequence);
      lost += released->lost;
      CHECK(released->packet.payload[0] == static_cast<std::uint8_t>(released->packet.sequence));
    }
  }

  Verdict push(int sequence, std::int64_t now_us, std::uint32_t ssrc = 1) {
    release(now_us);
    const std::array payload = {static_cast<std::uint8_t>(sequence)};
    audio::Packet packet;
    packet.ssrc = ssrc;
    packet.sequence = static_cast<std::uint16_t>(sequence);
    packet.payload = payload;
    const Verdict verdict = reorder.push(packet, now_us);
    if (verdict == Verdict::deliver) delivered.push_back(packet.sequence);
    release(now_us);
    return verdict;
  }
};

}  // namespace

TEST_CASE("reorder: packets in order go through without being held") {
  Bridge bridge;
  for (int i = 0; i < 70'000; ++i) {
    REQUIRE(bridge.push(i & 0xffff, i * 20'000) == Verdict::deliver);
    REQUIRE(bridge.reorder.size() == 0);
  }
  CHECK_FALSE(bridge.reorder.deadline_us().has_value());
  CHECK(bridge.reorder.statistics().lost == 0);
}

TEST_CASE("reorder: one that was overtaken is put back, over the wrap as well") {
  Bridge bridge;
  for (const int sequence : {65'533, 65'535, 65'534, 1, 0, 2}) bridge.push(sequence, 0);
  CHECK(bridge.delivered == std::vector{65'533, 65'534, 65'535, 0, 1, 2});
  CHECK(bridge.lost == 0);
}

TEST_CASE("reorder: what is missing is given up after 40 ms, and no sooner") {
  Bridge bridge;
  bridge.push(1, 0);
  CHECK(bridge.push(3, 20'000) == Verdict::held);
  CHECK(bridge.reorder.deadline_us() == 60'000);
  bridge.release(59'999);
  CHECK(bridge.delivered == std::vector{1});
  bridge.release(60'000);
  CHECK(bridge.delivered == std::vector{1, 3});
  CHECK(bridge.lost == 1);
  CHECK(bridge.reorder.statistics().lost == 1);
  CHECK(bridge.push(2, 61'000) == Verdict::dropped);
  CHECK(bridge.reorder.statistics().late == 1);
  CHECK(bridge.reorder.statistics().lost == 0);
}

TEST_CASE("reorder: what is missing is given up when as many are held as may be") {
  Bridge bridge;
  bridge.push(1, 0);
  for (int i = 0; i < 7; ++i) CHECK(bridge.push(4 + i, 10) == Verdict::held);
  CHECK(bridge.push(11, 10) == Verdict::held);
  CHECK(bridge.reorder.size() == 0);
  CHECK(bridge.delivered == std::vector{1, 4, 5, 6, 7, 8, 9, 10, 11});
  CHECK(bridge.lost == 2);
}

TEST_CASE("reorder: each packet once") {
  Bridge bridge;
  for (const int sequence : {1, 1, 3, 3, 2, 2, 3, 1}) bridge.push(sequence, 0);
  CHECK(bridge.delivered == std::vector{1, 2, 3});
  CHECK(bridge.reorder.statistics().duplicates == 5);
  CHECK(bridge.reorder.statistics().late == 0);
}

TEST_CASE("reorder: another source begins with its second packet") {
  Bridge bridge;
  for (int i = 0; i < 5; ++i) bridge.push(i, 0);
  CHECK(bridge.push(9'000, 0, 2) == Verdict::dropped);
  CHECK(bridge.push(5, 0) == Verdict::deliver);
  CHECK(bridge.push(9'001, 0, 2) == Verdict::dropped);
  CHECK(bridge.push(9'002, 0, 2) == Verdict::deliver);
  CHECK(bridge.push(9'003, 0, 2) == Verdict::deliver);
  CHECK(bridge.reorder.statistics().restarts == 1);
  CHECK(bridge.reorder.statistics().discarded == 2);
}

TEST_CASE("reorder: a packet that is too large is dropped and counted") {
  Reorder reorder{{.payload_bytes_max = 4}};
  const std::array<std::uint8_t, 5> bytes{};
  audio::Packet packet;
  packet.payload = bytes;
  CHECK(reorder.push(packet, 0) == Verdict::dropped);
  CHECK(reorder.statistics().discarded == 1);
}

TEST_CASE("reorder: whatever the order, what comes out rises, once each, and the counts add up") {
  std::mt19937 dice{11};
  for (int round = 0; round < 200; ++round) {
    struct Sent {
      std::int64_t arrival_us;
      int sequence;
    };
    std::vector<Sent> sent;
    int missing = 0;
    for (int i = 0; i < 300; ++i) {
      if (i > 0 && i < 299 && dice() % 20 == 0) {
        ++missing;
        continue;
      }
      const auto jitter = i == 0 ? 0 : static_cast<std::int64_t>(dice() % (round % 2 == 0 ? 30'000U : 120'000U));
      sent.push_back({i * 20'000 + jitter, 500 + i});
      if (dice() % 30 == 0) sent.push_back({i * 20'000 + jitter + static_cast<std::int64_t>(dice() % 50'000U), 500 + i});
    }
    std::stable_sort(sent.begin(), sent.end(), [](const Sent& a, const Sent& b) { return a.arrival_us < b.arrival_us; });
    Bridge bridge;
    for (const Sent& packet : sent) bridge.push(packet.sequence, packet.arrival_us);
    bridge.release(1'000'000'000);
    const auto& found = bridge.reorder.statistics();
    CHECK(std::is_sorted(bridge.delivered.begin(), bridge.delivered.end(), std::less_equal<>{}));
    CHECK(bridge.delivered.size() + found.late + found.duplicates == found.received);
    CHECK(found.lost + static_cast<std::size_t>(bridge.delivered.back() - 500 + 1) - bridge.delivered.size() - found.late == 2 * found.lost);
    CHECK(found.lost <= static_cast<std::uint64_t>(missing));
    if (round % 2 == 0) CHECK(found.late == 0);
  }
}
