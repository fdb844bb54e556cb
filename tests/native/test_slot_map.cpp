#include "sip/slot_map.hpp"

#include <doctest/doctest.h>

#include <random>
#include <set>

#include "sip/key_map.hpp"

using namespace sipfarm::sip;

namespace {
struct Value {
  int number = 0;
  void clear() { number = 0; }
};
}  // namespace

TEST_CASE("slot map: a handle finds its object until it is erased, and never another one") {
  SlotMap<Value> map{4};
  std::uint64_t first = 0;
  map.insert(first)->number = 7;
  CHECK(first != 0);
  CHECK((first >> 40) == 0);
  CHECK(map.find(first)->number == 7);
  map.erase(first);
  CHECK(map.find(first) == nullptr);
  std::uint64_t second = 0;
  CHECK(map.insert(second)->number == 0);
  CHECK(second != first);
  CHECK(map.find(first) == nullptr);
  map.erase(first);  // stale: nothing happens
  CHECK(map.find(second) != nullptr);
  CHECK(map.find(0) == nullptr);
  CHECK(map.find(UINT64_MAX) == nullptr);
}

TEST_CASE("slot map: it holds its limit and no more; addresses stay") {
  SlotMap<Value> map{3};
  std::uint64_t handles[4] = {};
  Value* first = map.insert(handles[0]);
  CHECK(map.insert(handles[1]) != nullptr);
  CHECK(map.insert(handles[2]) != nullptr);
  CHECK(map.insert(handles[3]) == nullptr);
  CHECK(map.size() == 3);
  CHECK(map.find(handles[0]) == first);
  map.erase(handles[1]);
  CHECK(map.insert(handles[3]) != nullptr);
  std::size_t seen = 0;
  map.each([&](std::uint64_t handle, Value&) { seen += map.find(handle) != nullptr ? 1U : 0U; });
  CHECK(seen == 3);
}

TEST_CASE("slot map: generations wrap without giving the handle 0") {
  SlotMap<Value> map{1};
  std::uint64_t handle = 0;
  for (int i = 0; i < 70'000; ++i) {
    REQUIRE(map.insert(handle) != nullptr);
    REQUIRE(handle != 0);
    map.erase(handle);
  }
  CHECK(map.size() == 0);
}

TEST_CASE("key map: it agrees with a set under random work") {
  KeyMap map;
  std::set<std::uint64_t> twin;
  std::mt19937_64 random{7};
  for (int i = 0; i < 200'000; ++i) {
    const std::uint64_t key = random() % 3'000 * 0x400;  // collides a lot
    if (random() % 2 == 0) {
      map.put(key, key + 1);
      twin.insert(key);
    } else {
      REQUIRE(map.erase(key) == (twin.erase(key) == 1));
    }
    REQUIRE(map.size() == twin.size());
    const std::uint64_t other = random() % 3'000 * 0x400;
    REQUIRE(map.find(other) == (twin.contains(other) ? other + 1 : 0));
  }
}

TEST_CASE("pages together are the whole, though what a cursor named is gone") {
  SlotMap<Value> map{100};
  std::vector<std::uint64_t> handles(10);
  for (std::uint64_t& handle : handles) map.insert(handle);
  std::vector<std::uint64_t> seen;
  std::uint64_t after = 0;
  for (std::size_t before = 1; before != 0;) {
    before = 0;
    map.page(after, 3, [&](std::uint64_t handle, const Value&) {
      seen.push_back(handle);
      after = handle;
      ++before;
    });
    if (seen.size() == 3) map.erase(after);
    if (seen.size() == 6) map.erase(handles[7]);
  }
  handles.erase(handles.begin() + 7);
  CHECK(seen == handles);
  map.page(0, 0, [&](std::uint64_t, const Value&) { CHECK(false); });
}
