#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "rtp/commands.hpp"
#include "rtp/conversion.hpp"

namespace sipfarm::rtp {

/// What makes a relayed stream one whose sides have different codecs: a conversion for each direction. Each side sees one source, ours.
/// RTCP of the sides is about sources that the other never sees: it ends here.
class Bridge {
 public:
  /// `starts` by the side that the packets go to. Nothing, and the reason in words, where a codec cannot be made.
  static std::unique_ptr<Bridge> make(const BridgePlan& plan, const std::array<StreamStart, 2>& starts, const char*& objection);

  /// What came from a side; the sink is for the other one.
  void receive(Side from, std::span<const std::uint8_t> bytes, std::int64_t now_us, PacketSink& sink) noexcept;
  void expire(Side from, std::int64_t now_us, PacketSink& sink) noexcept { ways_[index(from)]->expire(now_us, sink); }
  std::optional<std::int64_t> deadline_us(Side from) const noexcept { return ways_[index(from)]->deadline_us(); }
  /// Of what came from that side.
  const ConversionCounters& counters(Side from) const noexcept { return ways_[index(from)]->counters(); }

 private:
  std::array<std::unique_ptr<Conversion>, 2> ways_;  // by the side that the packets come from
};

}  // namespace sipfarm::rtp
