// Ours against libsrtp2, the library that most phones have in them: each opens what the other protects.
#include <doctest/doctest.h>
#include <srtp2/srtp.h>

#include <random>

#include "srtp/session.hpp"
#include "srtp_packets.hpp"

using namespace sipfarm::srtp;
using sipfarm::testing::keying_of;
using sipfarm::testing::opened;
using sipfarm::testing::rtcp_of;
using sipfarm::testing::rtp_of;
using sipfarm::testing::sealed;
using sipfarm::testing::SrtpBytes;

namespace {

/// One direction by libsrtp2 under the same keys.
class Peer {
 public:
  Peer(Keying keying, bool sends) : keying_{keying} {
    static const auto started = srtp_init();
    REQUIRE(started == srtp_err_status_ok);
    srtp_policy_t policy{};
    policy.ssrc.type = sends ? ssrc_any_outbound : ssrc_any_inbound;
    choose(policy);
    mki_.key = keying_.master.data();
    mki_.mki_id = keying_.mki.data();
    mki_.mki_size = keying_.mki_bytes;
    srtp_master_key_t* keys[] = {&mki_};
    if (keying_.mki_bytes > 0) {
      policy.keys = keys;
      policy.num_master_keys = 1;
    } else {
      policy.key = keying_.master.data();
    }
    policy.window_size = 128;
    REQUIRE(srtp_create(&session_, &policy) == srtp_err_status_ok);
  }
  ~Peer() { srtp_dealloc(session_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  SrtpBytes protect(Protocol protocol, SrtpBytes packet) {
    int bytes = static_cast<int>(packet.size());
    packet.resize(packet.size() + SRTP_MAX_TRAILER_LEN + 4 + keying_.mki_bytes);
    const unsigned mki = keying_.mki_bytes > 0 ? 1 : 0;
    REQUIRE((protocol == Protocol::rtp ? srtp_protect_mki(session_, packet.data(), &bytes, mki, 0)
                                       : srtp_protect_rtcp_mki(session_, packet.data(), &bytes, mki, 0)) == srtp_err_status_ok);
    packet.resize(static_cast<std::size_t>(bytes));
    return packet;
  }

  bool unprotect(Protocol protocol, SrtpBytes& packet) {
    int bytes = static_cast<int>(packet.size());
    const unsigned mki = keying_.mki_bytes > 0 ? 1 : 0;
    const auto status = protocol == Protocol::rtp ? srtp_unprotect_mki(session_, packet.data(), &bytes, mki)
                                                  : srtp_unprotect_rtcp_mki(session_, packet.data(), &bytes, mki);
    packet.resize(static_cast<std::size_t>(bytes));
    return status == srtp_err_status_ok;
  }

 private:
  void choose(srtp_policy_t& policy) const {
    switch (keying_.suite) {
      case Suite::aes_cm_128_hmac_sha1_80:
        srtp_crypto_policy_set_rtp_default(&policy.rtp);
        return srtp_crypto_policy_set_rtcp_default(&policy.rtcp);
      case Suite::aes_cm_128_hmac_sha1_32:
        srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32(&policy.rtp);
        return srtp_crypto_policy_set_rtcp_default(&policy.rtcp);
      case Suite::aes_256_cm_hmac_sha1_80:
        srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(&policy.rtp);
        return srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(&policy.rtcp);
      case Suite::aes_256_cm_hmac_sha1_32:
        srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32(&policy.rtp);
        return srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(&policy.rtcp);
      case Suite::aead_aes_128_gcm:
        srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtp);
        return srtp_crypto_policy_set_aes_gcm_128_16_auth(&policy.rtcp);
      case Suite::aead_aes_256_gcm:
        srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtp);
        return srtp_crypto_policy_set_aes_gcm_256_16_auth(&policy.rtcp);
    }
  }

  Keying keying_;
  srtp_master_key_t mki_{};
  srtp_t session_ = nullptr;
};

/// A packet with any number of CSRCs and any extension.
SrtpBytes any_rtp(std::mt19937& random, std::uint16_t sequence) {
  SrtpBytes packet = rtp_of(sequence, 1 + random() % 4, 0);
  const std::size_t csrcs = random() % 16;
  packet[0] = static_cast<std::uint8_t>(0x80U | csrcs);
  packet.insert(packet.end(), 4 * csrcs, 0x33);
  if (random() % 2 == 0) {
    const auto words = static_cast<std::uint8_t>(random() % 4);
    packet[0] |= 0x10U;
    packet.insert(packet.end(), {0xbe, 0xde, 0, words});
    packet.insert(packet.end(), 4U * words, 0x44);
  }
  for (std::size_t left = random() % 400; left > 0; --left) packet.push_back(static_cast<std::uint8_t>(random()));
  return packet;
}

}  // namespace

TEST_CASE("srtp: libsrtp2 and we open each other's packets, in every suite, with and without MKI, over rollovers") {
  std::mt19937 random{20'261'124};
  for (std::size_t i = 0; i < k_suites.size(); ++i) {
    const auto suite = static_cast<Suite>(i);
    CAPTURE(facts(suite).name);
    // libsrtp2 looks for the MKI of RTCP in front of a tag as long as RTP's, and so may not open even its own.
    const bool misses_mki = facts(suite).rtp_tag_bytes != facts(suite).rtcp_tag_bytes;
    for (const SrtpBytes& mki : {SrtpBytes{}, SrtpBytes{7}, SrtpBytes{0, 0, 1, 2}}) {
      const Keying keying = keying_of(suite, 3, mki);
      Session out{keying};
      Session in{keying};
      Peer peer_out{keying, true};
      Peer peer_in{keying, false};
      for (std::uint32_t n = 0; n < 4'000; ++n) {
        const auto sequence = static_cast<std::uint16_t>(n * 40);
        const bool rtcp = random() % 8 == 0;
        const Protocol protocol = rtcp ? Protocol::rtcp : Protocol::rtp;
        const SrtpBytes plain = rtcp ? rtcp_of(1 + random() % 4, 4 * (random() % 40)) : any_rtp(random, sequence);
        SrtpBytes ours = sealed(out, protocol, plain);
        SrtpBytes theirs = peer_out.protect(protocol, plain);
        if (!rtcp) REQUIRE(ours == theirs);
        if (!(rtcp && misses_mki && !mki.empty())) {
          REQUIRE(peer_in.unprotect(protocol, ours));
          REQUIRE(ours == plain);
        }
        REQUIRE(opened(in, protocol, theirs) == Result::ok);
        REQUIRE(theirs == plain);
      }
      CHECK(in.rollover()->roc == 2);
    }
  }
}
