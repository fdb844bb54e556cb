#include "sip/timer_wheel.hpp"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <vector>

using namespace sipfarm::sip;

namespace {

std::vector<std::uint64_t> payloads_due(TimerWheel& wheel, std::int64_t now_ms) {
  std::vector<std::uint64_t> payloads;
  wheel.expire(now_ms, [&](const ExpiredTimer& expired) { payloads.push_back(expired.payload); });
  return payloads;
}

/// The same face over an ordered map, which keeps equal deadlines in the order of insertion.
class DumbWheel {
 public:
  void schedule(std::int64_t deadline_ms, std::uint64_t payload) { timers_.emplace(std::max(deadline_ms, now_ms_), payload); }

  bool cancel(std::uint64_t payload) {
    for (auto at = timers_.begin(); at != timers_.end(); ++at) {
      if (at->second != payload) continue;
      timers_.erase(at);
      return true;
    }
    return false;
  }
  std::vector<ExpiredTimer> expire(std::int64_t now_ms) {
    now_ms_ = std::max(now_ms_, now_ms);
    std::vector<ExpiredTimer> expired;
    while (!timers_.empty() && timers_.begin()->first <= now_ms_) {
      expired.push_back({timers_.begin()->second, timers_.begin()->first});
      timers_.erase(timers_.begin());
    }
    return expired;
  }
  std::optional<std::int64_t> next_deadline_ms() const {
    return timers_.empty() ? std::nullopt : std::optional{timers_.begin()->first};
  }
  std::size_t size() const { return timers_.size(); }

 private:
  std::multimap<std::int64_t, std::uint64_t> timers_;
  std::int64_t now_ms_ = 0;
};

}  // namespace

TEST_CASE("an empty wheel has no deadline and nothing due") {
  TimerWheel wheel{1'000};
  CHECK_FALSE(wheel.next_deadline_ms().has_value());
  CHECK(payloads_due(wheel, 1'000'000).empty());
  CHECK(wheel.empty());
}

TEST_CASE("a timer fires at its deadline, not before") {
  for (const std::int64_t after_ms : {0, 1, 63, 64, 65, 500, 4'095, 4'096, 32'000, 180'000, 3'600'000}) {
    CAPTURE(after_ms);
    TimerWheel wheel{123'457};
    wheel.schedule(123'457 + after_ms, 7);
    CHECK(wheel.next_deadline_ms() == 123'457 + after_ms);
    if (after_ms > 0) CHECK(payloads_due(wheel, 123'457 + after_ms - 1).empty());
    CHECK(payloads_due(wheel, 123'457 + after_ms) == std::vector<std::uint64_t>{7});
    CHECK(wheel.empty());
  }
}

TEST_CASE("a deadline in the past is due at once") {
  TimerWheel wheel{1'000};
  CHECK(payloads_due(wheel, 2'000).empty());
  wheel.schedule(10, 1);
  wheel.schedule(-5, 2);
  CHECK(wheel.next_deadline_ms() == 2'000);
  CHECK(payloads_due(wheel, 2'000) == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE("equal deadlines fire in the order in which they were scheduled") {
  TimerWheel wheel;
  for (std::uint64_t payload = 0; payload < 10; ++payload) {
    payloads_due(wheel, static_cast<std::int64_t>(payload) * 50);
    wheel.schedule(5'000, payload);
  }
  CHECK(payloads_due(wheel, 9'000) == std::vector<std::uint64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
}

TEST_CASE("a timer on a high level does not hide behind a later one on a low level") {
  TimerWheel wheel;
  wheel.schedule(70, 1);                     // a level up from 0
  CHECK(payloads_due(wheel, 66).empty());    // now in the same block of 64
  wheel.schedule(72, 2);
  CHECK(wheel.next_deadline_ms() == 70);
  CHECK(payloads_due(wheel, 80) == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE("a cancelled timer is gone and its id stays harmless") {
  TimerWheel wheel;
  const TimerId first = wheel.schedule(100, 1);
  CHECK(wheel.cancel(first));
  CHECK_FALSE(wheel.cancel(first));
  const TimerId second = wheel.schedule(100, 2);  // takes the first one's place
  CHECK(first != second);
  CHECK_FALSE(wheel.cancel(first));
  CHECK(payloads_due(wheel, 100) == std::vector<std::uint64_t>{2});
  CHECK_FALSE(wheel.cancel(second));
  CHECK_FALSE(wheel.cancel(TimerId::none));
  CHECK_FALSE(wheel.cancel(static_cast<TimerId>(UINT64_MAX)));
}

TEST_CASE("a full wheel refuses, and takes again when there is room") {
  TimerWheel wheel{0, 3};
  const TimerId first = wheel.schedule(1, 1);
  wheel.schedule(2, 2);
  wheel.schedule(3, 3);
  CHECK(wheel.schedule(4, 4) == TimerId::none);
  CHECK(wheel.size() == 3);
  CHECK(wheel.cancel(first));
  CHECK(wheel.schedule(4, 4) != TimerId::none);
  CHECK(payloads_due(wheel, 9) == std::vector<std::uint64_t>{2, 3, 4});
}

TEST_CASE("a timer scheduled while others fire waits for the next call") {
  TimerWheel wheel;
  wheel.schedule(10, 1);
  int fired = 0;
  const auto again = [&](const ExpiredTimer& expired) {
    ++fired;
    wheel.schedule(expired.deadline_ms, expired.payload);  // always overdue: would never end otherwise
  };
  wheel.expire(1'000, again);
  CHECK(fired == 1);
  CHECK(wheel.next_deadline_ms() == 1'000);
  wheel.expire(1'000, again);
  CHECK(fired == 2);
}

TEST_CASE("a timer that fires may cancel another that is due") {
  TimerWheel wheel;
  std::vector<TimerId> ids;
  for (std::uint64_t payload = 0; payload < 4; ++payload) {
    ids.push_back(wheel.schedule(10 + static_cast<std::int64_t>(payload), payload));
  }
  std::vector<std::uint64_t> payloads;
  wheel.expire(50, [&](const ExpiredTimer& expired) {
    payloads.push_back(expired.payload);
    if (expired.payload == 0) CHECK(wheel.cancel(ids[2]));
    CHECK_FALSE(wheel.cancel(ids[expired.payload]));  // itself: too late
  });
  CHECK(payloads == std::vector<std::uint64_t>{0, 1, 3});
  CHECK(wheel.empty());
}

TEST_CASE("a clock that goes back fires nothing early") {
  TimerWheel wheel{1'000};
  wheel.schedule(1'500, 1);
  CHECK(payloads_due(wheel, 400).empty());
  CHECK(wheel.now_ms() == 1'000);
  CHECK(payloads_due(wheel, 1'500).size() == 1);
}

TEST_CASE("the ends of time") {
  TimerWheel wheel{INT64_MAX - 10};
  wheel.schedule(INT64_MAX, 2);
  wheel.schedule(INT64_MAX - 5, 1);
  CHECK(wheel.next_deadline_ms() == INT64_MAX - 5);
  CHECK(payloads_due(wheel, INT64_MAX) == std::vector<std::uint64_t>{1, 2});

  TimerWheel from_zero;
  from_zero.schedule(INT64_MAX, 3);
  CHECK(from_zero.next_deadline_ms() == INT64_MAX);
  CHECK(payloads_due(from_zero, INT64_MAX - 1).empty());
  CHECK(payloads_due(from_zero, INT64_MAX) == std::vector<std::uint64_t>{3});
}

TEST_CASE("the wheel agrees with an ordered map under random work and big jumps") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random{seed};
    TimerWheel wheel{0, 1U << 20, 4};
    DumbWheel model;
    std::vector<std::pair<TimerId, std::uint64_t>> ids;  // stale ones too
    std::int64_t now_ms = 0;
    std::uint64_t payload = 0;
    const auto up_to = [&](unsigned bits) { return static_cast<std::int64_t>(random() & ((std::uint64_t{1} << bits) - 1)); };

    for (int turn = 0; turn < 2'000; ++turn) {
      switch (random() % 8) {
        case 0: case 1: case 2: case 3: {
          const std::int64_t deadline_ms = now_ms - 20 + up_to(static_cast<unsigned>(random() % 45));
          const TimerId id = wheel.schedule(deadline_ms, ++payload);
          REQUIRE(id != TimerId::none);
          model.schedule(deadline_ms, payload);
          ids.emplace_back(id, payload);
          break;
        }
        case 4: case 5: {
          if (ids.empty()) break;
          const auto& [id, of] = ids[random() % ids.size()];
          REQUIRE(wheel.cancel(id) == model.cancel(of));
          break;
        }
        default: {
          now_ms += up_to(random() % 20 == 0 ? 40 : static_cast<unsigned>(random() % 14));
          if (random() % 3 == 0) now_ms = std::max(now_ms, wheel.next_deadline_ms().value_or(now_ms));
          std::vector<ExpiredTimer> fired;
          wheel.expire(now_ms, fired);
          const auto expected = model.expire(now_ms);
          REQUIRE(fired.size() == expected.size());
          for (std::size_t i = 0; i < fired.size(); ++i) {
            REQUIRE(fired[i].payload == expected[i].payload);
            REQUIRE(fired[i].deadline_ms == expected[i].deadline_ms);
          }
        }
      }
      REQUIRE(wheel.size() == model.size());
      const auto next = wheel.next_deadline_ms();
      REQUIRE(next.has_value() == model.next_deadline_ms().has_value());
      if (next) {
        REQUIRE(*next <= *model.next_deadline_ms());
        REQUIRE(*next >= wheel.now_ms());
      }
    }
  }
}

TEST_CASE("without cancels the next deadline is exact") {
  std::mt19937_64 random{9};
  TimerWheel wheel;
  DumbWheel model;
  for (int turn = 0; turn < 3'000; ++turn) {
    const std::int64_t deadline_ms = wheel.now_ms() + static_cast<std::int64_t>(random() % 200'000);
    wheel.schedule(deadline_ms, 0);
    model.schedule(deadline_ms, 0);
    REQUIRE(wheel.next_deadline_ms() == model.next_deadline_ms());
    if (random() % 2 == 0) continue;
    const std::int64_t now_ms = *model.next_deadline_ms();
    std::vector<ExpiredTimer> fired;
    wheel.expire(now_ms, fired);
    REQUIRE(fired.size() == model.expire(now_ms).size());
    REQUIRE(wheel.next_deadline_ms() == model.next_deadline_ms());
  }
}
