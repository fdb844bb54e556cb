#include "sip/farm_view.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>

using namespace sipfarm::sip;

namespace {

FarmView view_of(std::uint16_t self, const std::vector<FarmMember>& members) {
  FarmView view{self, 1, SipKey{}};
  view.set(members);
  return view;
}

const std::vector<FarmMember> four = {{1, 1, true, 0}, {2, 1, true, 0}, {3, 1, true, 0}, {4, 1, true, 0}};

}  // namespace

TEST_CASE("farm view: a member itself is always in its view, and load alone is no change") {
  FarmView view{7, 1, SipKey{}};
  CHECK(view.set({}));
  CHECK(view.alone());
  CHECK(view.is_live(7, 1));
  CHECK_FALSE(view.is_live(7, 2));
  CHECK(view.set(std::vector<FarmMember>{{1, 1, true, 0}}));
  CHECK_FALSE(view.alone());
  CHECK_FALSE(view.set(std::vector<FarmMember>{{1, 1, false, 0.5F}}));
  CHECK(view.set(std::vector<FarmMember>{{1, 2, true, 0}}));  // the same number, another life
}

TEST_CASE("farm view: all members find the same home, evenly spread, and a death moves only the dead one's") {
  const FarmView here = view_of(1, four);
  const FarmView there = view_of(3, four);
  const FarmView without = view_of(1, {four[0], four[1], four[3]});
  std::array<int, 5> homes{};
  for (int i = 0; i < 4'000; ++i) {
    const std::string call_id = "call-" + std::to_string(i);
    const auto ranked = here.rank(call_id);
    CHECK(there.rank(call_id).first == ranked.first);
    CHECK(there.rank(call_id).second == ranked.second);
    CHECK(ranked.first != ranked.second);
    ++homes[ranked.first];
    const auto after = without.rank(call_id);
    CHECK(after.first == (ranked.first == 3 ? ranked.second : ranked.first));  // the copy's holder becomes the home
  }
  for (std::size_t number = 1; number <= 4; ++number) CHECK(homes[number] > 800);
  CHECK(view_of(1, {}).rank("x").second == 0);
}

TEST_CASE("farm view: new work stays unless another is clearly less busy, or this member is not ready") {
  CHECK(view_of(1, four).place(42) == 1);
  CHECK(view_of(1, {{1, 1, true, 0.3F}, {2, 1, true, 0.2F}}).place(42) == 1);
  CHECK(view_of(1, {{1, 1, true, 0.9F}, {2, 1, true, 0.2F}}).place(42) == 2);
  CHECK(view_of(1, {{1, 1, false, 0}, {2, 1, true, 0.9F}}).place(42) == 2);
  CHECK(view_of(1, {{1, 1, true, 0.9F}, {2, 1, false, 0}}).place(42) == 1);
  CHECK(view_of(1, {{1, 1, false, 0}, {2, 1, false, 0}}).place(42) == 1);
}
