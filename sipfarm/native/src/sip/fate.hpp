#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sipfarm::sip {

/// Why a packet went no further. Counted, never logged one by one.
enum class Drop : std::uint8_t {
  none, malformed, foreign_response, stale_response, foreign_ack, limit, no_owner, hop_limit, unanswerable, keepalive, sanity, unclaimed, bus_malformed,
  unanswered, over_rate, banned
};
inline constexpr std::size_t drop_count = 16;
inline constexpr std::array<const char*, drop_count> drop_names = {
    "none", "malformed", "foreign_response", "stale_response", "foreign_ack", "limit", "no_owner", "hop_limit", "unanswerable",
    "keepalive", "sanity", "unclaimed", "bus_malformed", "unanswered", "over_rate", "banned"};

/// What became of a packet at this member.
struct Fate {
  enum class What : std::uint8_t {
    worked_on,
    absorbed,   // it had come before
    answered,   // without a transaction
    passed_on,  // over the bus to `member`
    waits,      // for the directory: told when that is known
    dropped,
    sent        // what this member sends
  };
  What what = What::worked_on;
  Drop why = Drop::none;
  std::uint16_t member = 0;
};
inline constexpr std::array<const char*, 7> fate_names = {"worked_on", "absorbed", "answered", "passed_on", "waits", "dropped", "sent"};

}  // namespace sipfarm::sip
