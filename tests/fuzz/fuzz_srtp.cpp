// What a receiver of SRTP makes of any bytes: they open only if the key protected them, and stay as they came if not.
// The first byte chooses suite and protocol. Seeds: tests/vectors/rtp
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "srtp/session.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sipfarm::srtp;
  if (size == 0) return 0;
  const auto suite = static_cast<Suite>(data[0] % k_suites.size());
  const Protocol protocol = data[0] < 128 ? Protocol::rtp : Protocol::rtcp;
  const std::vector<std::uint8_t> material(facts(suite).key_bytes + facts(suite).salt_bytes, 0x5f);
  const std::vector<std::uint8_t> mki(data[0] / 6 % 4, 1);
  const Keying keying = Keying::make(suite, material, mki).value();

  Session receiver{keying};
  const std::vector<std::uint8_t> given(data + 1, data + size);
  std::vector<std::uint8_t> packet = given;
  if (receiver.unprotect(protocol, packet).result == Result::ok) std::abort();  // nobody has this key
  if (packet != given) std::abort();

  Session sender{keying};
  packet.resize(given.size() + sender.overhead_bytes());
  const Outcome sent = sender.protect(protocol, packet, given.size());
  if (sent.result != Result::ok) return 0;
  packet.resize(sent.bytes);
  const Outcome heard = receiver.unprotect(protocol, packet);
  if (heard.result != Result::ok || heard.bytes != given.size()) std::abort();
  packet.resize(heard.bytes);
  if (packet != given) std::abort();
  return 0;
}
