#include "audio/mixer.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include <doctest/doctest.h>

using namespace sipfarm;
using audio::Mixer;
using audio::PartyId;
using Role = audio::Mixer::Role;

namespace {

/// A room whose parties say constants, so that what each hears is a number.
struct Room {
  explicit Room(audio::MixerConfig config = {}) : mixer{config} {}

  PartyId join(std::int16_t says, Role role = Role::party) {
    const PartyId id = mixer.join(role).value();
    says_.resize(std::max<std::size_t>(says_.size(), id + 1U));
    says_[id] = says;
    return id;
  }

  void say(PartyId id, std::int16_t value) { says_[id] = value; }

  void tick() {
    for (std::size_t id = 0; id < says_.size(); ++id) {
      if (says_[id] == 0) continue;
      std::ranges::fill(mixer.input(static_cast<PartyId>(id)), says_[id]);
      mixer.arrived(static_cast<PartyId>(id));
    }
    mixer.mix();
  }

  /// The second one is without fading.
  void settle() {
    tick();
    tick();
  }

  /// The last sample of what the party hears.
  int hears(PartyId id) const { return mixer.buffer(mixer.heard(id)).back(); }

  Mixer mixer;
  std::vector<std::int16_t> says_;
};

}  // namespace

TEST_CASE("mixer: each hears the others and never itself") {
  Room room;
  const auto a = room.join(100);
  const auto b = room.join(20);
  const auto c = room.join(3);
  room.settle();
  CHECK(room.hears(a) == 23);
  CHECK(room.hears(b) == 103);
  CHECK(room.hears(c) == 120);
  CHECK(std::set{room.mixer.heard(a), room.mixer.heard(b), room.mixer.heard(c)}.size() == 3);
}

TEST_CASE("mixer: those who are not heard share one buffer, and one who talks alone hears silence") {
  Room room;
  const auto talker = room.join(100);
  const auto muted = room.join(50);
  const auto absent = room.join(0);
  const auto also = room.join(0);
  room.mixer.set_muted(muted, true);
  room.settle();
  for (const auto id : {muted, absent, also}) CHECK(room.mixer.heard(id) == Mixer::k_common);
  CHECK(room.hears(also) == 100);
  CHECK(room.mixer.heard(talker) == Mixer::k_silence);
  CHECK(room.hears(talker) == 0);
  room.say(talker, 0);
  room.tick();
  CHECK(room.mixer.heard(also) == Mixer::k_silence);
}

TEST_CASE("mixer: who is deaf hears nothing and is heard") {
  Room room;
  const auto a = room.join(100);
  const auto b = room.join(20);
  room.mixer.set_deaf(a, true);
  room.settle();
  CHECK(room.mixer.heard(a) == Mixer::k_silence);
  CHECK(room.hears(b) == 100);
}

TEST_CASE("mixer: a gain of what one says, of what one hears, and between two") {
  Room room;
  const auto a = room.join(1'000);
  const auto b = room.join(200);
  const auto c = room.join(0);
  room.mixer.set_gain(a, -20.0F);
  room.settle();
  CHECK(room.hears(b) == 100);
  CHECK(room.hears(c) == 300);
  CHECK(room.hears(a) == 200);
  room.mixer.set_volume(c, 20.0F);
  room.settle();
  CHECK(room.hears(c) == 3'000);
  CHECK(room.hears(b) == 100);
  room.mixer.set_volume(c, 0.0F);
  CHECK(room.mixer.set_gain_between(c, b, -20.0F));
  room.settle();
  CHECK(room.hears(c) == 120);
  CHECK(room.hears(a) == 200);
  CHECK(room.mixer.set_gain_between(c, b, 0.0F));
  CHECK(room.mixer.links() == 0);
  room.settle();
  CHECK(room.mixer.heard(c) == Mixer::k_common);
}

TEST_CASE("mixer: a whisper is heard by those who were chosen only") {
  Room room;
  const auto coach = room.join(1'000);
  const auto agent = room.join(30);
  const auto customer = room.join(2);
  room.mixer.set_whispering(coach, true);
  CHECK(room.mixer.choose_whispered_to(coach, agent, true));
  room.settle();
  CHECK(room.hears(agent) == 1'002);
  CHECK(room.hears(customer) == 30);
  CHECK(room.mixer.heard(coach) == Mixer::k_common);
  CHECK(room.hears(coach) == 32);
  room.mixer.set_whispering(coach, false);
  room.settle();
  CHECK(room.hears(customer) == 1'030);
}

TEST_CASE("mixer: an announcement goes to all or to one party, and is not gated") {
  Room room;
  const auto a = room.join(0);
  const auto b = room.join(0);
  const auto player = room.join(7, Role::player);
  room.mixer.set_gate(-20.0F);
  room.mixer.set_loudest(1);
  room.settle();
  CHECK(room.hears(a) == 7);
  CHECK(room.mixer.heard(a) == room.mixer.heard(b));
  CHECK(room.mixer.heard(player) == Mixer::k_silence);
  room.mixer.set_whispering(player, true);
  CHECK(room.mixer.choose_whispered_to(player, a, true));
  room.settle();
  CHECK(room.hears(a) == 7);
  CHECK(room.mixer.heard(b) == Mixer::k_silence);
}

TEST_CASE("mixer: what is too loud is bent, never wrapped, and what is not is left alone") {
  Room room;
  std::vector<PartyId> loud;
  for (int i = 0; i < 40; ++i) loud.push_back(room.join(i % 2 == 0 ? 30'000 : 32'767));
  const auto listener = room.join(0);
  room.settle();
  CHECK(room.hears(listener) > 32'000);
  CHECK(room.hears(loud[0]) > 32'000);
  for (const auto id : loud) room.say(id, -32'768);
  room.settle();
  CHECK(room.hears(listener) < -32'000);
  for (std::size_t i = 1; i < loud.size(); ++i) room.say(loud[i], 0);
  int last = 0;
  for (int level = 1'000; level <= 32'000; level += 1'000) {
    room.say(loud[0], static_cast<std::int16_t>(level));
    room.settle();
    const int now = room.hears(listener);
    CHECK(now > last);
    CHECK(now <= level);
    if (level <= audio::k_limit_knee) CHECK(now == level);
    last = now;
  }
}

TEST_CASE("mixer: only the loudest are heard, and a little more is not enough to take a place") {
  Room room;
  room.mixer.set_loudest(2);
  const auto a = room.join(8'000);
  const auto b = room.join(4'000);
  const auto c = room.join(3'000);
  const auto d = room.join(0);
  room.settle();
  CHECK(room.hears(d) == 12'000);
  CHECK(room.mixer.heard(c) == Mixer::k_common);
  room.say(c, 5'000);  // 2 dB above b
  room.settle();
  CHECK(room.hears(d) == 12'000);
  room.say(c, 9'000);  // 7 dB
  room.settle();
  CHECK(room.hears(d) == 17'000);
  CHECK(room.mixer.heard(b) == Mixer::k_common);
  room.mixer.set_loudest(0);
  room.settle();
  CHECK(room.hears(d) == 21'000);
  CHECK(room.hears(a) == 13'000);
}

TEST_CASE("mixer: the gate shuts out noise and closes only after a while") {
  Room room;
  room.mixer.set_gate(-40.0F);
  const auto noisy = room.join(100);  // -50 dBov
  const auto speaker = room.join(1'000);
  const auto listener = room.join(0);
  room.settle();
  CHECK(room.hears(listener) == 1'000);
  CHECK(room.mixer.heard(noisy) == Mixer::k_common);
  room.say(speaker, 100);
  room.tick();
  CHECK(room.hears(listener) == 100);
  for (int i = 0; i < audio::Speakers::k_gate_hold_ticks; ++i) room.tick();
  CHECK(room.mixer.heard(listener) == Mixer::k_silence);
}

TEST_CASE("mixer: with a delay the beginning of a word is heard though the gate was closed") {
  Room room{{.delay_ticks_max = 5}};
  room.mixer.set_gate(-40.0F);
  room.mixer.set_delay(2);
  const auto speaker = room.join(50);
  const auto listener = room.join(0);
  room.settle();
  CHECK(room.mixer.heard(listener) == Mixer::k_silence);
  room.say(speaker, 5'000);
  room.tick();  // what is mixed now came two ticks ago, and the gate is open already
  CHECK(room.hears(listener) == 50);
  room.settle();
  CHECK(room.hears(listener) == 5'000);
  room.mixer.set_delay(0);
  room.settle();
  CHECK(room.hears(listener) == 5'000);
}

TEST_CASE("mixer: who begins or ceases to be heard is faded, and so is a change of delay") {
  Room room;
  const auto speaker = room.join(10'000);
  const auto listener = room.join(0);
  const auto steps = [&] {
    room.tick();
    const auto pcm = room.mixer.buffer(room.mixer.heard(listener));
    int largest = 0;
    for (std::size_t i = 1; i < pcm.size(); ++i) largest = std::max(largest, std::abs(pcm[i] - pcm[i - 1]));
    return std::max(largest, std::abs(pcm.front() - 0) > 9'000 ? 0 : static_cast<int>(pcm.front()));
  };
  CHECK(steps() <= 70);
  CHECK(room.hears(listener) == 10'000);
  room.mixer.set_muted(speaker, true);
  CHECK(steps() <= 70);
  CHECK(room.hears(listener) == 0);
  room.mixer.set_muted(speaker, false);
  room.settle();
  room.mixer.set_delay(3);
  CHECK(steps() <= 130);
}

TEST_CASE("mixer: who talks is told once when it begins and once when it ends, and the floor is not lost to a cough") {
  Room room;
  const auto a = room.join(3'000);
  const auto b = room.join(0);
  room.tick();
  const auto& speakers = room.mixer.speakers();
  REQUIRE(speakers.changed().size() == 1);
  CHECK(speakers.changed()[0] == a);
  CHECK(speakers.talking(a));
  CHECK(speakers.active() == a);
  room.say(b, 20'000);
  for (int i = 0; i < 5; ++i) room.tick();
  CHECK(speakers.talking(b));
  CHECK(speakers.active() == a);
  for (int i = 0; i < audio::Speakers::k_floor_hold_ticks; ++i) room.tick();
  CHECK(speakers.active() == b);
  room.say(b, 0);
  int told = 0;
  for (int i = 0; i < 60; ++i) {
    room.tick();
    told += static_cast<int>(speakers.changed().size());
  }
  CHECK(told == 1);
  CHECK_FALSE(speakers.talking(b));
  CHECK(speakers.active() == a);
  room.mixer.leave(a);
  CHECK_FALSE(speakers.active().has_value());
}

TEST_CASE("mixer: bounds hold, and places and links are given back") {
  Room room{{.parties_max = 3, .links_max = 2}};
  const auto a = room.join(100);
  const auto b = room.join(20);
  const auto c = room.join(3);
  CHECK_FALSE(room.mixer.join().has_value());
  CHECK(room.mixer.set_gain_between(a, b, -6.0F));
  CHECK(room.mixer.set_gain_between(c, a, -6.0F));
  CHECK_FALSE(room.mixer.set_gain_between(b, a, -6.0F));
  room.mixer.leave(a);
  CHECK(room.mixer.links() == 0);
  CHECK(room.mixer.parties() == 2);
  room.say(a, 0);
  room.settle();
  CHECK(room.hears(b) == 3);
  CHECK(room.join(500) == a);
  room.settle();
  CHECK(room.hears(b) == 503);
}

TEST_CASE("level: a full square wave is 0 dBov, a full sine 3 dB less, silence -127") {
  std::vector<std::int16_t> pcm(8'000, -32'768);
  CHECK(audio::level_dbov(pcm) == doctest::Approx(0.0));
  CHECK(audio::level_field(audio::level_dbov(pcm)) == 0);
  for (std::size_t i = 0; i < pcm.size(); ++i) {
    pcm[i] = static_cast<std::int16_t>(32'767.0 * std::sin(2.0 * 3.14159265358979 * 1'000.0 * static_cast<double>(i) / 8'000.0));
  }
  CHECK(audio::level_dbov(pcm) == doctest::Approx(-3.01).epsilon(0.01));
  CHECK(audio::level_field(audio::level_dbov(pcm)) == 3);
  std::ranges::fill(pcm, std::int16_t{0});
  CHECK(audio::level_field(audio::level_dbov(pcm)) == 127);
}
