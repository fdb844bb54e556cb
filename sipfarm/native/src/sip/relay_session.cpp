#include "sip/relay_session.hpp"

#include <array>
#include <utility>

namespace sipfarm::sip {

SdpOutcome RelaySession::pass(rtp::Side from, const net::Hop& source, std::string_view body, const net::Address& relay,
                              rtp::PortPool& ports, StreamNames& names, bool tentative, std::int64_t now_ms, Output& out,
                              std::string& rewritten) {
  const auto sdp = SdpView::parse(body);
  if (!sdp) return SdpOutcome::untouched;
  const rtp::Side to = rtp::opposite(from);
  const auto media = sdp->media();
  if (streams_.size() < media.size()) streams_.resize(media.size());
  if (!open_missing(media, ports, names, now_ms)) return SdpOutcome::no_ports;
  std::array<RelayLine, media_lines_max> lines{};
  for (std::size_t i = 0; i < media.size(); ++i) {
    const MediaLine& line = media[i];
    RelayStream& stream = streams_[i];
    if (!line.relayable()) {
      if (line.rejected() && !line.bundle_only && !tentative) close(stream, ports, now_ms, out);
      continue;
    }
    const bool fresh = std::exchange(stream.fresh, false);
    lines[i] = {stream.ports[rtp::index(to)], true};

    stream.offers_mux[rtp::index(from)] = line.rtcp_mux;
    const bool mux = stream.offers_mux[0] && stream.offers_mux[1];
    rtp::Remote& near = stream.remotes[rtp::index(from)];
    rtp::Remote& far = stream.remotes[rtp::index(to)];
    near = {line.rtp.value_or(net::Address{}), line.rtcp.value_or(net::Address{}), source.remote, mux};
    const bool far_changes = far.rtcp_mux != mux && !far.rtp.empty();
    far.rtcp_mux = mux;
    if (fresh) {
      auto command = rtp::Command::open_relay(stream.id, stream.ports[0], stream.ports[1], stream.remotes[0], stream.remotes[1]);
      command.opaque = line.carrier != Carrier::rtp;
      out.media.push_back(command);
    } else {
      out.media.push_back(rtp::Command::set_remote(stream.id, from, near));
      if (far_changes) out.media.push_back(rtp::Command::set_remote(stream.id, to, far));
    }
    stream.holds[rtp::index(from)] = line.held() || line.direction != Direction::sendrecv;
    if (stream.held() || !fresh) out.media.push_back(rtp::Command::set_held(stream.id, stream.held()));
  }
  return put_relay_in(*sdp, {lines.data(), media.size()}, relay, rewritten) ? SdpOutcome::rewritten : SdpOutcome::untouched;
}

void RelaySession::take_back(rtp::Side from, std::span<const RelayStream> before, rtp::PortPool& ports, std::int64_t now_ms, Output& out) {
  const std::size_t side = rtp::index(from);
  const std::size_t other = rtp::index(rtp::opposite(from));
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    RelayStream& stream = streams_[i];
    if (stream.id == 0) continue;
    const bool known = i < before.size() && before[i].id == stream.id;
    if (!known && stream.remotes[other].rtp.empty()) {  // it came with what was refused
      close(stream, ports, now_ms, out);
      continue;
    }
    const RelayStream was = known ? before[i] : RelayStream{};
    const bool held = stream.held();
    const bool mux = stream.remotes[side].rtcp_mux;
    stream.offers_mux[side] = was.offers_mux[side];
    stream.holds[side] = was.holds[side];
    stream.remotes[side] = was.remotes[side];
    stream.remotes[side].rtcp_mux = stream.offers_mux[0] && stream.offers_mux[1];
    out.media.push_back(rtp::Command::set_remote(stream.id, from, stream.remotes[side]));
    if (stream.remotes[side].rtcp_mux != mux && !stream.remotes[other].rtp.empty()) {
      stream.remotes[other].rtcp_mux = stream.remotes[side].rtcp_mux;
      out.media.push_back(rtp::Command::set_remote(stream.id, rtp::opposite(from), stream.remotes[other]));
    }
    if (stream.held() != held) out.media.push_back(rtp::Command::set_held(stream.id, stream.held()));
  }
}

SdpOutcome RelaySession::pass_again(rtp::Side from, std::string_view body, const net::Address& relay, std::string& rewritten) const {
  const auto sdp = SdpView::parse(body);
  if (!sdp) return SdpOutcome::untouched;
  const auto media = sdp->media();
  std::array<RelayLine, media_lines_max> lines{};
  for (std::size_t i = 0; i < media.size() && i < streams_.size(); ++i) {
    if (media[i].relayable() && streams_[i].id != 0) lines[i] = {streams_[i].ports[rtp::index(rtp::opposite(from))], true};
  }
  return put_relay_in(*sdp, {lines.data(), media.size()}, relay, rewritten) ? SdpOutcome::rewritten : SdpOutcome::untouched;
}

/// Takes the ports of all lines that have none yet, or of none.
bool RelaySession::open_missing(std::span<const MediaLine> media, rtp::PortPool& ports, StreamNames& names, std::int64_t now_ms) {
  for (std::size_t i = 0; i < media.size(); ++i) {
    if (!media[i].relayable() || streams_[i].id != 0 || open(streams_[i], ports, names, now_ms)) continue;
    for (RelayStream& stream : streams_) {
      if (!stream.fresh) continue;
      for (const std::uint16_t port : stream.ports) ports.give_back(port, now_ms);
      stream = {};
    }
    return false;
  }
  return true;
}

bool RelaySession::open(RelayStream& stream, rtp::PortPool& ports, StreamNames& names, std::int64_t now_ms) noexcept {
  const auto a = ports.take(now_ms);
  if (!a) return false;
  const auto b = ports.take(now_ms);
  if (!b) {
    ports.give_back(*a, now_ms);
    return false;
  }
  stream = {};
  stream.id = names.next();
  stream.fresh = true;
  stream.ports = {*a, *b};
  return true;
}

void RelaySession::close(RelayStream& stream, rtp::PortPool& ports, std::int64_t now_ms, Output& out) {
  if (stream.id == 0) return;
  out.media.push_back(rtp::Command::close(stream.id));
  for (const std::uint16_t port : stream.ports) ports.give_back(port, now_ms);
  stream = {};
}

void RelaySession::release(rtp::PortPool& ports, std::int64_t now_ms, Output& out) {
  for (RelayStream& stream : streams_) close(stream, ports, now_ms, out);
  streams_.clear();
}

bool RelaySession::active() const noexcept {
  for (const RelayStream& stream : streams_) {
    if (stream.id != 0) return true;
  }
  return false;
}

}  // namespace sipfarm::sip
