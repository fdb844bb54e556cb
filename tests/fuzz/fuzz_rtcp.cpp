// RTCP compounds: each view, a session, a watch and a translation of whatever comes.
// Seeds: tests/vectors/rtcp
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "rtp/rtcp_relay.hpp"
#include "rtp/rtcp_session.hpp"

namespace {

using namespace sipfarm::rtp;

std::size_t read_all(std::span<const std::uint8_t> compound) {
  std::size_t seen = 0;
  RtcpReader reader{compound};
  while (const auto packet = reader.next()) {
    seen += packet->bytes().size();
    for (std::size_t i = 0; i < packet->report_count(); ++i) static_cast<void>(packet->report(i));
    for (std::size_t i = 0; i < packet->bye_count(); ++i) static_cast<void>(packet->bye_ssrc(i));
    static_cast<void>(packet->sender_info());
    static_cast<void>(packet->app_name());
    static_cast<void>(packet->bye_reason());
    SdesReader items = packet->sdes();
    while (items.next()) {
    }
    XrReader blocks = packet->xr();
    while (const auto block = blocks.next()) {
      static_cast<void>(block->voip_metrics());
      static_cast<void>(block->reference_time());
      for (std::size_t i = 0; i < block->dlrr_count(); ++i) static_cast<void>(block->dlrr(i));
    }
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::uint8_t> bytes(data, data + size);
  const std::size_t seen = read_all(bytes);
  if (is_rtcp(bytes) != (size > 0 && seen == size)) std::abort();
  RtcpConfig config;
  config.ssrc = 0x22222222;
  config.extended = true;
  RtcpSession session{config, {}, 0, 0.5};
  session.received(bytes, 1'000'000);
  std::vector<std::uint8_t> out(RtcpSession::k_compound_bytes_max);
  const std::size_t sent = session.expire(30'000'000, 0.5, out);
  if (sent == 0 || !is_rtcp(std::span{out}.first(sent))) std::abort();
  RtcpWatch watch;
  watch.pass(RtcpWatch::From::a, bytes, 0);
  watch.pass(RtcpWatch::From::b, bytes, 1);
  std::vector<std::uint8_t> translated(size + 8);
  const std::size_t on = translate_rtcp(bytes, config.ssrc, 7, translated);
  if (on != 0 && !is_rtcp(std::span{translated}.first(on))) std::abort();
  return 0;
}
