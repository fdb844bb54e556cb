// Streams of which a side is SRTP, with real sockets.
#include <doctest/doctest.h>

#include <memory>

#include "relay_rig.hpp"
#include "srtp_packets.hpp"

using namespace sipfarm::testing;
namespace srtp = sipfarm::srtp;
using srtp::Protocol;
using srtp::Suite;

namespace {

/// The keys of a phone: what it says, and what it hears.
struct PhoneKeys {
  explicit PhoneKeys(Suite suite = Suite::aes_cm_128_hmac_sha1_80, std::uint8_t seed = 1)
      : says{keying_of(suite, seed)}, hears{keying_of(suite, static_cast<std::uint8_t>(seed + 1))} {}

  FaceSecurity of_relay() const {
    return {std::make_shared<srtp::Session>(says), std::make_shared<srtp::Session>(hears), false};
  }

  srtp::Keying says;
  srtp::Keying hears;
};

/// A call whose callee's side is SRTP.
template <typename Kind>
struct SecuredCall : Call<Kind> {
  explicit SecuredCall(const PhoneKeys& keys = PhoneKeys{}) : bob_says{keys.says}, bob_hears{keys.hears} {
    secure(Side::b, keys.of_relay());
  }
  void secure(Side side, FaceSecurity security) {
    handed.push_back(std::make_unique<FaceSecurity>(std::move(security)));
    this->rig.relay_.set_security(*this->stream, side, *handed.back(), 0);
  }
  /// What Alice hears of this, sent to Bob's side from anywhere.
  std::optional<MediaSocket::Datagram> alice_hears(const MediaSocket& from, const Bytes& packet) {
    return this->hears(this->alice, from, Side::b, packet);
  }
  Bytes said(std::uint16_t sequence) { return sealed(bob_says, Protocol::rtp, rtp_packet(sequence, "from bob")); }

  srtp::Session bob_says;
  srtp::Session bob_hears;
  std::vector<std::unique_ptr<FaceSecurity>> handed;
};

}  // namespace

TEST_CASE_TEMPLATE("secured: RTP on one side is SRTP on the other, in every suite", Kind, PerPort, Steered) {
  for (std::size_t i = 0; i < srtp::k_suites.size(); ++i) {
    CAPTURE(srtp::k_suites[i].name);
    SecuredCall<Kind> call{PhoneKeys{static_cast<Suite>(i)}};
    for (std::uint16_t sequence = 65'530; sequence != 5; ++sequence) {
      const Bytes there = rtp_packet(sequence, "from alice");
      auto at_bob = call.hears(call.bob, call.alice, Side::a, there);
      REQUIRE(at_bob);
      CHECK(at_bob->bytes != there);
      CHECK(opened(call.bob_hears, Protocol::rtp, at_bob->bytes) == srtp::Result::ok);
      CHECK(at_bob->bytes == there);
      const auto at_alice = call.alice_hears(call.bob, call.said(sequence));
      REQUIRE(at_alice);
      CHECK(at_alice->bytes == rtp_packet(sequence, "from bob"));
    }
    call.alice_rtcp.send(rtcp_packet(), call.rtcp(Side::a));
    call.rig.carry();
    auto report = call.bob_rtcp.receive(0);
    REQUIRE(report);
    CHECK(opened(call.bob_hears, Protocol::rtcp, report->bytes) == srtp::Result::ok);
    CHECK(report->bytes == rtcp_packet());
    call.bob_rtcp.send(sealed(call.bob_says, Protocol::rtcp, rtcp_packet()), call.rtcp(Side::b));
    call.rig.carry();
    report = call.alice_rtcp.receive(0);
    REQUIRE(report);
    CHECK(report->bytes == rtcp_packet());
  }
}

TEST_CASE_TEMPLATE("secured: two SRTP sides with keys of their own", Kind, PerPort, Steered) {
  SecuredCall<Kind> call;
  const PhoneKeys alice{Suite::aead_aes_256_gcm, 50};
  call.secure(Side::a, alice.of_relay());
  srtp::Session alice_says{alice.says};
  auto heard = call.hears(call.bob, call.alice, Side::a, sealed(alice_says, Protocol::rtp, rtp_packet(1, "there")));
  REQUIRE(heard);
  CHECK(opened(call.bob_hears, Protocol::rtp, heard->bytes) == srtp::Result::ok);
  CHECK(heard->bytes == rtp_packet(1, "there"));
}

TEST_CASE_TEMPLATE("secured: what is not authentic is counted, never relayed", Kind, PerPort, Steered) {
  SecuredCall<Kind> call;
  Bytes changed = call.said(1);
  changed[20] ^= 1U;
  Bytes stun(20, 0);
  Bytes dtls(20, 22);
  for (const Bytes& bad : {rtp_packet(1, "plain RTP, long enough to have a tag"), changed, stun, dtls}) {
    CHECK(!call.alice_hears(call.bob, bad));
  }
  CHECK(call.counters(Side::b).unauthentic == 4);
  CHECK(call.counters(Side::b).packets_in == 0);
  CHECK(call.counters(Side::a).packets_out == 0);
  CHECK(call.rig.relay_.totals().dropped.get() == 4);
}

TEST_CASE_TEMPLATE("secured: a repeated packet is counted, never relayed", Kind, PerPort, Steered) {
  SecuredCall<Kind> call;
  const Bytes packet = call.said(1);
  CHECK(call.alice_hears(call.bob, packet));
  CHECK(!call.alice_hears(call.bob, packet));
  CHECK(call.counters(Side::b).replayed == 1);
}

TEST_CASE_TEMPLATE("secured: a side without keys yet neither hears nor sends", Kind, PerPort, Steered) {
  SecuredCall<Kind> call;
  call.secure(Side::b, {});
  CHECK(!call.alice_hears(call.bob, call.said(1)));
  CHECK(!call.hears(call.bob, call.alice, Side::a, rtp_packet(1, "secret")));
  CHECK(call.counters(Side::b).unauthentic == 1);
  CHECK(call.counters(Side::b).unsent == 1);
}

TEST_CASE_TEMPLATE("secured: STUN of a plain side does not leave by a protected one", Kind, PerPort, Steered) {
  SecuredCall<Kind> call;
  CHECK(!call.hears(call.bob, call.alice, Side::a, Bytes(20, 0)));
  CHECK(call.counters(Side::b).unsent == 1);
}

TEST_CASE_TEMPLATE("secured: the first authentic source is latched; only a valid tag moves it", Kind, PerPort, Steered) {
  SecuredCall<Kind> call;
  const Bytes early = rtp_packet(9, "a stranger who is first, as plain RTP");
  CHECK(!call.alice_hears(call.stranger, early));
  const Bytes late = call.said(1);
  CHECK(call.alice_hears(call.bob, call.said(2)));

  Bytes forged = call.said(3);
  forged.back() ^= 1U;
  CHECK(!call.alice_hears(call.stranger, forged));
  CHECK(call.hears(call.bob, call.alice, Side::a, rtp_packet(1, "still to bob")));

  const MediaSocket roamed;  // Bob, on another network
  CHECK(call.alice_hears(roamed, call.said(4)));
  CHECK(call.hears(roamed, call.alice, Side::a, rtp_packet(2, "to where he is now")));
  CHECK(call.alice_hears(call.bob, late));  // overtaken: heard, and the latch stays
  CHECK(call.hears(roamed, call.alice, Side::a, rtp_packet(3, "to where he is still")));

  std::vector<Address> told;
  for (const Event& event : call.rig.events()) {
    if (event.kind == Event::Kind::latched) told.push_back(event.address);
  }
  CHECK(told == std::vector{roamed.address()});
}

TEST_CASE_TEMPLATE("secured: a side that was locked as plain RTP is protected, and plain again", Kind, PerPort, Steered) {
  Call<Kind> call;
  CHECK(call.hears(call.alice, call.bob, Side::b, rtp_packet(1, "plain")));
  CHECK(call.hears(call.alice, call.bob, Side::b, rtp_packet(2, "plain")));
  const PhoneKeys keys;
  srtp::Session bob_says{keys.says};
  FaceSecurity security = keys.of_relay();
  call.rig.relay_.set_security(*call.stream, Side::b, security, 0);
  CHECK(!call.hears(call.alice, call.bob, Side::b, rtp_packet(3, "plain")));
  CHECK(call.hears(call.alice, call.bob, Side::b, sealed(bob_says, Protocol::rtp, rtp_packet(4, "secured"))));
  FaceSecurity plain{nullptr, nullptr, true};
  call.rig.relay_.set_security(*call.stream, Side::b, plain, 0);
  CHECK(call.hears(call.alice, call.bob, Side::b, rtp_packet(5, "plain")));
}

TEST_CASE_TEMPLATE("secured: new keys end the old ones, and a session that is kept goes on in its rollover", Kind, PerPort, Steered) {
  SecuredCall<Kind> call;
  CHECK(call.alice_hears(call.bob, call.said(65'535)));
  CHECK(call.alice_hears(call.bob, call.said(0)));
  const PhoneKeys fresh{Suite::aead_aes_128_gcm, 9};
  FaceSecurity next = fresh.of_relay();
  next.in = call.handed.back()->in;  // Bob keeps his key
  call.secure(Side::b, std::move(next));
  CHECK(call.alice_hears(call.bob, call.said(1)));
  CHECK(call.handed.back()->in->rollover()->roc == 1);
  auto heard = call.hears(call.bob, call.alice, Side::a, rtp_packet(1, "by the new key"));
  REQUIRE(heard);
  srtp::Session bob_hears{fresh.hears};
  CHECK(opened(bob_hears, Protocol::rtp, heard->bytes) == srtp::Result::ok);
  call.secure(Side::b, fresh.of_relay());
  CHECK(!call.alice_hears(call.bob, call.said(2)));
}

TEST_CASE_TEMPLATE("secured: an echo is opened and protected anew", Kind, PerPort, Steered) {
  Rig<Kind> rig;
  const MediaSocket phone;
  Stream& stream = rig.open(Command::open_echo(1, 0, at(phone)));
  const PhoneKeys keys;
  FaceSecurity security = keys.of_relay();
  rig.relay_.set_security(stream, Side::a, security, 0);
  srtp::Session says{keys.says};
  srtp::Session hears{keys.hears};
  phone.send(sealed(says, Protocol::rtp, rtp_packet(7, "hello")), rig.address(stream.faces[0].rtp));
  rig.carry();
  auto heard = phone.receive(0);
  REQUIRE(heard);
  REQUIRE(opened(hears, Protocol::rtp, heard->bytes) == srtp::Result::ok);
  CHECK(heard->bytes == rtp_packet(7, "hello", 0, 0x0a0b0c0d));
}

TEST_CASE_TEMPLATE("secured: a flood from elsewhere does not use up the far end's rate", Kind, PerPort, Steered) {
  SecuredCall<Kind> call;
  CHECK(call.alice_hears(call.bob, call.said(1)));
  const Bytes forged = rtp_packet(9, "no tag, but long enough for one");
  for (int i = 0; i < 6'000; ++i) {
    call.stranger.send(forged, call.rtp(Side::b));
    if (i % 50 == 49) call.rig.carry();
  }
  CHECK(call.alice_hears(call.bob, call.said(2)));
  CHECK(call.counters(Side::b).unauthentic == 100);
  CHECK(call.counters(Side::b).strangers == 5'900);
  CHECK(call.counters(Side::b).flooded == 0);
}

TEST_CASE("secured: the control thread frees what the worker has let go, and nothing before") {
  SecurityKeeper keeper;
  SecuritySlot slot;
  const auto handed = [&](FaceSecurity security) { return keeper.hand_over(std::move(security)); };
  auto first = std::make_shared<srtp::Session>(keying_of(Suite::aes_cm_128_hmac_sha1_80));
  const std::weak_ptr<srtp::Session> watched = first;
  FaceSecurity* const one = handed({std::exchange(first, nullptr), nullptr, false});
  FaceSecurity* const two = handed({nullptr, nullptr, true});
  CHECK(keeper.reap(slot));
  slot.take(one);
  CHECK(slot.current() == one);
  CHECK(keeper.reap(slot));
  CHECK(!watched.expired());
  slot.take(two);
  CHECK(slot.current() == nullptr);
  CHECK(!keeper.reap(slot));
  CHECK(watched.expired());
  std::size_t room = 0;
  while (handed({}) != nullptr) ++room;
  CHECK(room == SecurityKeeper::k_waiting_max - 1);
}
