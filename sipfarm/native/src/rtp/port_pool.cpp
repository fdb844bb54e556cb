#include "rtp/port_pool.hpp"

namespace sipfarm::rtp {

bool PortPool::add(std::uint16_t port) {
  if (port == 0 || port % 2 != 0 || contains(port)) return false;
  states_[port / 2U] = State::free;
  ready_.push_back(port);
  return true;
}

std::optional<std::uint16_t> PortPool::take(std::int64_t now_ms) {
  wake(now_ms);
  if (ready_.empty()) {
    ++refused_;
    return std::nullopt;
  }
  const std::uint16_t port = ready_.front();
  ready_.pop_front();
  states_[port / 2U] = State::taken;
  ++taken_;
  return port;
}

bool PortPool::give_back(std::uint16_t port, std::int64_t now_ms) {
  if (port % 2 != 0 || states_[port / 2U] != State::taken) return false;
  states_[port / 2U] = State::resting;
  resting_.push_back({port, now_ms + rest_ms_});
  --taken_;
  return true;
}

std::size_t PortPool::wanted(std::size_t low_water, std::int64_t now_ms) {
  wake(now_ms);
  return ready_.size() < low_water ? low_water - ready_.size() : 0;
}

void PortPool::wake(std::int64_t now_ms) {
  while (!resting_.empty() && resting_.front().until_ms <= now_ms) {
    const std::uint16_t port = resting_.front().port;
    resting_.pop_front();
    states_[port / 2U] = State::free;
    ready_.push_back(port);
  }
}

}  // namespace sipfarm::rtp
