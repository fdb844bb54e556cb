#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "audio/pcm.hpp"
#include "audio/speakers.hpp"

namespace sipfarm::audio {

struct MixerConfig {
  std::uint32_t sample_rate_hz = 8'000;
  std::size_t parties_max = 64;       // players among them
  std::size_t links_max = 256;        // pairs of a speaker and one who hears it in another way than the rest do
  std::size_t delay_ticks_max = 10;
};

/// The core of a conference: what each party hears is the sum of the others, every 20 ms.
///
/// Parties that hear just the common mix share one buffer, so that it is encoded once for each of their codecs: see `heard`.
/// Those who are in the mix hear it without themselves. Sums have 32 bits, and what is too loud is bent by a curve without
/// memory (mix_kernel.hpp). A frame is mixed `delay` ticks after it came, while the gate and the choice of the loudest go by
/// the newest frame: so the beginning of a word is not cut off. Who begins or ceases to be heard is faded over one frame.
class Mixer {
 public:
  static constexpr std::uint32_t k_ticks_per_s = 50;

  enum class Role : std::uint8_t {
    party,
    player,  // an announcement: hears nothing, is never gated, and is heard by all, or by those it whispers to
  };

  /// What a party hears: a buffer, equal for all who hear the same.
  using BufferId = std::uint32_t;
  static constexpr BufferId k_silence = 0;  // nothing, as every sample of its buffer says
  static constexpr BufferId k_common = 1;

  explicit Mixer(const MixerConfig& config);

  /// Nobody if parties_max are in.
  std::optional<PartyId> join(Role role = Role::party) noexcept;
  void leave(PartyId party) noexcept;

  void set_muted(PartyId party, bool muted) noexcept;
  void set_deaf(PartyId party, bool deaf) noexcept { parties_[party].deaf = deaf; }
  /// Of what a party says, and of what it hears.
  void set_gain(PartyId party, float db) noexcept { parties_[party].gain = factor_of_db(db); }
  void set_volume(PartyId party, float db) noexcept { parties_[party].volume = factor_of_db(db); }
  /// How loud one hears another. False if links_max are in use.
  bool set_gain_between(PartyId listener, PartyId speaker, float db) noexcept;
  /// From now on only who was chosen hears the party: at first nobody.
  void set_whispering(PartyId speaker, bool whispering) noexcept;
  bool choose_whispered_to(PartyId speaker, PartyId listener, bool chosen) noexcept;

  /// Only the k loudest are heard; 0: all.
  void set_loudest(std::size_t k) noexcept { speakers_.set_loudest(k); }
  /// Who is more silent than this is not heard; -127: everybody is.
  void set_gate(float dbov) noexcept { speakers_.set_gate(dbov); }
  void set_delay(std::size_t ticks) noexcept { delay_ = std::min(ticks, slots_ - 1); }

  /// Where this tick's frame of a party is to be written; then `arrived`. Without it the party is silent in this tick.
  Pcm input(PartyId party) noexcept { return {frame_of(party, tick_), samples_}; }
  void arrived(PartyId party) noexcept { arrived(party, level_dbov(input(party))); }
  void arrived(PartyId party, float dbov) noexcept;

  /// Ends the tick: buffers and who hears which hold until the next call.
  void mix() noexcept;

  BufferId heard(PartyId party) const noexcept { return parties_[party].heard; }
  ConstPcm buffer(BufferId id) const noexcept { return {outputs_.data() + id * samples_, samples_}; }

  const Speakers& speakers() const noexcept { return speakers_; }
  std::size_t samples() const noexcept { return samples_; }
  std::size_t parties() const noexcept { return count_; }
  std::size_t links() const noexcept { return links_.size(); }

 private:
  struct Party {
    bool present = false;
    bool player = false;
    bool muted = false;
    bool deaf = false;
    bool whispering = false;
    bool mixed = false;        // is in the common sum of this tick
    std::uint16_t links = 0;   // as a listener
    float gain = 1.0F;
    float volume = 1.0F;
    float applied = 0.0F;      // the gain at the end of the last frame
    const std::int16_t* voice = nullptr;  // what is heard of it in this tick
    BufferId heard = k_silence;
  };
  struct Link {
    PartyId listener;
    PartyId speaker;
    bool chosen = false;
    float gain = 1.0F;
  };

  std::int16_t* frame_of(PartyId party, std::uint64_t tick) noexcept {
    return inputs_.data() + (party * slots_ + tick % slots_) * samples_;
  }
  std::uint8_t& came(PartyId party, std::uint64_t tick) noexcept { return came_[party * slots_ + tick % slots_]; }

  Link* link(PartyId listener, PartyId speaker) noexcept;
  void drop_idle_link(Link* idle) noexcept;
  void voice_of(PartyId id) noexcept;
  void sum_up() noexcept;
  void hand_out() noexcept;
  BufferId own_mix(PartyId id) noexcept;

  std::size_t samples_;
  std::size_t slots_;
  std::size_t links_max_;
  std::vector<Party> parties_;
  std::vector<Link> links_;               // by listener, then speaker
  std::vector<std::int16_t> inputs_;
  std::vector<std::uint8_t> came_;
  std::vector<std::int16_t> scaled_;      // what a gain made of inputs
  std::vector<std::int16_t> outputs_;     // silence, the common mix, then one for each party
  std::vector<std::int32_t> common_;
  std::vector<std::int32_t> personal_;
  Speakers speakers_;
  std::uint64_t tick_;
  std::size_t delay_ = 0;
  std::size_t delay_before_ = 0;
  std::size_t count_ = 0;
  std::size_t used_ = 0;                  // no party at or above this id
  std::size_t mixed_ = 0;
};

}  // namespace sipfarm::audio
