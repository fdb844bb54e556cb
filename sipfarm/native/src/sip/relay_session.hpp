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
  bool fresh = false;  // the plane has not heard of it
};

enum class SdpOutcome : std::uint8_t { untouched, rewritten, no_ports };

/// The relay of one branch of a call. Offers and answers of either side pass through it, in whatever message they come.
class RelaySession {
 public:
  /// Puts the relay into `body`, which `from` sent, and tells the plane what it must know. `source` is where the message came from.
  /// Where there are too few ports nothing has changed.
  SdpOutcome pass(rtp::Side from, const net::Hop& source, std::string_view body, const net::Address& relay, rtp::PortPool& ports,
                  std::uint64_t& next_stream, std::int64_t now_ms, Output& out, std::string& rewritten);
  /// The same for a body that came again, or that shall not move the media: the plane hears nothing of it.
  SdpOutcome pass_again(rtp::Side from, std::string_view body, const net::Address& relay, std::string& rewritten) const;
  void release(rtp::PortPool& ports, std::int64_t now_ms, Output& out);
  bool active() const noexcept;
  const std::vector<RelayStream>& streams() const noexcept { return streams_; }

 private:
  bool open_missing(std::span<const MediaLine> media, rtp::PortPool& ports, std::uint64_t& next_stream, std::int64_t now_ms);
  bool open(RelayStream& stream, rtp::PortPool& ports, std::uint64_t& next_stream, std::int64_t now_ms) noexcept;
  static void close(RelayStream& stream, rtp::PortPool& ports, std::int64_t now_ms, Output& out);

  std::vector<RelayStream> streams_;
};

}  // namespace sipfarm::sip
