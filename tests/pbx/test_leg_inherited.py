"""A leg that goes on at the heir of its member, from what was kept of it (ADR 17)."""

from collections.abc import Callable

import msgspec
import pytest

from sipfarm.base.secrets import Secret
from sipfarm.media.plan import LocalMedia, OpenMedia
from sipfarm.media.sdp import Attribute, parse_sdp
from sipfarm.pbx.leg import KeptLeg, Leg
from sipfarm.signaling.session_kept import CSEQ_HEAD_ROOM, Legacy
from sipfarm.signaling.session_state import State
from sipfarm.testing.scripted_ua import Ladder

Offer = Callable[..., bytes]
Invited = Callable[[bytes], Ladder[Leg]]
HOUR_MS = 3_600_000
CONTACT = "sip:heir@127.0.0.1:5060"
MEDIA = LocalMedia("127.0.0.9", 30_000, 30_001)
HEIRS_SEED = Secret("heir")


def stored(leg: Leg) -> KeptLeg:
    """What a leg leaves, as it comes back from the store."""
    kept = leg.kept()
    assert kept is not None
    return msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=KeptLeg)


def answered(invited: Invited, offer: bytes) -> Ladder[Leg]:
    ladder = invited(offer)
    ladder.note(ladder.endpoint.answer(0, HOUR_MS))
    ladder.ack(ladder.peer.request("ACK", cseq=1))
    return ladder


def inherited(dead: Ladder[Leg], by_ms: int = 0, takes: int = 1) -> Ladder[Leg]:
    """The same call at its heir, whose clock differs."""
    leg = Leg.inherited(
        stored(dead.endpoint).shifted(by_ms), Legacy(CONTACT, None, takes), MEDIA, HEIRS_SEED
    )
    ladder = Ladder(leg, dead.peer)
    ladder.now_ms = dead.now_ms + by_ms
    ladder.note(leg.take_over(ladder.now_ms))
    return ladder


def test_only_a_leg_that_stands_is_kept(invited: Invited, offer: Offer) -> None:
    ladder = invited(offer())
    assert ladder.endpoint.kept() is None
    ladder.note(ladder.endpoint.answer(0, HOUR_MS))
    assert ladder.endpoint.kept() is None
    ladder.ack(ladder.peer.request("ACK", cseq=1))
    assert ladder.endpoint.kept() is not None
    ladder.send(ladder.peer.request("BYE"))
    assert ladder.endpoint.kept() is None


def test_the_heir_opens_media_and_sends_a_re_invite_of_its_own(
    invited: Invited, offer: Offer
) -> None:
    dead = answered(invited, offer())
    heir = inherited(dead)
    assert heir.lines == ["0 + open echo sendrecv", "0 + update sendrecv", "0 < INVITE"]
    opened, invite = heir.outputs[0], heir.last("INVITE")
    assert isinstance(opened, OpenMedia)
    assert opened.stream.local == MEDIA
    assert opened.stream.rtp is not None
    headers = dict(invite.headers)
    assert headers["Contact"] == f"<{CONTACT}>"
    assert headers["CSeq"] == f"{CSEQ_HEAD_ROOM + 1} INVITE"
    assert headers["From"].endswith(f";tag={dead.peer.farm_tag}")
    before, after = (
        parse_sdp(dead.endpoint.session.record.local_description),
        parse_sdp(invite.body),
    )
    assert after.origin == msgspec.structs.replace(before.origin, session_version=2)
    assert (after.connection and after.connection.address) == MEDIA.address
    assert after.media[0].port == MEDIA.rtp_port
    assert after.media[0].formats == before.media[0].formats


def test_the_peers_answer_and_its_bye_are_taken(invited: Invited, offer: Offer) -> None:
    heir = inherited(answered(invited, offer()))
    heir.lines.clear()
    heir.answer(heir.last("INVITE"), 200, offer("a=sendrecv", version=2))
    heir.send(heir.peer.request("BYE"))
    assert heir.lines == [
        "0 > 200 INVITE",
        "0 < ACK",
        "0 > BYE",
        "0 < 200 BYE",
        "0 + close",
        "0 * ended bye_received",
        "0 * Released",
    ]


def test_a_second_heir_goes_on_where_the_first_was(invited: Invited, offer: Offer) -> None:
    first = inherited(answered(invited, offer()))
    first.answer(first.last("INVITE"), 200, offer("a=sendrecv", version=2))
    second = inherited(first)
    assert dict(second.last("INVITE").headers)["CSeq"] == f"{2 * CSEQ_HEAD_ROOM + 2} INVITE"
    assert parse_sdp(second.last("INVITE").body).origin.session_version == 2


def test_an_heir_of_an_heir_that_kept_nothing_has_head_room_too(
    invited: Invited, offer: Offer
) -> None:
    dead = answered(invited, offer())
    numbers = [
        int(dict(inherited(dead, takes=takes).last("INVITE").headers)["CSeq"].split()[0])
        for takes in (1, 2)
    ]
    assert numbers == [CSEQ_HEAD_ROOM + 1, 2 * CSEQ_HEAD_ROOM + 1]


@pytest.mark.parametrize("status", [408, 481])
def test_a_peer_that_has_no_such_call_any_more_ends_it(
    invited: Invited, offer: Offer, status: int
) -> None:
    heir = inherited(answered(invited, offer()))
    heir.answer(heir.last("INVITE"), status)
    assert heir.endpoint.state is State.TERMINATING
    assert heir.lines[-3:] == ["0 < BYE", "0 + close", "0 * ended dialog_lost"]


def test_what_a_held_call_was_it_stays(invited: Invited, offer: Offer) -> None:
    dead = answered(invited, offer())
    dead.send(dead.peer.request("INVITE", offer("a=sendonly", version=2)))
    dead.ack(dead.peer.request("ACK", cseq=2))
    heir = inherited(dead)
    assert heir.lines[:2] == ["0 + open echo recvonly", "0 + update recvonly"]


def test_the_end_and_the_session_timer_go_by_the_heirs_clock(
    invited: Invited, offer: Offer
) -> None:
    dead = answered(invited, offer())
    due_ms = dead.endpoint.next_deadline_ms()
    heir = inherited(dead, by_ms=5_000_000)
    assert due_ms is not None
    assert stored(heir.endpoint).session.refresh_at_ms == due_ms + 5_000_000
    heir.answer(heir.last("INVITE"), 200, offer("a=sendrecv", version=2))
    heir.run_until(5_000_000 + HOUR_MS)
    assert heir.lines[-1] == f"{5_000_000 + HOUR_MS} * ended duration_exceeded"


def test_a_direction_that_was_ours_is_kept(invited: Invited, offer: Offer) -> None:
    dead = answered(invited, offer())
    dead.note(dead.endpoint.hold(0))
    dead.answer(dead.last("INVITE"), 200, offer("a=recvonly", version=2))
    offered = parse_sdp(inherited(dead).last("INVITE").body)
    assert Attribute("sendonly") in offered.media[0].attributes
