"""A session that the farm begins: INVITE as user agent client (RFC 3261 §13.2)."""

import pytest

from sipfarm.signaling.session import Session
from sipfarm.signaling.session_call import Invitation
from sipfarm.signaling.session_state import Record, State
from sipfarm.signaling.ua import Ringing, SendAck, SendRequest
from sipfarm.testing.scripted_ua import Ladder, ScriptedPeer

ROUTES = (("Record-Route", "<sip:p1;lr>, <sip:p2;lr>"),)


@pytest.fixture
def ladder() -> Ladder[Session]:
    record = Record(local_tag="farm-tag", local_contact="sip:mark@127.0.0.1:5060", seed=7)
    ladder = Ladder(Session(record), ScriptedPeer(tag="bob-tag"))
    invitation = Invitation(
        uri="sip:bob@192.0.2.8",
        from_party="<sip:alice@example.test>",
        to_party="<sip:bob@example.test>",
        call_id="call-2",
        offer=b"offer",
    )
    ladder.note(ladder.endpoint.call(invitation, 0))
    ladder.peer.call_id = "call-2"
    ladder.peer.farm_tag = "farm-tag"
    return ladder


def test_ring_answer_and_hang_up(ladder: Ladder[Session]) -> None:
    invite = ladder.last("INVITE")
    assert (invite.uri, invite.route, invite.body) == ("sip:bob@192.0.2.8", (), b"offer")
    ladder.answer(invite, 100)
    ladder.answer(invite, 180)
    ladder.answer(invite, 200, b"answer", ROUTES)
    ladder.note(ladder.endpoint.hang_up(0))
    ladder.answer(ladder.last("BYE"), 200)
    assert ladder.lines == [
        "0 < INVITE",
        "0 > 100 INVITE",
        "0 > 180 INVITE",
        "0 * Ringing 180",
        "0 > 200 INVITE",
        "0 < ACK",
        "0 * AnswerReceived",
        "0 * Confirmed",
        "0 < BYE",
        "0 * ended bye_sent",
        "0 > 200 BYE",
        "0 * Released",
    ]
    bye = ladder.last("BYE")
    assert (bye.uri, bye.route) == (ladder.peer.contact, ("<sip:p2;lr>", "<sip:p1;lr>"))
    assert dict(bye.headers)["CSeq"] == "2 BYE"


def test_the_ack_has_the_cseq_of_its_invite_and_comes_again_with_the_2xx(
    ladder: Ladder[Session],
) -> None:
    invite = ladder.last("INVITE")
    ladder.answer(invite, 200, b"answer")
    outputs = ladder.answer(invite, 200, b"answer")
    (ack,) = outputs
    assert isinstance(ack, SendAck)
    assert dict(ack.headers)["CSeq"] == "1 ACK"


def test_another_branch_that_answers_too_is_acknowledged_and_ended(
    ladder: Ladder[Session],
) -> None:
    invite = ladder.last("INVITE")
    ladder.answer(invite, 200, b"answer")
    stray = ladder.peer.response(invite, 200, b"answer", tag="carol-tag")
    outputs = ladder.note(ladder.endpoint.response(invite.key, stray, 0))
    assert [type(o) for o in outputs] == [SendAck, SendRequest]
    assert dict(ladder.last("BYE").headers)["To"].endswith(";tag=carol-tag")
    assert [type(o) for o in ladder.endpoint.response(invite.key, stray, 0)] == [SendAck]
    assert ladder.endpoint.state is State.CONFIRMED
    ladder.answer(ladder.last("BYE"), 200)
    assert ladder.endpoint.state is State.CONFIRMED


def test_refused(ladder: Ladder[Session]) -> None:
    ladder.answer(ladder.last("INVITE"), 486)
    assert ladder.lines[-2:] == ["0 * ended rejected", "0 * Released"]
    assert ladder.endpoint.next_deadline_ms() is None


def test_nothing_comes_back(ladder: Ladder[Session]) -> None:
    ladder.run_until(32_000)
    ladder.no_answer(ladder.last("INVITE"))
    assert ladder.endpoint.state is State.TERMINATED


def test_given_up_while_it_rings(ladder: Ladder[Session]) -> None:
    ladder.answer(ladder.last("INVITE"), 180)
    ladder.note(ladder.endpoint.hang_up(0))
    ladder.answer(ladder.last("INVITE"), 487)
    assert ladder.lines[-4:] == [
        "0 * ended bye_sent",
        "0 < CANCEL",
        "0 > 487 INVITE",
        "0 * Released",
    ]


def test_a_2xx_that_crosses_our_cancel_is_acknowledged_and_ended(ladder: Ladder[Session]) -> None:
    ladder.note(ladder.endpoint.hang_up(0))
    ladder.answer(ladder.last("INVITE"), 200, b"answer")
    ladder.answer(ladder.last("BYE"), 200)
    assert ladder.lines[-4:] == ["0 < ACK", "0 < BYE", "0 > 200 BYE", "0 * Released"]


def test_a_callee_that_rings_for_ever_is_cancelled_and_forgotten(ladder: Ladder[Session]) -> None:
    ladder.answer(ladder.last("INVITE"), 180)
    ladder.run_until(400_000)
    assert ladder.lines[-3:] == [
        "300000 * ended invite_expired",
        "300000 < CANCEL",
        "332000 * Released",
    ]


def test_a_2xx_without_an_answer_ends_the_call(ladder: Ladder[Session]) -> None:
    ladder.answer(ladder.last("INVITE"), 200)
    assert ladder.lines[-4:] == [
        "0 < ACK",
        "0 * Confirmed",
        "0 < BYE",
        "0 * ended not_acknowledged",
    ]


def test_requests_of_the_callee_count_on_their_own(ladder: Ladder[Session]) -> None:
    ladder.answer(ladder.last("INVITE"), 200, b"answer")
    ladder.send(ladder.peer.request("INFO", cseq=0))
    ladder.send(ladder.peer.request("BYE", cseq=1))
    assert ladder.lines[-3:] == ["0 < 200 BYE", "0 * ended bye_received", "0 * Released"]


def test_early_media_is_told(ladder: Ladder[Session]) -> None:
    ladder.answer(ladder.last("INVITE"), 183, b"early")
    assert ladder.outputs[-1] == Ringing(183, b"early")


def test_after_491_the_owner_of_the_call_id_waits_longer(ladder: Ladder[Session]) -> None:
    ladder.answer(ladder.last("INVITE"), 200, b"answer")
    ladder.note(ladder.endpoint.modify(0))
    ladder.note(ladder.endpoint.offer(b"hold", 0))
    ladder.answer(ladder.last("INVITE"), 491)
    deadline_ms = ladder.endpoint.next_deadline_ms()
    assert deadline_ms is not None
    assert 2_100 <= deadline_ms <= 4_000
