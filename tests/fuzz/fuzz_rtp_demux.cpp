// The demultiplexer of a media port (RFC 7983, RFC 5761) and what an echo does to a packet.
// Seeds: tests/vectors/rtp
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "rtp/demux.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sipfarm::rtp;
  std::vector<std::uint8_t> bytes(data, data + size);
  const Packet kind = demux(bytes);
  if (kind != Packet::rtp) return 0;
  const std::uint32_t own = ssrc_of(bytes);
  make_echo(bytes, 0x5f5f5f5f);
  if (demux(bytes) != Packet::rtp || ssrc_of(bytes) == own) std::abort();
  set_ssrc(bytes, own);
  if (bytes != std::vector<std::uint8_t>(data, data + size)) std::abort();
  return 0;
}
