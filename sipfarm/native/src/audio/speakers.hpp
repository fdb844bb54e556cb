#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "audio/level.hpp"

namespace sipfarm::audio {

using PartyId = std::uint16_t;

/// Who of a conference is to be heard (noise gate, the loudest k), who talks, and who has the floor. By levels alone, a tick
/// of 20 ms at a time.
class Speakers {
 public:
  static constexpr float k_talking_dbov = -45.0F;   // from here on a party talks, where no gate asks for more
  static constexpr int k_talking_hold_ticks = 20;   // pauses in speech are no silence
  static constexpr int k_gate_hold_ticks = 15;
  static constexpr float k_stay_db = 6.0F;          // by which one has to be louder to take another's place among the loudest
  static constexpr float k_floor_db = 3.0F;         // and to take the floor,
  static constexpr int k_floor_hold_ticks = 15;     // for as long as this
  static constexpr float k_decay_db = 1.0F;         // a tick

  explicit Speakers(std::size_t parties_max) : voices_(parties_max) {
    ranking_.reserve(parties_max);
    changed_.reserve(parties_max);
  }

  void join(PartyId party) noexcept { voices_[party] = {}; voices_[party].present = true; }
  void leave(PartyId party) noexcept;
  /// One that is muted, or whispers, neither takes a place nor has the floor.
  void set_aside(PartyId party, bool aside) noexcept { voices_[party].aside = aside; }
  void set_loudest(std::size_t k) noexcept { loudest_ = k; }
  void set_gate(float dbov) noexcept { gate_dbov_ = dbov; }

  /// The level of this tick's frame; without one the party is silent.
  void measure(PartyId party, float dbov) noexcept { voices_[party].measured = dbov; }
  void tick() noexcept;

  bool heard(PartyId party) const noexcept { return voices_[party].chosen; }
  bool talking(PartyId party) const noexcept { return voices_[party].talking_ticks > 0; }
  float level(PartyId party) const noexcept { return voices_[party].level; }
  std::optional<PartyId> active() const noexcept { return active_; }
  /// Who has begun or ceased to talk in this tick.
  std::span<const PartyId> changed() const noexcept { return changed_; }

 private:
  struct Voice {
    bool present = false;
    bool aside = false;
    bool chosen = false;
    int talking_ticks = 0;
    int gate_ticks = 0;
    float measured = k_silence_dbov;
    float level = k_silence_dbov;
  };

  void listen(Voice& voice) noexcept;
  void choose() noexcept;
  void give_floor() noexcept;

  std::vector<Voice> voices_;
  std::vector<std::pair<float, PartyId>> ranking_;
  std::vector<PartyId> changed_;
  std::size_t loudest_ = 0;  // 0: all
  float gate_dbov_ = k_silence_dbov;
  std::optional<PartyId> active_;
  std::optional<PartyId> challenger_;
  int challenged_ticks_ = 0;
};

}  // namespace sipfarm::audio
