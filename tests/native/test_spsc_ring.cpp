#include <doctest/doctest.h>

#include <cstdint>
#include <thread>

#include "rtp/spsc_ring.hpp"

using sipfarm::rtp::SpscRing;

TEST_CASE("a full ring refuses, an empty one gives nothing") {
  SpscRing<int> ring{4};
  CHECK_FALSE(ring.pop().has_value());
  for (int i = 0; i < 4; ++i) CHECK(ring.push(i));
  CHECK_FALSE(ring.push(4));
  CHECK(ring.pop() == 0);
  CHECK(ring.push(4));
  for (int i = 1; i < 5; ++i) CHECK(ring.pop() == i);
  CHECK_FALSE(ring.pop().has_value());
}

TEST_CASE("two threads see every value once and in order") {
  SpscRing<std::uint64_t> ring{64};
  constexpr std::uint64_t count = 200'000;
  std::thread pusher{[&ring] {
    for (std::uint64_t i = 0; i < count;) {
      if (ring.push(i)) {
        ++i;
      } else {
        std::this_thread::yield();
      }
    }
  }};
  std::uint64_t expected = 0;
  bool in_order = true;
  while (expected < count) {
    if (const auto value = ring.pop()) {
      in_order = in_order && *value == expected;
      ++expected;
    } else {
      std::this_thread::yield();
    }
  }
  pusher.join();
  CHECK(in_order);
}
