#include <doctest/doctest.h>

#include <set>

#include "rtp/port_pool.hpp"

using sipfarm::rtp::PortPool;

TEST_CASE("an empty pool refuses and counts") {
  PortPool pool;
  CHECK_FALSE(pool.take(0).has_value());
  CHECK(pool.refused() == 1);
  CHECK(pool.wanted(4, 0) == 4);
}

TEST_CASE("only even ports join, and each once") {
  PortPool pool;
  CHECK(pool.add(20'000));
  CHECK_FALSE(pool.add(20'000));
  CHECK_FALSE(pool.add(20'001));
  CHECK_FALSE(pool.add(0));
  CHECK(pool.add(65'534));
  CHECK(pool.size() == 2);
  CHECK(pool.contains(20'000));
  CHECK_FALSE(pool.contains(20'002));
}

TEST_CASE("a port rests before it is handed out again") {
  PortPool pool{5'000};
  pool.add(20'000);
  CHECK(pool.take(0) == 20'000);
  CHECK(pool.give_back(20'000, 1'000));
  CHECK_FALSE(pool.take(5'999).has_value());
  CHECK(pool.resting() == 1);
  CHECK(pool.take(6'000) == 20'000);
  CHECK(pool.resting() == 0);
}

TEST_CASE("the port that has rested longest goes first") {
  PortPool pool{100};
  for (const int port : {20'000, 20'002, 20'004}) pool.add(static_cast<std::uint16_t>(port));
  CHECK(pool.take(0) == 20'000);
  CHECK(pool.take(0) == 20'002);
  pool.give_back(20'002, 10);
  pool.give_back(20'000, 20);
  CHECK(pool.take(1'000) == 20'004);
  CHECK(pool.take(1'000) == 20'002);
  CHECK(pool.take(1'000) == 20'000);
}

TEST_CASE("a port that is not taken cannot be given back") {
  PortPool pool;
  pool.add(20'000);
  CHECK_FALSE(pool.give_back(20'000, 0));
  CHECK_FALSE(pool.give_back(20'001, 0));
  CHECK_FALSE(pool.give_back(30'000, 0));
  pool.take(0);
  CHECK(pool.give_back(20'000, 0));
  CHECK_FALSE(pool.give_back(20'000, 0));
}

TEST_CASE("resting ports do not count as ready, rested ones do") {
  PortPool pool{100};
  pool.add(20'000);
  pool.add(20'002);
  pool.take(0);
  CHECK(pool.wanted(2, 0) == 1);
  pool.give_back(20'000, 0);
  CHECK(pool.wanted(2, 99) == 1);
  CHECK(pool.wanted(2, 100) == 0);
}

TEST_CASE("no port is lost or doubled over many calls") {
  PortPool pool{50};
  for (int port = 20'000; port < 20'100; port += 2) pool.add(static_cast<std::uint16_t>(port));
  std::set<std::uint16_t> out;
  std::uint32_t dice = 1;
  for (std::int64_t now_ms = 0; now_ms < 20'000; ++now_ms) {
    dice = dice * 1'664'525U + 1'013'904'223U;
    if ((dice >> 16U) % 2 == 0) {
      if (const auto port = pool.take(now_ms)) REQUIRE(out.insert(*port).second);
    } else if (!out.empty()) {
      REQUIRE(pool.give_back(*out.begin(), now_ms));
      out.erase(out.begin());
    }
    REQUIRE(pool.size() == 50);
    REQUIRE(pool.taken() == out.size());
  }
}
