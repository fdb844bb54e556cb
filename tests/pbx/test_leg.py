"""A leg: a session and its media, as ladders."""

from collections.abc import Callable

from sipfarm.media.plan import CloseMedia, OpenMedia, UpdateMedia
from sipfarm.media.sdp import Direction, attribute_of, parse_sdp
from sipfarm.pbx.leg import Leg
from sipfarm.signaling.session_state import State
from sipfarm.signaling.ua import Respond
from sipfarm.testing.scripted_ua import Ladder

Offer = Callable[..., bytes]
Invited = Callable[[bytes], Ladder[Leg]]
HOUR_MS = 3_600_000


def answered(ladder: Ladder[Leg]) -> Ladder[Leg]:
    ladder.note(ladder.endpoint.answer(0, HOUR_MS))
    ladder.ack(ladder.peer.request("ACK", cseq=1))
    ladder.lines.clear()
    return ladder


def last_body(ladder: Ladder[Leg]) -> bytes:
    return next(o.body for o in reversed(ladder.outputs) if isinstance(o, Respond) and o.body)


def test_media_opens_before_the_answer_and_closes_with_the_call(
    invited: Invited, offer: Offer
) -> None:
    ladder = invited(offer())
    ladder.note(ladder.endpoint.answer(0, HOUR_MS))
    ladder.ack(ladder.peer.request("ACK", cseq=1))
    ladder.send(ladder.peer.request("BYE"))
    assert ladder.lines == [
        "0 > INVITE",
        "0 + open echo sendrecv",
        "0 < 200 INVITE",
        "0 > ACK",
        "0 * Confirmed",
        "0 > BYE",
        "0 < 200 BYE",
        "0 + close",
        "0 * ended bye_received",
        "0 * Released",
    ]
    assert ladder.endpoint.next_deadline_ms() is None


def test_the_first_codec_we_have_is_taken(invited: Invited, offer: Offer) -> None:
    ladder = invited(offer())
    ladder.note(ladder.endpoint.answer(0, HOUR_MS))
    assert parse_sdp(last_body(ladder)).media[0].formats == ("9",)


def test_an_offer_without_anything_to_do_is_488(invited: Invited, offer: Offer) -> None:
    ladder = invited(offer(media="m=audio 4000 RTP/AVP 18"))
    assert ladder.lines[1:] == [
        "0 < 488 INVITE",
        "0 + close",
        "0 * ended rejected",
        "0 * Released",
    ]
    refused = next(o for o in ladder.outputs if isinstance(o, Respond))
    assert dict(refused.headers)["Warning"].startswith("305 ")


def test_a_body_that_is_no_sdp_is_400(invited: Invited) -> None:
    assert invited(b"rubbish").lines[1] == "0 < 400 INVITE"


def test_hold_and_resume_by_the_peer(invited: Invited, offer: Offer) -> None:
    ladder = answered(invited(offer()))
    ladder.send(ladder.peer.request("INVITE", offer("a=sendonly", version=2)))
    ladder.ack(ladder.peer.request("ACK", cseq=2))
    held = parse_sdp(last_body(ladder))
    ladder.send(ladder.peer.request("INVITE", offer(version=3)))
    ladder.ack(ladder.peer.request("ACK", cseq=3))
    assert ladder.lines == [
        "0 > INVITE",
        "0 + update recvonly",
        "0 < 200 INVITE",
        "0 > ACK",
        "0 > INVITE",
        "0 + update sendrecv",
        "0 < 200 INVITE",
        "0 > ACK",
    ]
    assert attribute_of(held.media[0].attributes, "recvonly") is not None
    assert held.origin.session_version == 2
    assert parse_sdp(last_body(ladder)).origin.session_version == 3


def test_a_refresh_with_the_same_offer_changes_nothing(invited: Invited, offer: Offer) -> None:
    ladder = answered(invited(offer()))
    ladder.send(ladder.peer.request("INVITE", offer()))
    assert ladder.lines[1:] == ["0 < 200 INVITE"]
    assert parse_sdp(last_body(ladder)).origin.session_version == 1


def test_media_that_the_peer_drops_rests_and_can_come_back(invited: Invited, offer: Offer) -> None:
    ladder = answered(invited(offer()))
    ladder.send(ladder.peer.request("UPDATE", offer(media="m=audio 0 RTP/AVP 9")))
    ladder.send(ladder.peer.request("UPDATE", offer()))
    updates = [o.stream for o in ladder.outputs if isinstance(o, UpdateMedia)]
    assert [u.direction for u in updates] == [Direction.INACTIVE, Direction.SENDRECV]
    assert updates[0].rtp is None


def test_a_bad_offer_in_a_re_invite_is_488_and_the_call_goes_on(
    invited: Invited, offer: Offer
) -> None:
    ladder = answered(invited(offer()))
    ladder.send(ladder.peer.request("INVITE", offer(media="m=audio 4000 RTP/AVP 18")))
    assert ladder.lines[1:] == ["0 < 488 INVITE"]
    assert ladder.endpoint.state is State.CONFIRMED


def test_an_offerless_call_opens_media_with_the_answer_in_the_ack(
    invited: Invited, offer: Offer
) -> None:
    ladder = invited(b"")
    ladder.note(ladder.endpoint.answer(0, HOUR_MS))
    ladder.ack(ladder.peer.request("ACK", offer(), cseq=1))
    assert ladder.lines[1:] == [
        "0 < 200 INVITE",
        "0 > ACK",
        "0 + open echo sendrecv",
        "0 * Confirmed",
    ]


def test_an_answer_that_does_not_fit_ends_the_call(invited: Invited, offer: Offer) -> None:
    ladder = invited(b"")
    ladder.note(ladder.endpoint.answer(0, HOUR_MS))
    ladder.ack(ladder.peer.request("ACK", offer(media="m=audio 1 RTP/AVP 18"), cseq=1))
    assert ladder.lines[3:] == ["0 < BYE", "0 + close", "0 * ended bye_sent"]


def test_an_offerless_re_invite_is_offered_what_stands(invited: Invited, offer: Offer) -> None:
    ladder = answered(invited(offer()))
    ladder.send(ladder.peer.request("INVITE"))
    offered = parse_sdp(last_body(ladder))
    assert (offered.media[0].formats, offered.origin.session_version) == (("9",), 1)
    ladder.ack(ladder.peer.request("ACK", offer("a=inactive", version=2), cseq=2))
    assert ladder.lines[-1] == "0 + update inactive"


def test_hold_by_us(invited: Invited, offer: Offer) -> None:
    ladder = answered(invited(offer()))
    ladder.note(ladder.endpoint.hold(0))
    held = parse_sdp(ladder.last("INVITE").body)
    assert attribute_of(held.media[0].attributes, "sendonly") is not None
    ladder.answer(ladder.last("INVITE"), 200, offer("a=recvonly", version=2))
    ladder.note(ladder.endpoint.resume(0))
    ladder.answer(ladder.last("INVITE"), 200, offer(version=3))
    updates = [o.stream.direction for o in ladder.outputs if isinstance(o, UpdateMedia)]
    assert updates == [Direction.SENDONLY, Direction.SENDRECV]


def test_hold_by_us_waits_for_the_peers_change_and_counts_on_from_it(
    invited: Invited, offer: Offer
) -> None:
    ladder = invited(offer())
    ladder.note(ladder.endpoint.answer(0, HOUR_MS))
    ladder.note(ladder.endpoint.hold(0))
    ladder.send(ladder.peer.request("INVITE", offer("a=inactive", version=2)))
    ladder.ack(ladder.peer.request("ACK", cseq=2))
    versions = [parse_sdp(last_body(ladder)), parse_sdp(ladder.last("INVITE").body)]
    assert [v.origin.session_version for v in versions] == [2, 3]


def test_a_call_ends_by_itself(invited: Invited, offer: Offer) -> None:
    ladder = invited(offer())
    ladder.note(ladder.endpoint.answer(0, 60_000))
    ladder.ack(ladder.peer.request("ACK", cseq=1))
    ladder.run_until(100_000)
    assert ladder.lines[-4:] == [
        "60000 < BYE",
        "60000 + close",
        "60000 * ended duration_exceeded",
        "96000 * Released",
    ]


def test_ports_come_back_when_the_caller_cancels(invited: Invited, offer: Offer) -> None:
    ladder = invited(offer())
    ladder.cancel(1)
    assert [o for o in ladder.outputs if isinstance(o, OpenMedia)] == []
    assert len([o for o in ladder.outputs if isinstance(o, CloseMedia)]) == 1
