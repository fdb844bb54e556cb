#pragma once

#include <array>

#include "engine_bench.hpp"

// A farm of benches, with the bus in the test's hands.

namespace sipfarm::tests {

/// Three members; frames go from one to the other when run() is called, unless the link is cut.
class Farm {
 public:
  explicit Farm(const sip::ProtectConfig& protect = {}) {
    for (std::uint16_t number = 1; number <= 3; ++number) {
      sip::EngineConfig config = Bench::config(number);
      config.epoch = 10;
      config.protect = protect;
      members_.push_back(std::make_unique<Bench>(std::move(config)));
    }
    view({1, 2, 3});
  }

  Bench& operator[](std::uint16_t number) { return *members_[number - 1U]; }

  void view(const std::vector<std::uint16_t>& numbers) {
    for (const std::uint16_t number : numbers) view_of(number, numbers);
    run();
  }
  void view_of(std::uint16_t of, const std::vector<std::uint16_t>& numbers) {
    std::vector<sip::FarmMember> view;
    for (const std::uint16_t number : numbers) {
      const bool works = number != no_pbx;
      view.push_back({number, 10, number != draining && works, loads[number - 1U], number != no_edge, works});
    }
    (*this)[of].act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.set_view(view, now, out); });
  }
  /// Delivers what stands in the frames until there are none.
  void run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (std::uint16_t from = 1; from <= 3; ++from) {
        while (!(*this)[from].frames.empty()) {
          const auto [to, payload] = std::move((*this)[from].frames.front());
          (*this)[from].frames.pop_front();
          ++hops;
          if (to < 1 || to > 3 || to == dead) continue;
          (*this)[to].act([&, bytes = std::string_view{payload}](sip::Engine& e, std::int64_t now, sip::Output& out) {
            e.receive_bus(from, bytes, now, out);
          });
          moved = true;
        }
      }
    }
  }
  void receive(std::uint16_t at, const net::Hop& from, std::string_view text) {
    (*this)[at].receive(from, text);
    run();
  }
  void advance(std::int64_t by_ms) {
    for (auto& member : members_) member->advance(by_ms);
    run();
  }
  /// The member where something is to be decided, 0 where there is none or several.
  std::uint16_t asked() {
    std::uint16_t found = 0;
    for (std::uint16_t number = 1; number <= 3; ++number) {
      if ((*this)[number].events.empty()) continue;
      if (found != 0) return 0;
      found = number;
    }
    return found;
  }
  std::uint16_t home_of(std::string_view call_id) {
    sip::FarmView view{1, 10, Bench::config(1).transaction_key};
    const std::vector<sip::FarmMember> members = {{1, 10, true, 0}, {2, 10, true, 0}, {3, 10, true, 0}};
    view.set(members);
    return view.rank(call_id).first;
  }
  std::uint16_t not_home_of(std::string_view call_id, std::uint16_t nor = 0) {
    for (std::uint16_t number = 1; number <= 3; ++number) {
      if (number != home_of(call_id) && number != nor) return number;
    }
    return 0;
  }
  void at_rest() {
    for (int i = 0; i < 10; ++i) advance(100'000);
    for (auto& member : members_) {
      member->events.clear();
      member->sent.clear();
      member->frames.clear();
      member->at_rest();
    }
  }

  std::array<float, 3> loads{};
  std::uint16_t draining = 0;
  std::uint16_t no_edge = 0;
  std::uint16_t no_pbx = 0;
  std::uint16_t dead = 0;
  std::size_t hops = 0;

 private:
  std::vector<std::unique_ptr<Bench>> members_;
};

/// Alice's call to Bob through a member, up to what Bob got.
inline std::string forwarded(Farm& farm, std::uint16_t at, const Ask& invite = {}) {
  farm.receive(at, alice, invite.text());
  REQUIRE(farm.asked() == at);
  farm[at].forward(farm[at].take_event(sip::EventKind::request).id, {to_bob()});
  farm[at].take("SIP/2.0 100");
  return farm[at].take("INVITE ");
}

}  // namespace sipfarm::tests
