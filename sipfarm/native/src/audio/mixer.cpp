#include "audio/mixer.hpp"

#include <algorithm>
#include <tuple>

#include "audio/mix_kernel.hpp"

namespace sipfarm::audio {

Mixer::Mixer(const MixerConfig& config)
    : samples_{config.sample_rate_hz / k_ticks_per_s},
      slots_{config.delay_ticks_max + 1},
      links_max_{config.links_max},
      parties_(config.parties_max),
      inputs_(config.parties_max * slots_ * samples_),
      came_(config.parties_max * slots_),
      scaled_(config.parties_max * samples_),
      outputs_((config.parties_max + 2) * samples_),
      common_(samples_),
      personal_(samples_),
      speakers_{config.parties_max},
      tick_{slots_} {
  links_.reserve(links_max_);
}

// ---- who is in, and how

std::optional<PartyId> Mixer::join(Role role) noexcept {
  const auto free = std::find_if(parties_.begin(), parties_.end(), [](const Party& party) { return !party.present; });
  if (free == parties_.end()) return std::nullopt;
  const auto id = static_cast<PartyId>(free - parties_.begin());
  *free = {};
  free->present = true;
  free->player = role == Role::player;
  std::fill_n(came_.begin() + static_cast<std::ptrdiff_t>(id * slots_), slots_, std::uint8_t{0});
  if (!free->player) speakers_.join(id);
  ++count_;
  used_ = std::max<std::size_t>(used_, id + 1U);
  return id;
}

void Mixer::leave(PartyId party) noexcept {
  if (!parties_[party].present) return;
  for (const Link& found : links_) {
    if (found.speaker == party) --parties_[found.listener].links;
  }
  std::erase_if(links_, [&](const Link& found) { return found.listener == party || found.speaker == party; });
  parties_[party] = {};
  speakers_.leave(party);
  --count_;
  while (used_ > 0 && !parties_[used_ - 1].present) --used_;
}

void Mixer::set_muted(PartyId party, bool muted) noexcept {
  parties_[party].muted = muted;
  speakers_.set_aside(party, muted || parties_[party].whispering);
}

void Mixer::set_whispering(PartyId speaker, bool whispering) noexcept {
  parties_[speaker].whispering = whispering;
  speakers_.set_aside(speaker, whispering || parties_[speaker].muted);
}

bool Mixer::set_gain_between(PartyId listener, PartyId speaker, float db) noexcept {
  Link* between = link(listener, speaker);
  if (between == nullptr) return false;
  between->gain = factor_of_db(db);
  drop_idle_link(between);
  return true;
}

bool Mixer::choose_whispered_to(PartyId speaker, PartyId listener, bool chosen) noexcept {
  Link* between = link(listener, speaker);
  if (between == nullptr) return false;
  between->chosen = chosen;
  drop_idle_link(between);
  return true;
}

Mixer::Link* Mixer::link(PartyId listener, PartyId speaker) noexcept {
  const auto place = std::lower_bound(links_.begin(), links_.end(), std::tuple{listener, speaker}, [](const Link& found, const auto& key) {
    return std::tuple{found.listener, found.speaker} < key;
  });
  if (place != links_.end() && place->listener == listener && place->speaker == speaker) return &*place;
  if (links_.size() == links_max_) return nullptr;
  ++parties_[listener].links;
  return &*links_.insert(place, Link{listener, speaker});
}

void Mixer::drop_idle_link(Link* idle) noexcept {
  if (idle->chosen || idle->gain != 1.0F) return;
  --parties_[idle->listener].links;
  links_.erase(links_.begin() + (idle - links_.data()));
}

// ---- a tick

void Mixer::arrived(PartyId party, float dbov) noexcept {
  came(party, tick_) = 1;
  if (!parties_[party].player) speakers_.measure(party, dbov);
}

void Mixer::mix() noexcept {
  speakers_.tick();
  sum_up();
  hand_out();
  delay_before_ = delay_;
  ++tick_;
  for (std::size_t id = 0; id < used_; ++id) came(static_cast<PartyId>(id), tick_) = 0;
}

void Mixer::sum_up() noexcept {
  std::fill(common_.begin(), common_.end(), 0);
  mixed_ = 0;
  for (std::size_t i = 0; i < used_; ++i) {
    Party& party = parties_[i];
    if (!party.present) continue;
    voice_of(static_cast<PartyId>(i));
    party.mixed = party.voice != nullptr && !party.whispering;
    if (!party.mixed) continue;
    add(common_.data(), party.voice, samples_);
    ++mixed_;
  }
}

/// What is heard of a party in this tick: its frame as it came, or with a gain.
void Mixer::voice_of(PartyId id) noexcept {
  Party& party = parties_[id];
  const bool here = came(id, tick_ - delay_) != 0;
  const bool open = !party.muted && (party.player || party.whispering || speakers_.heard(id));
  const float from = party.applied;
  const float to = here && open ? party.gain : 0.0F;
  std::int16_t* const frame = frame_of(id, tick_ - delay_);
  std::int16_t* const own = scaled_.data() + id * samples_;
  party.applied = to;
  party.voice = nullptr;
  if (delay_ != delay_before_) {
    const bool was_here = came(id, tick_ - delay_before_) != 0 && from != 0.0F;
    if (!was_here && to == 0.0F) return;
    cross_fade(own, frame_of(id, tick_ - delay_before_), was_here ? from : 0.0F, frame, to, samples_);
    party.voice = own;
    return;
  }
  if (!here || (from == 0.0F && to == 0.0F)) return;
  party.voice = from == 1.0F && to == 1.0F ? frame : own;
  if (party.voice == own) ramp(own, frame, from, to, samples_);
}

void Mixer::hand_out() noexcept {
  bool common_heard = false;
  for (std::size_t i = 0; i < used_; ++i) {
    Party& party = parties_[i];
    if (!party.present) continue;
    const bool plain = party.links == 0 && party.volume == 1.0F;
    if (party.deaf || party.player || (plain && mixed_ == (party.mixed ? 1U : 0U))) {
      party.heard = k_silence;
    } else if (!plain) {
      party.heard = own_mix(static_cast<PartyId>(i));
    } else if (!party.mixed) {
      party.heard = k_common;
      common_heard = true;
    } else {
      party.heard = static_cast<BufferId>(i + 2);
      limit_minus(outputs_.data() + party.heard * samples_, common_.data(), party.voice, samples_);
    }
  }
  if (common_heard) limit(outputs_.data() + k_common * samples_, common_.data(), samples_);
}

/// The mix of one who hears somebody, or everything, in another way than the rest.
Mixer::BufferId Mixer::own_mix(PartyId id) noexcept {
  const Party& party = parties_[id];
  if (party.mixed) {
    subtract(personal_.data(), common_.data(), party.voice, samples_);
  } else {
    std::copy(common_.begin(), common_.end(), personal_.begin());
  }
  auto found = std::lower_bound(links_.begin(), links_.end(), id, [](const Link& link, PartyId listener) { return link.listener < listener; });
  bool hears = mixed_ > (party.mixed ? 1U : 0U);
  for (; found != links_.end() && found->listener == id; ++found) {
    const Party& speaker = parties_[found->speaker];
    if (speaker.voice == nullptr || found->speaker == id) continue;
    const float gain = speaker.whispering ? (found->chosen ? found->gain : 0.0F) : found->gain - 1.0F;
    if (gain == 0.0F) continue;
    add_scaled(personal_.data(), speaker.voice, gain, samples_);
    hears = true;
  }
  if (!hears) return k_silence;
  if (party.volume != 1.0F) scale(personal_.data(), party.volume, samples_);
  const auto heard = static_cast<BufferId>(id + 2U);
  limit(outputs_.data() + heard * samples_, personal_.data(), samples_);
  return heard;
}

}  // namespace sipfarm::audio
