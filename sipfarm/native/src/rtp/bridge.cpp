#include "rtp/bridge.hpp"

namespace sipfarm::rtp {

std::unique_ptr<Bridge> Bridge::make(const BridgePlan& plan, const std::array<StreamStart, 2>& starts, const char*& objection) {
  auto made = std::make_unique<Bridge>();
  for (const Side from : {Side::a, Side::b}) {
    const std::size_t to = index(opposite(from));
    made->ways_[index(from)] = Conversion::make(plan.sides[index(from)], plan.sides[to], starts[to], objection);
    if (!made->ways_[index(from)]) return nullptr;
  }
  return made;
}

void Bridge::receive(Side from, std::span<const std::uint8_t> bytes, std::int64_t now_us, PacketSink& sink) noexcept {
  Conversion& way = *ways_[index(from)];
  way.receive(bytes, now_us, sink);
  if (way.requested_mode() != codec::k_no_mode) ways_[index(opposite(from))]->request_mode(way.requested_mode());
}

}  // namespace sipfarm::rtp
