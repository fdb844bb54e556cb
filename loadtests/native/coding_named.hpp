// Codings by the names that the benchmarks use on their command lines.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "rtp/bridge_plan.hpp"

/// "PCMU", "PCMA", "G722" or "opus", with the payload type that the benchmarks give it; PCM of `rate_hz` where the codec leaves a choice.
inline sipfarm::rtp::PayloadFormat coding_named(std::string_view name, std::uint32_t rate_hz, std::uint32_t bitrate, unsigned complexity) {
  using namespace sipfarm::codec;
  if (name == "PCMU") return {0, {Id::pcmu}};
  if (name == "PCMA") return {8, {Id::pcma}};
  if (name == "G722") return {9, {Id::g722, 8'000, 16'000}};
  if (name == "opus") {
    Format opus{Id::opus, 48'000, rate_hz, 2};
    opus.bitrate = bitrate;
    opus.complexity = static_cast<std::uint8_t>(complexity + 1);
    return {96, opus};
  }
  std::fprintf(stderr, "no coding named %.*s\n", static_cast<int>(name.size()), name.data());
  std::exit(2);
}
