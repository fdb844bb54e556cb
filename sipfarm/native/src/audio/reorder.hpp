#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "audio/packet.hpp"
#include "audio/sequence.hpp"

namespace sipfarm::audio {

struct ReorderConfig {
  std::size_t packets_max = 8;     // held at once
  std::int64_t hold_us = 40'000;   // for what is missing
  std::size_t payload_bytes_max = codec::k_payload_bytes_max;
};

struct ReorderStatistics {
  std::uint64_t received = 0;
  std::uint64_t lost = 0;        // given up and never come
  std::uint64_t late = 0;        // come after they had been given up
  std::uint64_t duplicates = 0;
  std::uint64_t discarded = 0;   // of a stray source, too large, or held when another source began
  std::uint64_t restarts = 0;
};

/// Puts the packets of a bridge in order. One that comes in order goes through without being held or copied; others wait
/// until what is missing has come, or is given up.
class Reorder {
 public:
  enum class Verdict : std::uint8_t {
    deliver,  // this packet is the next one: use it now, then `release` until there is nothing
    held,     // copied; `release` hands it out in its turn
    dropped,  // late, twice, or stray
  };
  struct Released {
    Packet packet;           // its payload stays until the next push
    std::uint32_t lost = 0;  // given up just before it
  };

  explicit Reorder(const ReorderConfig& config);

  Verdict push(const Packet& packet, std::int64_t now_us) noexcept;
  std::optional<Released> release(std::int64_t now_us) noexcept;
  /// When `release` will give something up, unless it comes.
  std::optional<std::int64_t> deadline_us() const noexcept;

  const ReorderStatistics& statistics() const noexcept { return statistics_; }
  std::size_t size() const noexcept { return count_; }

 private:
  struct Slot {
    bool used = false;
    std::int64_t sequence = 0;
    std::int64_t arrival_us = 0;
    Packet packet;
  };

  void restart(std::int64_t sequence) noexcept;
  bool is_duplicate(std::int64_t sequence) noexcept;
  void go_to(std::int64_t next) noexcept;
  Verdict hold(const Packet& packet, std::int64_t sequence, std::int64_t now_us) noexcept;
  const Slot* first() const noexcept;

  std::int64_t hold_us_;
  std::size_t payload_bytes_max_;
  std::vector<Slot> slots_;
  std::vector<std::uint8_t> payloads_;
  SequenceTracker tracker_;
  ReorderStatistics statistics_;
  std::size_t count_ = 0;
  std::int64_t next_ = 0;
  std::uint64_t came_ = 0;  // bit k: number next_ - 1 - k was delivered
};

}  // namespace sipfarm::audio
