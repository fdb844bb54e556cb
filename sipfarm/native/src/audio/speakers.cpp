#include "audio/speakers.hpp"

#include <algorithm>
#include <functional>

namespace sipfarm::audio {

void Speakers::leave(PartyId party) noexcept {
  voices_[party] = {};
  if (active_ == party) active_.reset();
  if (challenger_ == party) challenger_.reset();
}

void Speakers::tick() noexcept {
  changed_.clear();
  for (std::size_t i = 0; i < voices_.size(); ++i) {
    Voice& voice = voices_[i];
    if (!voice.present) continue;
    const bool talked = voice.talking_ticks > 0;
    listen(voice);
    if (talked != (voice.talking_ticks > 0)) changed_.push_back(static_cast<PartyId>(i));
  }
  choose();
  give_floor();
}

/// The level rises at once and falls slowly: syllables do not change the ranking.
void Speakers::listen(Voice& voice) noexcept {
  voice.level = std::max({voice.measured, voice.level - k_decay_db, k_silence_dbov});
  const bool open = gate_dbov_ <= k_silence_dbov || voice.measured >= gate_dbov_;
  voice.gate_ticks = open ? k_gate_hold_ticks : std::max(voice.gate_ticks - 1, 0);
  const bool talks = !voice.aside && voice.measured >= std::max(k_talking_dbov, gate_dbov_);
  voice.talking_ticks = talks ? k_talking_hold_ticks : std::max(voice.talking_ticks - 1, 0);
  if (voice.aside) voice.talking_ticks = 0;
  voice.measured = k_silence_dbov;
}

void Speakers::choose() noexcept {
  ranking_.clear();
  for (std::size_t i = 0; i < voices_.size(); ++i) {
    Voice& voice = voices_[i];
    const bool may = voice.present && !voice.aside && voice.gate_ticks > 0;
    if (may && loudest_ > 0) ranking_.emplace_back(voice.level + (voice.chosen ? k_stay_db : 0.0F), static_cast<PartyId>(i));
    voice.chosen = may;
  }
  if (loudest_ == 0 || ranking_.size() <= loudest_) return;
  const auto cut = ranking_.begin() + static_cast<std::ptrdiff_t>(loudest_);
  std::nth_element(ranking_.begin(), cut, ranking_.end(), std::greater<>{});
  std::for_each(cut, ranking_.end(), [&](const auto& quiet) { voices_[quiet.second].chosen = false; });
}

void Speakers::give_floor() noexcept {
  std::optional<PartyId> loudest;
  for (std::size_t i = 0; i < voices_.size(); ++i) {
    if (voices_[i].talking_ticks > 0 && (!loudest || voices_[i].level > voices_[*loudest].level)) loudest = static_cast<PartyId>(i);
  }
  const bool vacant = !active_ || !talking(*active_);
  if (!loudest || loudest == active_) {
    challenger_.reset();
    return;  // who spoke last keeps the floor in silence
  }
  if (vacant) {
    active_ = loudest;
    challenger_.reset();
    return;
  }
  if (voices_[*loudest].level < voices_[*active_].level + k_floor_db) {
    challenger_.reset();
    return;
  }
  challenged_ticks_ = challenger_ == loudest ? challenged_ticks_ + 1 : 1;
  challenger_ = loudest;
  if (challenged_ticks_ < k_floor_hold_ticks) return;
  active_ = loudest;
  challenger_.reset();
}

}  // namespace sipfarm::audio
