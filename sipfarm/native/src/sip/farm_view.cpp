#include "sip/farm_view.hpp"

#include <algorithm>

namespace sipfarm::sip {

namespace {
constexpr float clearly_busier = 0.15F;
}

bool FarmView::set(std::span<const FarmMember> members) {
  std::vector<FarmMember> next{members.begin(), members.end()};
  const bool here = std::any_of(next.begin(), next.end(), [&](const FarmMember& member) { return member.number == self_; });
  if (!here) next.push_back({self_, epoch_, true, 0});
  std::sort(next.begin(), next.end(), [](const FarmMember& a, const FarmMember& b) { return a.number < b.number; });
  const bool same = std::equal(next.begin(), next.end(), members_.begin(), members_.end(), [](const FarmMember& a, const FarmMember& b) {
    return a.number == b.number && a.epoch == b.epoch;
  });
  members_ = std::move(next);
  const FarmMember* self = find(self_);
  edge_ = self->edge;
  pbx_ = self->pbx;
  return !same;
}

std::uint16_t FarmView::edge_for(std::uint64_t draw) const noexcept {
  const auto can = [&](const FarmMember& member) { return member.edge && member.number != self_; };
  const auto count = static_cast<std::uint64_t>(std::count_if(members_.begin(), members_.end(), can));
  if (count == 0) return 0;
  std::uint64_t left = draw % count;
  for (const FarmMember& member : members_) {
    if (can(member) && left-- == 0) return member.number;
  }
  return 0;
}

const FarmMember* FarmView::find(std::uint16_t number) const noexcept {
  for (const FarmMember& member : members_) {
    if (member.number == number) return &member;
  }
  return nullptr;
}

bool FarmView::is_live(std::uint16_t number, std::uint32_t epoch) const noexcept {
  const FarmMember* member = find(number);
  return member != nullptr && member->epoch == epoch;
}

FarmView::Ranked FarmView::rank(std::uint64_t home) const noexcept {
  Ranked ranked;
  std::uint64_t best = 0;
  std::uint64_t next = 0;
  for (const FarmMember& member : members_) {
    const std::uint64_t weight = SipHasher{key_}.add(std::uint64_t{member.number}).add(std::uint64_t{member.epoch}).add(home).finish();
    if (ranked.first == 0 || weight > best) {
      ranked.second = ranked.first;
      next = best;
      ranked.first = member.number;
      best = weight;
    } else if (ranked.second == 0 || weight > next) {
      ranked.second = member.number;
      next = weight;
    }
  }
  return ranked;
}

std::uint16_t FarmView::place(std::uint64_t draw) const noexcept {
  const FarmMember* self = find(self_);
  const bool self_ready = self != nullptr && self->ready;
  const auto sample = [&](std::uint64_t number) -> const FarmMember* {
    // From a drawn place on, the first other member that is ready.
    for (std::size_t i = 0; i < members_.size(); ++i) {
      const FarmMember& member = members_[(number + i) % members_.size()];
      if (member.number != self_ && member.ready) return &member;
    }
    return nullptr;
  };
  const FarmMember* one = sample(draw & 0xffff);
  const FarmMember* two = sample((draw >> 16) & 0xffff);
  if (one == nullptr) return self_;
  const FarmMember* less = two != nullptr && two->load < one->load ? two : one;
  if (!self_ready || self->load > less->load + clearly_busier) return less->number;
  return self_;
}

}  // namespace sipfarm::sip
