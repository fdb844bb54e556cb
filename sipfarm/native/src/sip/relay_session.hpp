#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/hop.hpp"
#include "rtp/port_pool.hpp"
#include "sip/output.hpp"
#include "sip/sdp.hpp"

namespace sipfarm::sip {

/// One m-line of a relayed session: a port for each side, and the plane's name for the pair.
struct RelayStream {
  std::uint64_t id = 0;  // 0: not open
  std::array<std::uint16_t, 2> ports{};
  std::array<rtp::Remote, 2> remotes{};
  std::array<bool, 2> offers_mux{};
  std::array<bool, 2> holds{};  // a side that has said it sends or takes nothing
  bool fresh = false;  // the plane has not heard of it

  bool held() const noexcept { return holds[0] || holds[1]; }
};

/// Names for the streams of one call, from which the call can be told again.
class StreamNames {
 public:
  StreamNames(std::uint64_t call, std::uint64_t& count) noexcept : call_{call}, count_{count} {}
  std::uint64_t next() noexcept { return call_ << count_bits | (++count_ & ((std::uint64_t{1} << count_bits) - 1)); }
  static std::uint64_t call_of(std::uint64_t stream) noexcept { return stream >> count_bits; }

 private:
  static constexpr int count_bits = 20;  // handles have 40; from bit 62 on the names are Python's
  std::uint64_t call_;
  std::uint64_t& count_;
};

enum class SdpOutcome : std::uint8_t { untouched, rewritten, no_ports };

/// The relay of one branch of a call. Offers and answers of either side pass through it, in whatever message they come.
class RelaySession {
 public:
  /// Puts the relay into `body`, which `from` sent, and tells the plane what it must know. `source` is where the message came from.
  /// Where there are too few ports nothing has changed. `tentative`: what may be refused yet closes nothing.
  SdpOutcome pass(rtp::Side from, const net::Hop& source, std::string_view body, const net::Address& relay, rtp::PortPool& ports,
                  StreamNames& names, bool tentative, std::int64_t now_ms, Output& out, std::string& rewritten);
  /// What a side said last was refused: it counts again what it had said before, when the streams were as in `before` (RFC 3261 §14.1).
  /// What the other side has said since stays.
  void take_back(rtp::Side from, std::span<const RelayStream> before, rtp::PortPool& ports, std::int64_t now_ms, Output& out);
  /// The same for a body that came again, or that shall not move the media: the plane hears nothing of it.
  SdpOutcome pass_again(rtp::Side from, std::string_view body, const net::Address& relay, std::string& rewritten) const;
  void release(rtp::PortPool& ports, std::int64_t now_ms, Output& out);
  bool active() const noexcept;
  const std::vector<RelayStream>& streams() const noexcept { return streams_; }

 private:
  bool open_missing(std::span<const MediaLine> media, rtp::PortPool& ports, StreamNames& names, std::int64_t now_ms);
  bool open(RelayStream& stream, rtp::PortPool& ports, StreamNames& names, std::int64_t now_ms) noexcept;
  static void close(RelayStream& stream, rtp::PortPool& ports, std::int64_t now_ms, Output& out);

  std::vector<RelayStream> streams_;
};

}  // namespace sipfarm::sip
