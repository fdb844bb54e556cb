#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace sipfarm::rtp {

/// Hands out even RTP ports (RTCP is the next one) that are already bound. Pure: the plane binds and adds,
/// the engine takes and gives back. A port rests before it is used again, so that late packets of the last
/// call do not reach the next one.
class PortPool {
 public:
  explicit PortPool(std::int64_t rest_ms = 5'000) : rest_ms_{rest_ms}, states_(k_pairs, State::absent) {}

  /// A freshly bound port joins. False for an odd port or one that is here already.
  bool add(std::uint16_t port);

  /// The port that has rested longest; nothing (and counted) when none is ready.
  std::optional<std::uint16_t> take(std::int64_t now_ms);

  /// The port rests, then is free. False for a port that was not taken.
  bool give_back(std::uint16_t port, std::int64_t now_ms);

  /// How many more ports should be bound so that `low_water` are ready to be taken.
  std::size_t wanted(std::size_t low_water, std::int64_t now_ms);

  /// Is the port in the pool, whether free, resting or taken?
  bool contains(std::uint16_t port) const noexcept { return states_[port / 2U] != State::absent; }

  std::size_t free() const noexcept { return ready_.size(); }        // ready as of the last call that had the time
  std::size_t resting() const noexcept { return resting_.size(); }
  std::size_t taken() const noexcept { return taken_; }
  std::size_t size() const noexcept { return free() + resting() + taken(); }
  std::uint64_t refused() const noexcept { return refused_; }

 private:
  enum class State : std::uint8_t { absent, free, resting, taken };
  struct Resting {
    std::uint16_t port;
    std::int64_t until_ms;
  };
  static constexpr std::size_t k_pairs = 65'536 / 2;

  void wake(std::int64_t now_ms);

  std::int64_t rest_ms_;
  std::vector<State> states_;
  std::deque<std::uint16_t> ready_;
  std::deque<Resting> resting_;  // in the order given back, so in the order of until_ms
  std::size_t taken_ = 0;
  std::uint64_t refused_ = 0;
};

}  // namespace sipfarm::rtp
