#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "sip/siphash.hpp"

namespace sipfarm::sip {

/// A member as the others see it. Only members that are not dead stand in a view.
struct FarmMember {
  std::uint16_t number = 0;
  std::uint32_t epoch = 0;
  bool ready = true;   // takes new work: neither draining nor suspected, and of the role pbx
  float load = 0;      // 0 idle … 1 full
  bool edge = true;    // has the farm's sockets, and is heard
  bool pbx = true;     // does the farm's work, if it is ready

  friend bool operator==(const FarmMember&, const FarmMember&) = default;
};

/// Who is there, who is the home of a Call-ID, and who takes new work (DESIGN: ownership).
class FarmView {
 public:
  FarmView(std::uint16_t self, std::uint32_t epoch, const SipKey& key) noexcept : key_{key}, self_{self}, epoch_{epoch} {}

  /// Replaces the view; this member itself is always in it. True when its membership (not only load) changed.
  bool set(std::span<const FarmMember> members);

  bool alone() const noexcept { return members_.size() <= 1; }
  const std::vector<FarmMember>& members() const noexcept { return members_; }
  const FarmMember* find(std::uint16_t number) const noexcept;
  /// Whether this member has the farm's sockets, and whether it does the farm's work.
  bool is_edge() const noexcept { return edge_; }
  bool is_pbx() const noexcept { return pbx_; }
  /// Another member that has the farm's sockets, the same for equal draws; 0 where there is none.
  std::uint16_t edge_for(std::uint64_t draw) const noexcept;
  bool is_live(std::uint16_t number, std::uint32_t epoch) const noexcept;

  /// What of a Call-ID decides where its home is.
  std::uint64_t home_of(std::string_view call_id) const noexcept { return siphash(key_, call_id); }
  /// Highest and second-highest by SipHash(number, epoch, home); the second is 0 where nobody else is there.
  struct Ranked {
    std::uint16_t first = 0;
    std::uint16_t second = 0;
  };
  Ranked rank(std::uint64_t home) const noexcept;
  Ranked rank(std::string_view call_id) const noexcept { return rank(home_of(call_id)); }

  /// Who takes new work: this member, unless it is not ready or clearly busier than the less busy of two sampled others.
  /// `draw` is any number that differs from call to call.
  std::uint16_t place(std::uint64_t draw) const noexcept;

 private:
  std::vector<FarmMember> members_;
  SipKey key_;
  std::uint16_t self_;
  std::uint32_t epoch_;
  bool edge_ = true;
  bool pbx_ = true;
};

}  // namespace sipfarm::sip
