// SRTP as one direction of a stream meets it: loss, reordering, repeats, forgeries, long calls.
#include <doctest/doctest.h>
#include <malloc.h>

#include <random>
#include <set>

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

constexpr Suite k_all[] = {Suite::aes_cm_128_hmac_sha1_80, Suite::aes_cm_128_hmac_sha1_32, Suite::aes_256_cm_hmac_sha1_80,
                           Suite::aes_256_cm_hmac_sha1_32, Suite::aead_aes_128_gcm,        Suite::aead_aes_256_gcm};

struct Ends {
  explicit Ends(Suite suite, const SessionSettings& settings = {})
      : sender{keying_of(suite), settings}, receiver{keying_of(suite), settings} {}

  Result pass(const SrtpBytes& plain) {
    SrtpBytes packet = sealed(sender, Protocol::rtp, plain);
    const Result result = opened(receiver, Protocol::rtp, packet);
    if (result == Result::ok) CHECK(packet == plain);
    return result;
  }

  Session sender;
  Session receiver;
};

}  // namespace

TEST_CASE("srtp: what is protected differs from what was, and comes back byte for byte") {
  for (const Suite suite : k_all) {
    CAPTURE(facts(suite).name);
    for (const SrtpBytes& mki : {SrtpBytes{}, SrtpBytes{1}, SrtpBytes(128, 9)}) {
      Session sender{keying_of(suite, 1, mki)};
      Session receiver{keying_of(suite, 1, mki)};
      for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{160}, std::size_t{1'400}}) {
        const SrtpBytes rtp = rtp_of(static_cast<std::uint16_t>(bytes), 1, bytes);
        SrtpBytes packet = sealed(sender, Protocol::rtp, rtp);
        CHECK(packet.size() == rtp.size() + facts(suite).rtp_tag_bytes + mki.size());
        CHECK((bytes < 160 || !std::ranges::equal(rtp, std::span{packet}.first(rtp.size()))));
        REQUIRE(opened(receiver, Protocol::rtp, packet) == Result::ok);
        CHECK(packet == rtp);
      }
      const SrtpBytes rtcp = rtcp_of();
      SrtpBytes packet = sealed(sender, Protocol::rtcp, rtcp);
      CHECK(packet.size() == rtcp.size() + facts(suite).rtcp_tag_bytes + mki.size() + 4);
      REQUIRE(opened(receiver, Protocol::rtcp, packet) == Result::ok);
      CHECK(packet == rtcp);
    }
  }
}

TEST_CASE("srtp: any bit that is changed makes a packet unauthentic, and the packet stays as it came") {
  for (const Suite suite : k_all) {
    CAPTURE(facts(suite).name);
    for (const Protocol protocol : {Protocol::rtp, Protocol::rtcp}) {
      Session sender{keying_of(suite)};
      Session receiver{keying_of(suite)};
      const SrtpBytes good = sealed(sender, protocol, protocol == Protocol::rtp ? rtp_of(5) : rtcp_of());
      for (std::size_t bit = 16; bit < good.size() * 8; ++bit) {  // the first two bytes say what is a packet at all
        SrtpBytes bad = good;
        bad[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
        const SrtpBytes before = bad;
        REQUIRE(opened(receiver, protocol, bad) == Result::unauthentic);
        REQUIRE(bad == before);
      }
      SrtpBytes packet = good;
      CHECK(opened(receiver, protocol, packet) == Result::ok);
    }
  }
}

TEST_CASE("srtp: another key, and another MKI, open nothing") {
  Session sender{keying_of(Suite::aead_aes_128_gcm, 1, {1})};
  Session other_key{keying_of(Suite::aead_aes_128_gcm, 2, {1})};
  Session other_mki{keying_of(Suite::aead_aes_128_gcm, 1, {2})};
  const SrtpBytes packet = sealed(sender, Protocol::rtp, rtp_of(1));
  for (Session* receiver : {&other_key, &other_mki}) {
    SrtpBytes copy = packet;
    CHECK(opened(*receiver, Protocol::rtp, copy) == Result::unauthentic);
  }
}

TEST_CASE("srtp: what is too short or no RTP is malformed, and nothing is written") {
  for (const Suite suite : k_all) {
    Session session{keying_of(suite)};
    for (const Protocol protocol : {Protocol::rtp, Protocol::rtcp}) {
      Session sender{keying_of(suite)};
      const SrtpBytes whole = sealed(sender, protocol, protocol == Protocol::rtp ? rtp_of(5, 1, 0) : rtcp_of(1, 0));
      for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
        SrtpBytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes));
        CHECK(opened(session, protocol, cut) == Result::malformed);
      }
      SrtpBytes version(200, 0);
      CHECK(opened(session, protocol, version) == Result::malformed);
      Result result{};
      sealed(session, protocol, version, &result);
      CHECK(result == Result::malformed);
    }
    SrtpBytes extension = rtp_of(1);
    extension[0] |= 0x10U;  // its length reaches beyond the packet
    extension[14] = 0xff;
    CHECK(opened(session, Protocol::rtp, extension) == Result::malformed);
  }
}

TEST_CASE("srtp: a packet without room for its tag is not protected") {
  Session session{keying_of(Suite::aes_cm_128_hmac_sha1_80)};
  SrtpBytes packet = rtp_of(1);
  CHECK(session.protect(Protocol::rtp, packet, packet.size()).result == Result::too_large);
  packet.resize(packet.size() + 9);
  CHECK(session.protect(Protocol::rtp, packet, packet.size() - 9).result == Result::too_large);
  packet.resize(packet.size() + 1);
  CHECK(session.protect(Protocol::rtp, packet, packet.size() - 10).result == Result::ok);
}

TEST_CASE("srtp: each packet is taken once, late ones within the window") {
  for (const std::uint16_t window : {std::uint16_t{64}, std::uint16_t{128}, std::uint16_t{512}}) {
    CAPTURE(window);
    SessionSettings settings;
    settings.replay_window = window;
    Ends ends{Suite::aead_aes_128_gcm, settings};
    std::vector<SrtpBytes> packets;
    for (std::uint16_t i = 0; i < 2 * window; ++i) packets.push_back(sealed(ends.sender, Protocol::rtp, rtp_of(i)));
    const auto take = [&](std::size_t i) {
      SrtpBytes copy = packets[i];
      return opened(ends.receiver, Protocol::rtp, copy);
    };
    const auto last = static_cast<std::size_t>(window) + 7;
    CHECK(take(last) == Result::ok);
    CHECK(take(last) == Result::replayed);
    CHECK(take(last - window) == Result::replayed);      // just outside
    CHECK(take(last - window + 1) == Result::ok);
    CHECK(take(last - window + 1) == Result::replayed);
    CHECK(take(last - 1) == Result::ok);
  }
}

TEST_CASE("srtp: RTCP is taken once as well") {
  Session sender{keying_of(Suite::aes_cm_128_hmac_sha1_32)};
  Session receiver{keying_of(Suite::aes_cm_128_hmac_sha1_32)};
  const SrtpBytes first = sealed(sender, Protocol::rtcp, rtcp_of());
  const SrtpBytes second = sealed(sender, Protocol::rtcp, rtcp_of());
  CHECK(first != second);
  for (const auto& [packet, expected] :
       {std::pair{second, Result::ok}, {first, Result::ok}, {first, Result::replayed}, {second, Result::replayed}}) {
    SrtpBytes copy = packet;
    CHECK(opened(receiver, Protocol::rtcp, copy) == expected);
  }
}

TEST_CASE("srtp: a repeat is not sent under the same key stream again") {
  Session sender{keying_of(Suite::aes_cm_128_hmac_sha1_80)};
  Result result{};
  sealed(sender, Protocol::rtp, rtp_of(1), &result);
  CHECK(result == Result::ok);
  sealed(sender, Protocol::rtp, rtp_of(1, 0xcafe, 20), &result);
  CHECK(result == Result::replayed);
}

TEST_CASE("srtp: 200,000 packets roll over three times, with loss and reordering") {
  std::mt19937 random{20'261'124};
  Ends ends{Suite::aes_cm_128_hmac_sha1_80};
  std::vector<SrtpBytes> held;
  for (std::uint32_t i = 65'000; i < 265'000; ++i) {
    SrtpBytes packet = sealed(ends.sender, Protocol::rtp, rtp_of(static_cast<std::uint16_t>(i), 0xcafe, 8));
    if (random() % 16 == 0) continue;
    held.push_back(std::move(packet));
    if (held.size() < 8) continue;
    std::shuffle(held.begin(), held.end(), random);
    for (SrtpBytes& each : held) REQUIRE(opened(ends.receiver, Protocol::rtp, each) == Result::ok);
    held.clear();
  }
  REQUIRE(ends.receiver.rollover());
  CHECK(ends.receiver.rollover()->ssrc == 0xcafe);
  CHECK(ends.receiver.rollover()->roc == 4);
}

TEST_CASE("srtp: a receiver that comes late takes up at the rollover counter it is told, or shortly after it") {
  SessionSettings told;
  told.first_roc = 3;
  Session sender{keying_of(Suite::aes_256_cm_hmac_sha1_80), told};
  const SrtpBytes packet = sealed(sender, Protocol::rtp, rtp_of(40'000));
  const auto outcome = [&](std::uint32_t first_roc, std::uint16_t rocs_tried) {
    Session receiver{keying_of(Suite::aes_256_cm_hmac_sha1_80), {128, first_roc, rocs_tried}};
    SrtpBytes copy = packet;
    const Result result = opened(receiver, Protocol::rtp, copy);
    if (result == Result::ok) CHECK(receiver.rollover()->roc == 3);
    return result;
  };
  CHECK(outcome(3, 1) == Result::ok);
  CHECK(outcome(0, 4) == Result::ok);
  CHECK(outcome(0, 3) == Result::unauthentic);
  CHECK(outcome(4, 8) == Result::unauthentic);
}

TEST_CASE("srtp: a source that is joined just after its first rollover is heard") {
  Ends ends{Suite::aead_aes_256_gcm};
  sealed(ends.sender, Protocol::rtp, rtp_of(65'535));  // lost
  CHECK(ends.pass(rtp_of(0)) == Result::ok);
  CHECK(ends.receiver.rollover()->roc == 1);
}

TEST_CASE("srtp: sources have counters of their own, and a key has a bounded number of them") {
  Ends ends{Suite::aead_aes_128_gcm};
  for (std::uint16_t sequence = 0; sequence < 3; ++sequence) {
    for (std::uint32_t ssrc = 1; ssrc <= Session::k_sources_max; ++ssrc) CHECK(ends.pass(rtp_of(sequence, ssrc)) == Result::ok);
  }
  Result result{};
  sealed(ends.sender, Protocol::rtp, rtp_of(0, 99), &result);
  CHECK(result == Result::too_many_sources);
  sealed(ends.sender, Protocol::rtcp, rtcp_of(99), &result);
  CHECK(result == Result::too_many_sources);
  CHECK(ends.pass(rtp_of(3, 1)) == Result::ok);
}

TEST_CASE("srtp: forged sources take no place and no memory") {
  Ends ends{Suite::aes_cm_128_hmac_sha1_80};
  CHECK(ends.pass(rtp_of(1)) == Result::ok);
  const auto before = ::mallinfo2().uordblks;
  SrtpBytes forged = rtp_of(7, 0, 60);
  for (std::uint32_t ssrc = 1; ssrc < 20'000; ++ssrc) {
    forged[8] = static_cast<std::uint8_t>(ssrc >> 8U);
    forged[9] = static_cast<std::uint8_t>(ssrc);
    REQUIRE(ends.receiver.unprotect(Protocol::rtp, forged).result == Result::unauthentic);
  }
  CHECK(::mallinfo2().uordblks == before);
  CHECK(ends.pass(rtp_of(2)) == Result::ok);
  CHECK(ends.pass(rtp_of(2, 77)) == Result::ok);
}

TEST_CASE("srtp: a key is used for as many packets as it may, at both ends") {
  Keying keying = keying_of(Suite::aes_cm_128_hmac_sha1_80);
  keying.rtp_packets_max = 3;
  keying.rtcp_packets_max = 1;
  Session sender{keying};
  Session receiver{keying};
  Session unlimited{keying_of(Suite::aes_cm_128_hmac_sha1_80)};
  Result result{};
  for (std::uint16_t i = 0; i < 3; ++i) {
    SrtpBytes packet = sealed(sender, Protocol::rtp, rtp_of(i), &result);
    CHECK(opened(receiver, Protocol::rtp, packet) == Result::ok);
  }
  sealed(sender, Protocol::rtp, rtp_of(3), &result);
  CHECK(result == Result::key_expired);
  SrtpBytes fourth = sealed(unlimited, Protocol::rtp, rtp_of(3));
  CHECK(opened(receiver, Protocol::rtp, fourth) == Result::key_expired);
  sealed(sender, Protocol::rtcp, rtcp_of(), &result);
  CHECK(result == Result::ok);
  sealed(sender, Protocol::rtcp, rtcp_of(), &result);
  CHECK(result == Result::key_expired);
}

TEST_CASE("srtp: the last index of a key is its last packet") {
  SessionSettings last;
  last.first_roc = 0xffff'ffff;
  Ends ends{Suite::aead_aes_128_gcm, last};
  CHECK(ends.pass(rtp_of(65'535)) == Result::ok);
  Result result{};
  sealed(ends.sender, Protocol::rtp, rtp_of(0), &result);
  CHECK(result == Result::key_expired);
}

TEST_CASE("srtp: the estimated index is the nearest one with that sequence number") {
  std::mt19937_64 random{3};
  for (int i = 0; i < 200'000; ++i) {
    const std::uint64_t highest = random() % (std::uint64_t{1} << (17 + i % 30));
    const auto sequence = static_cast<std::uint16_t>(random());
    std::uint64_t nearest = sequence;
    std::uint64_t distance = ~std::uint64_t{0};
    for (const std::uint64_t turn : {highest >> 16U, (highest >> 16U) + 1, (highest >> 16U) - (highest > 0xffff ? 1 : 0)}) {
      const std::uint64_t index = turn << 16U | sequence;
      const std::uint64_t away = index > highest ? index - highest : highest - index;
      if (away >= distance) continue;
      distance = away;
      nearest = index;
    }
    if (highest <= 0x8000) nearest = sequence;  // nothing comes before the first turn
    if (distance == 0x8000) continue;           // two are as near
    REQUIRE(estimate_index(highest, sequence) == nearest);
  }
}

TEST_CASE("srtp: the replay window agrees with a set") {
  std::mt19937_64 random{5};
  ReplayWindow<3> window;
  std::set<std::uint64_t> seen;
  std::uint64_t highest = 0;
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t size = 64 + static_cast<std::uint64_t>(i) % 65;
    const std::uint64_t index = random() % 64 == 0 ? highest + random() % 400 : highest - std::min<std::uint64_t>(highest, random() % 200) + random() % 80;
    const bool fresh = seen.empty() || index > highest || (highest - index < size && !seen.contains(index));
    REQUIRE(window.is_new(index, size) == fresh);
    if (!fresh) continue;
    window.note(index);
    seen.insert(index);
    highest = std::max(highest, index);
  }
}

TEST_CASE("srtp: keys of another length than the suite's are none") {
  CHECK(!Keying::make(Suite::aes_cm_128_hmac_sha1_80, SrtpBytes(29)));
  CHECK(!Keying::make(Suite::aead_aes_128_gcm, SrtpBytes(30)));
  CHECK(!Keying::make(Suite::aead_aes_256_gcm, SrtpBytes(44), SrtpBytes(129)));
  CHECK(Keying::make(Suite::aead_aes_256_gcm, SrtpBytes(44)));
}
