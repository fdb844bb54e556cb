"""A leg whose media is SRTP: keys through re-INVITEs, hold and the heirs of its member."""

from collections.abc import Callable

import msgspec
import pytest

from sipfarm.base.secrets import Secret
from sipfarm.media.offer_answer import Capabilities, Party
from sipfarm.media.plan import LocalMedia, OpenMedia, UpdateMedia
from sipfarm.media.sdes import Crypto, cryptos_of, format_crypto, made
from sipfarm.media.sdp import Direction, parse_sdp
from sipfarm.media.securing import Security, Terms
from sipfarm.pbx.leg import KeptLeg, Leg
from sipfarm.signaling.session import Session
from sipfarm.signaling.session_kept import Legacy
from sipfarm.signaling.session_state import Record
from sipfarm.signaling.ua import Respond
from sipfarm.testing.scripted_ua import Ladder, ScriptedPeer

Offer = Callable[..., bytes]
SUITE = "AES_CM_128_HMAC_SHA1_80"
SAVP = "m=audio 4000 RTP/SAVP 9 0"
HOUR_MS = 3_600_000
MEDIA = LocalMedia("127.0.0.9", 30_000, 30_001)


def theirs(version: int = 1) -> Crypto:
    return made(1, SUITE, Secret("peer"), version)


def keyed(offer: Offer, version: int = 1, key: int = 1, *lines: str) -> bytes:
    return offer(f"a=crypto:{format_crypto(theirs(key))}", *lines, version=version, media=SAVP)


@pytest.fixture
def answered(offer: Offer) -> Ladder[Leg]:
    """A call with SRTP that stands."""
    record = Record(local_tag="farm-tag", local_contact="sip:mark@127.0.0.1:5060", seed=7)
    terms = Terms("require", Secret("ours"))
    party = Party(LocalMedia("127.0.0.1", 20_000, 20_001), 1, Capabilities(reflects=True), terms)
    ladder = Ladder(Leg(Session(record), party, "echo"), ScriptedPeer())
    ladder.send(ladder.peer.request("INVITE", keyed(offer)))
    ladder.note(ladder.endpoint.answer(0, HOUR_MS))
    ladder.ack(ladder.peer.request("ACK", cseq=1))
    return ladder


def security_of(ladder: Ladder[Leg]) -> Security:
    """What the plane was told last."""
    told = [o.stream for o in ladder.outputs if isinstance(o, OpenMedia | UpdateMedia)]
    assert told[-1].security is not None
    return told[-1].security


def said(ladder: Ladder[Leg]) -> Crypto:
    """What stands in the last answer of the leg."""
    bodies = [o.body for o in ladder.outputs if isinstance(o, Respond) and o.body]
    (crypto,) = cryptos_of(parse_sdp(bodies[-1]).media[0])
    return crypto


def test_the_plane_gets_the_keys_that_were_said(answered: Ladder[Leg]) -> None:
    security = security_of(answered)
    assert (security.receive, security.send) == (theirs(), said(answered))


def test_a_hold_of_the_peer_with_the_same_key_changes_no_key(
    answered: Ladder[Leg], offer: Offer
) -> None:
    before = security_of(answered)
    answered.send(answered.peer.request("INVITE", keyed(offer, 2, 1, "a=sendonly")))
    assert security_of(answered) == before


def test_a_new_key_of_the_peer_gets_a_new_one(answered: Ladder[Leg], offer: Offer) -> None:
    before = said(answered)
    answered.send(answered.peer.request("INVITE", keyed(offer, 2, 2)))
    security = security_of(answered)
    assert security.receive == theirs(2)
    assert security.send == said(answered)
    assert not said(answered).has_key_of(before)


def test_a_re_invite_without_keys_is_refused_and_the_call_stays_as_it_was(
    answered: Ladder[Leg], offer: Offer
) -> None:
    before = security_of(answered)
    answered.send(answered.peer.request("INVITE", offer(version=2)))
    assert answered.lines[-1] == "0 < 488 INVITE"
    assert security_of(answered) == before


def test_our_hold_says_the_same_key_again(answered: Ladder[Leg], offer: Offer) -> None:
    before = security_of(answered)
    answered.note(answered.endpoint.hold(0))
    invite = answered.last("INVITE")
    assert cryptos_of(parse_sdp(invite.body).media[0]) == (before.send,)
    answered.answer(invite, 200, keyed(offer, 2, 1, "a=recvonly"))
    assert security_of(answered) == before


def test_a_kept_leg_has_no_keys_and_its_heir_has_others(
    answered: Ladder[Leg], offer: Offer
) -> None:
    before = security_of(answered)
    kept = answered.endpoint.kept()
    assert kept is not None
    stored = msgspec.msgpack.encode(kept)
    for key in (before.receive, before.send):
        assert key is not None
        assert key.key.reveal().encode() not in stored
    legacy = Legacy("sip:heir@127.0.0.1:5060", None, 1)
    leg = Leg.inherited(msgspec.msgpack.decode(stored, type=KeptLeg), legacy, MEDIA, Secret("heir"))
    heir = Ladder(leg, answered.peer)
    heir.note(leg.take_over(0))
    assert security_of(heir).receive is None  # until the peer has said its key, nothing passes
    invite = heir.last("INVITE")
    (ours,) = cryptos_of(parse_sdp(invite.body).media[0])
    assert not ours.has_key_of(before.send)
    heir.answer(invite, 200, keyed(offer, 2))
    security = security_of(heir)
    assert (security.receive, security.send) == (theirs(), ours)
    assert security.rocs_tried > before.rocs_tried
    assert leg.kept() is not None


def test_the_direction_of_a_held_call_is_told_with_its_keys(
    answered: Ladder[Leg], offer: Offer
) -> None:
    answered.send(answered.peer.request("INVITE", keyed(offer, 2, 1, "a=inactive")))
    told = [o.stream for o in answered.outputs if isinstance(o, UpdateMedia)]
    assert told[-1].direction is Direction.INACTIVE
    assert told[-1].security is not None
