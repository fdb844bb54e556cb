"""An INVITE session that the farm answers, as ladders in virtual time (RFC 3261 §13 to §15)."""

from itertools import product
from textwrap import dedent

import msgspec
import pytest

from sipfarm.signaling.session import Session
from sipfarm.signaling.session_messages import draw
from sipfarm.signaling.session_state import TABLE, Do, Input, Record, State
from sipfarm.signaling.ua import (
    AnswerReceived,
    Ended,
    EndReason,
    InfoReceived,
    Offered,
    OfferWanted,
    Released,
    Respond,
    SendRequest,
)
from sipfarm.testing.scripted_ua import Ladder, ScriptedPeer

OFFER = b"offer"
ANSWER = b"answer"


def make(headers: tuple[tuple[str, str], ...] = (), body: bytes = OFFER) -> Ladder[Session]:
    """A ladder that begins with an INVITE."""
    record = Record(local_tag="farm-tag", local_contact="sip:mark@127.0.0.1:5060", seed=7)
    ladder = Ladder(Session(record), ScriptedPeer())
    ladder.send(ladder.peer.request("INVITE", body, headers))
    return ladder


def answered(headers: tuple[tuple[str, str], ...] = (), body: bytes = OFFER) -> Ladder[Session]:
    ladder = make(headers, body)
    ladder.note(ladder.endpoint.answer(ANSWER, ladder.now_ms))
    return ladder


def confirmed(headers: tuple[tuple[str, str], ...] = ()) -> Ladder[Session]:
    ladder = answered(headers)
    ladder.ack(ladder.peer.request("ACK", cseq=1))
    ladder.lines.clear()
    ladder.outputs.clear()
    return ladder


def lines(text: str) -> str:
    return dedent(text).strip()


def responds(ladder: Ladder[Session]) -> list[Respond]:
    return [o for o in ladder.outputs if isinstance(o, Respond)]


def test_ring_answer_ack_bye() -> None:
    ladder = make()
    ladder.note(ladder.endpoint.ring(0))
    ladder.run_until(1_000)
    ladder.note(ladder.endpoint.answer(ANSWER, ladder.now_ms))
    ladder.ack(ladder.peer.request("ACK", cseq=1))
    ladder.run_until(9_000)
    ladder.send(ladder.peer.request("BYE"))
    assert ladder.text() == lines("""
        0 > INVITE
        0 * Offered
        0 < 180 INVITE
        1000 < 200 INVITE
        1000 > ACK
        1000 * Confirmed
        9000 > BYE
        9000 < 200 BYE
        9000 * ended bye_received
        9000 * Released
    """)
    assert ladder.endpoint.next_deadline_ms() is None


def test_the_2xx_carries_our_tag_contact_and_answer() -> None:
    ladder = answered()
    (success,) = responds(ladder)
    headers = dict(success.headers)
    assert success.to_tag == "farm-tag"
    assert headers["Contact"] == "<sip:mark@127.0.0.1:5060>"
    assert headers["Content-Type"] == "application/sdp"
    assert "UPDATE" in headers["Allow"]
    assert success.body == ANSWER


def test_a_2xx_without_ack_is_repeated_until_64_t1_and_then_bye() -> None:
    ladder = answered()
    ladder.run_until(40_000)
    times = [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]
    expected = [f"{at_ms} < 200 INVITE again" for at_ms in times]
    expected += ["32000 < BYE", "32000 * ended not_acknowledged"]
    assert ladder.lines[3:] == expected
    assert dict(ladder.last("BYE").headers)["Reason"].startswith("SIP ;cause=408")


def test_ack_stops_the_retransmission_of_the_2xx() -> None:
    ladder = answered()
    ladder.run_until(600)
    ladder.ack(ladder.peer.request("ACK", cseq=1))
    ladder.lines.clear()
    ladder.run_until(60_000)
    assert ladder.lines == []


def test_an_ack_with_another_cseq_does_not_confirm() -> None:
    ladder = answered()
    ladder.ack(ladder.peer.request("ACK", cseq=2))
    assert ladder.endpoint.state is State.MORATORIUM


def test_cancel_before_the_answer() -> None:
    ladder = make()
    ladder.run_until(700)
    ladder.cancel(1)
    ladder.note(ladder.endpoint.answer(ANSWER, ladder.now_ms))
    assert ladder.text() == lines("""
        0 > INVITE
        0 * Offered
        700 > CANCEL
        700 < 487 INVITE
        700 * ended cancelled
        700 * Released
    """)


def test_cancel_that_crosses_the_answer_changes_nothing() -> None:
    ladder = answered()
    ladder.cancel(1)
    ladder.ack(ladder.peer.request("ACK", cseq=1))
    assert ladder.endpoint.state is State.CONFIRMED


def test_bye_in_the_early_dialog_also_ends_the_invite() -> None:
    ladder = make()
    ladder.note(ladder.endpoint.ring(0))
    ladder.send(ladder.peer.request("BYE"))
    assert ladder.lines[-4:] == [
        "0 < 200 BYE",
        "0 < 487 INVITE",
        "0 * ended bye_received",
        "0 * Released",
    ]


def test_bye_before_the_ack() -> None:
    ladder = answered()
    ladder.send(ladder.peer.request("BYE"))
    ladder.lines.clear()
    ladder.run_until(100_000)
    assert ladder.lines == []
    assert ladder.endpoint.state is State.TERMINATED


def test_hang_up_before_the_ack_waits_for_it() -> None:
    ladder = answered()
    ladder.note(ladder.endpoint.hang_up(0))
    ladder.run_until(500)
    ladder.ack(ladder.peer.request("ACK", cseq=1))
    ladder.answer(ladder.last("BYE"), 200)
    assert ladder.lines[3:] == [
        "0 * ended bye_sent",
        "500 < 200 INVITE again",
        "500 > ACK",
        "500 < BYE",
        "500 > 200 BYE",
        "500 * Released",
    ]


def test_hang_up_whose_ack_never_comes_says_bye_after_64_t1() -> None:
    ladder = answered()
    ladder.note(ladder.endpoint.hang_up(0))
    ladder.run_until(32_000)
    assert ladder.lines[-1] == "32000 < BYE"


def test_hang_up_sends_bye_within_the_dialog() -> None:
    ladder = confirmed()
    ladder.note(ladder.endpoint.hang_up(0))
    bye = ladder.last("BYE")
    headers = dict(bye.headers)
    assert bye.uri == ladder.peer.contact
    assert headers["From"] == "<sip:echo@example.test>;tag=farm-tag"
    assert headers["To"].endswith(";tag=alice-tag")
    assert headers["CSeq"] == "1 BYE"
    assert "Reason" not in headers
    ladder.answer(bye, 481)
    assert ladder.outputs[-1] == Released()


@pytest.mark.parametrize("how", ["timeout", "lost", "crossing"])
def test_a_bye_that_gets_no_answer_ends_all_the_same(how: str) -> None:
    ladder = confirmed()
    ladder.note(ladder.endpoint.hang_up(0))
    if how == "timeout":
        ladder.run_until(32_000)
        ladder.no_answer(ladder.last("BYE"))
    elif how == "crossing":
        ladder.send(ladder.peer.request("BYE"))
        assert ladder.lines[-1] == "0 < 200 BYE"
        ladder.answer(ladder.last("BYE"), 481)
    else:
        ladder.run_until(40_000)
    assert ladder.endpoint.state is State.TERMINATED
    assert ladder.endpoint.next_deadline_ms() is None
    assert [type(o) for o in ladder.outputs].count(Released) == 1
    assert [type(o) for o in ladder.outputs].count(Ended) == 1


def test_hang_up_before_the_answer_rejects() -> None:
    ladder = make()
    ladder.note(ladder.endpoint.hang_up(0, status=486))
    assert ladder.outputs[-2] == Ended(EndReason.REJECTED, 486)
    assert responds(ladder)[-1].status == 486


def test_an_offerless_invite_is_answered_with_our_offer_and_the_ack_answers_it() -> None:
    ladder = make(body=b"")
    assert ladder.outputs == [OfferWanted()]
    ladder.note(ladder.endpoint.answer(b"our offer", 0))
    outputs = ladder.ack(ladder.peer.request("ACK", b"their answer", cseq=1))
    assert outputs[0] == AnswerReceived(b"their answer", b"our offer")
    assert ladder.endpoint.state is State.CONFIRMED


def test_an_ack_without_the_answer_that_it_owes_ends_the_call() -> None:
    ladder = make(body=b"")
    ladder.note(ladder.endpoint.answer(b"our offer", 0))
    ladder.ack(ladder.peer.request("ACK", cseq=1))
    assert ladder.lines[-3:] == ["0 * Confirmed", "0 < BYE", "0 * ended not_acknowledged"]


def test_an_invite_expires() -> None:
    ladder = make((("Expires", "20"),))
    ladder.run_until(300_000)
    assert ladder.lines[2:] == [
        "20000 < 487 INVITE",
        "20000 * ended invite_expired",
        "20000 * Released",
    ]


def test_ringing_is_said_again_each_minute_and_not_for_ever() -> None:
    ladder = make()
    ladder.note(ladder.endpoint.ring(0))
    ladder.run_until(1_000_000)
    assert [line for line in ladder.lines if "180" in line] == [
        f"{at_ms} < 180 INVITE" for at_ms in range(0, 300_000, 60_000)
    ]
    assert ladder.lines[-3] == "300000 < 487 INVITE"


@pytest.mark.parametrize(
    ("headers", "status", "header"),
    [
        ((("Require", "100rel, timer, foo"),), 420, ("Unsupported", "100rel, foo")),
        ((("Content-Encoding", "gzip"),), 415, ("Accept", "application/sdp")),
        ((("Session-Expires", "60"), ("Supported", "timer")), 422, ("Min-SE", "90")),
        ((("Contact", "*"),), 400, None),
    ],
)
def test_an_invite_that_cannot_be_taken_is_refused_at_once(
    headers: tuple[tuple[str, str], ...], status: int, header: tuple[str, str] | None
) -> None:
    ladder = make(headers)
    (refused,) = responds(ladder)
    assert refused.status == status
    assert header is None or header in refused.headers
    assert ladder.outputs[1:] == [Ended(EndReason.REJECTED, status), Released()]
    assert ladder.endpoint.next_deadline_ms() is None


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("OPTIONS", 200),
        ("INFO", 200),
        ("PRACK", 481),
        ("NOTIFY", 481),
        ("REFER", 405),
        ("MESSAGE", 405),
        ("SUBSCRIBE", 405),
        ("FROBNICATE", 501),
    ],
)
def test_requests_that_leave_the_session_as_it_is(method: str, status: int) -> None:
    ladder = confirmed()
    ladder.send(ladder.peer.request(method))
    assert responds(ladder)[-1].status == status
    assert ladder.endpoint.state is State.CONFIRMED
    if status in {405, 501}:
        assert "Allow" in dict(responds(ladder)[-1].headers)


def test_info_is_told() -> None:
    ladder = confirmed()
    outputs = ladder.send(ladder.peer.request("INFO", b"Signal=5"))
    assert outputs[1] == InfoReceived("application/sdp", b"Signal=5")
    outputs = ladder.send(ladder.peer.request("INFO", headers=(("Info-Package", "x"),)))
    assert responds(ladder)[-1].status == 469


def test_a_request_out_of_order_is_500_and_one_of_another_dialog_481() -> None:
    ladder = confirmed()
    ladder.send(ladder.peer.request("INFO", cseq=9))
    ladder.send(ladder.peer.request("INFO", cseq=8))
    ladder.peer.farm_tag = "forged"
    ladder.send(ladder.peer.request("BYE", cseq=10))
    assert [r.status for r in responds(ladder)] == [200, 500, 481]
    assert ladder.endpoint.state is State.CONFIRMED


def test_our_requests_follow_the_route_and_the_newest_contact() -> None:
    ladder = confirmed((("Record-Route", "<sip:p1;lr>, <sip:p2;lr>"),))
    ladder.send(ladder.peer.request("UPDATE", contact="sip:alice@192.0.2.99"))
    ladder.note(ladder.endpoint.hang_up(0))
    bye = ladder.last("BYE")
    assert (bye.uri, bye.route) == ("sip:alice@192.0.2.99", ("<sip:p1;lr>", "<sip:p2;lr>"))


def test_every_request_after_the_end_is_answered() -> None:
    ladder = confirmed()
    ladder.send(ladder.peer.request("BYE"))
    for method in ("INVITE", "BYE", "UPDATE", "INFO", "OPTIONS", "FROBNICATE"):
        ladder.send(ladder.peer.request(method))
        assert responds(ladder)[-1].status == 481


def test_commands_after_the_end_do_nothing() -> None:
    ladder = confirmed()
    ladder.send(ladder.peer.request("BYE"))
    session = ladder.endpoint
    assert session.ring(0) == []
    assert session.answer(b"x", 0) == []
    assert session.accept(b"x", 0) == []
    assert session.refuse(488, 0) == []
    assert session.modify(0) == []
    assert session.offer(b"x", 0) == []
    assert session.hang_up(0) == []
    assert session.reject(486, 0) == []


@pytest.mark.parametrize(("state", "what"), tuple(product(State, Input)))
def test_the_whole_table(state: State, what: Input) -> None:
    """An end is told once, BYE needs a dialog, and nothing leaves the end."""
    after, todo = TABLE.get((state, what), (state, ()))
    has_ended = {State.CLOSING, State.CANCELLING, State.TERMINATING, State.TERMINATED}
    assert (Do.END in todo) == (after in has_ended and state not in has_ended)
    assert (Do.RELEASE in todo) == (after is State.TERMINATED and state is not State.TERMINATED)
    assert (Do.SEND_BYE in todo) == (after is State.TERMINATING and state is not after)
    assert Do.SEND_BYE not in todo or state not in {State.IDLE, State.INVITED, State.CALLING}
    if state is State.TERMINATED:
        assert after is State.TERMINATED
    if state in has_ended:
        assert after in has_ended


def test_every_state_can_be_left_by_the_clock_or_the_owner() -> None:
    by_us = {Input.HANG_UP, Input.ACK_TIMEOUT, Input.INVITE_EXPIRED, Input.BYE_DONE}
    for state in State:
        ways = [what for what in by_us if (state, what) in TABLE]
        assert ways or state in {State.IDLE, State.TERMINATED}


def test_a_session_is_plain_values() -> None:
    """So that it can be kept in the store and go on at another member."""
    ladder = confirmed()
    kept = msgspec.msgpack.encode(ladder.endpoint.record)
    again = Session(msgspec.msgpack.decode(kept, type=Record))
    (bye, ended) = again.hang_up(0)
    assert isinstance(bye, SendRequest)
    assert bye.uri == ladder.peer.contact
    assert ended == Ended(EndReason.BYE_SENT)


def test_draws_stay_in_their_range_and_differ() -> None:
    record = Record(local_tag="t", local_contact="sip:m@h", seed=2**64 - 1)
    drawn = [draw(record, 3, 12) for _ in range(1_000)]
    assert set(drawn) == set(range(3, 13))


def test_an_offer_is_handed_on_as_it_came() -> None:
    assert make().outputs == [Offered(OFFER)]
