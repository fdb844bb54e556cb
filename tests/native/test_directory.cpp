#include "sip/directory.hpp"

#include <doctest/doctest.h>

using namespace sipfarm::sip;

TEST_CASE("directory: an entry is found until it ends, and is forgotten then") {
  Directory directory{10};
  CHECK(directory.put(1, {2, 3}, 100));
  CHECK(directory.find(1, 99) == Directory::Owner{2, 3});
  CHECK_FALSE(directory.find(1, 100));
  CHECK(directory.next_deadline_ms() == 100);
  directory.expire(99);
  CHECK(directory.size() == 1);
  directory.expire(100);
  CHECK(directory.size() == 0);
  CHECK_FALSE(directory.next_deadline_ms());
}

TEST_CASE("directory: putting again replaces, lengthens, and takes no more room") {
  Directory directory{1};
  for (int i = 0; i < 100; ++i) CHECK(directory.put(1, {static_cast<std::uint16_t>(i), 1}, 100 + i));
  CHECK_FALSE(directory.put(2, {1, 1}, 100));
  directory.expire(150);
  CHECK(directory.find(1, 150)->member == 99);
  CHECK(directory.next_deadline_ms() == 199);
  directory.expire(199);
  CHECK(directory.size() == 0);
  CHECK(directory.put(2, {1, 1}, 300));
}

TEST_CASE("directory: a call forgets so many at most") {
  Directory directory{10'000};
  for (std::uint64_t key = 0; key < 10'000; ++key) directory.put(key, {1, 1}, 10);
  directory.expire(20);
  CHECK(directory.size() == 10'000 - 4'096);
  directory.expire(20);
  directory.expire(20);
  CHECK(directory.size() == 0);
}
