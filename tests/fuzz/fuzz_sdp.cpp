// A description is refused or indexed; with no line relayed it leaves byte for byte; with the relay in it parses again, every
// relayed line names the relay (or is held), every other one means what it meant, and doing it twice changes nothing.

#include <array>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "sip/sdp.hpp"

using namespace sipfarm::sip;
using sipfarm::net::Address;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

void check_line(const MediaLine& before, const MediaLine& after, const RelayLine& line, const Address& relay) {
  check(after.media == before.media && after.proto == before.proto && after.formats == before.formats);
  check(after.direction == before.direction && after.rtcp_mux == before.rtcp_mux && after.ice == before.ice);
  if (!line.relayed || !before.relayable()) {
    check(after.port == before.port && after.rtp == before.rtp && after.rtcp == before.rtcp);
    check(before.rejected() || after.connection.host == before.connection.host);
    return;
  }
  check(after.port == line.rtp_port && after.held() == before.held());
  if (before.held()) return;
  check(after.rtp && after.rtp->same_ip(relay) && after.rtp->port == line.rtp_port);
  if (after.rtcp) check(after.rtcp->port - line.rtp_port <= 1 && after.rtcp->port >= line.rtp_port && after.rtcp->same_ip(relay));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body{reinterpret_cast<const char*>(data), size};
  const auto sdp = SdpView::parse(body);
  if (!sdp) return 0;
  const std::size_t count = sdp->media().size();
  std::array<RelayLine, media_lines_max> lines{};
  const std::span<const RelayLine> used{lines.data(), count};
  const Address relay = Address::parse(size % 2 == 0 ? "198.51.100.7" : "2001:db8::7", 0).value();

  std::string untouched;
  check(put_relay_in(*sdp, used, relay, untouched) && untouched == body);

  for (std::size_t i = 0; i < count; ++i) lines[i] = {static_cast<std::uint16_t>(20'000 + 2 * i), (size >> (1 + i % 4)) % 2 == 0};
  std::string once;
  check(put_relay_in(*sdp, used, relay, once));
  const auto again = SdpView::parse(once);
  if (!again) {
    check(once.size() > sdp_bytes_max);
    return 0;
  }
  check(again->media().size() == count);
  for (std::size_t i = 0; i < count; ++i) check_line(sdp->media()[i], again->media()[i], lines[i], relay);
  std::string twice;
  check(put_relay_in(*again, used, relay, twice) && twice == once);
  return 0;
}
