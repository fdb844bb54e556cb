"""Re-INVITE and UPDATE from either side (RFC 3261 §14, RFC 3311, RFC 6141, RFC 5407)."""

from collections.abc import Callable

import pytest

from sipfarm.signaling.session import Session
from sipfarm.signaling.session_state import Record, State
from sipfarm.signaling.ua import (
    AnswerReceived,
    ModifyFailed,
    OfferDue,
    Offered,
    OfferWanted,
    OfferWithdrawn,
    Respond,
    SendCancel,
)
from sipfarm.testing.scripted_ua import Ladder, ScriptedPeer

Standing = Callable[..., Ladder[Session]]
UPDATES = (("Allow", "INVITE, ACK, BYE, UPDATE"),)


def change(ladder: Ladder[Session], body: bytes) -> None:
    """Ask for a change and give the offer as soon as it is due."""
    if OfferDue() in ladder.note(ladder.endpoint.modify(ladder.now_ms)):
        ladder.note(ladder.endpoint.offer(body, ladder.now_ms))


def last_response(ladder: Ladder[Session]) -> Respond:
    return next(o for o in reversed(ladder.outputs) if isinstance(o, Respond))


def test_a_re_invite_is_asked_about_and_its_2xx_repeated_until_ack(standing: Standing) -> None:
    ladder = standing()
    ladder.send(ladder.peer.request("INVITE", b"hold"))
    ladder.note(ladder.endpoint.accept(b"held", 0))
    ladder.run_until(1_000)
    ladder.ack(ladder.peer.request("ACK", cseq=2))
    ladder.run_until(50_000)
    assert ladder.lines == [
        "0 > INVITE",
        "0 * Offered",
        "0 < 200 INVITE",
        "500 < 200 INVITE again",
        "1000 > ACK",
    ]
    assert ladder.endpoint.record.local_description == b"held"


def test_a_re_invite_whose_ack_is_lost_ends_the_call(standing: Standing) -> None:
    ladder = standing()
    ladder.send(ladder.peer.request("INVITE", b"hold"))
    ladder.note(ladder.endpoint.accept(b"held", 0))
    ladder.run_until(32_000)
    assert ladder.lines[-2:] == ["32000 < BYE", "32000 * ended not_acknowledged"]


def test_an_offerless_re_invite_gets_our_offer(standing: Standing) -> None:
    ladder = standing()
    assert ladder.send(ladder.peer.request("INVITE")) == [OfferWanted()]
    ladder.note(ladder.endpoint.accept(b"our offer", 0))
    ladder.ack(ladder.peer.request("ACK", b"their answer", cseq=2))
    assert ladder.outputs[-1] == AnswerReceived(b"their answer", b"our offer")


def test_a_refused_re_invite_leaves_the_session_as_it_was(standing: Standing) -> None:
    ladder = standing()
    before = ladder.endpoint.record.dialog
    ladder.send(ladder.peer.request("INVITE", b"bad", contact="sip:elsewhere@192.0.2.9"))
    ladder.note(ladder.endpoint.refuse(488, 0))
    dialog = ladder.endpoint.record.dialog
    assert last_response(ladder).status == 488
    assert dialog is not None
    assert before is not None
    assert dialog.remote_target == before.remote_target
    assert ladder.endpoint.state is State.CONFIRMED


def test_a_cancelled_re_invite_is_487_and_withdrawn(standing: Standing) -> None:
    ladder = standing()
    request = ladder.peer.request("INVITE", b"new")
    ladder.send(request)
    ladder.cancel(request.transaction)
    assert last_response(ladder).status == 487
    assert ladder.outputs[-1] == OfferWithdrawn()
    assert ladder.endpoint.state is State.CONFIRMED


def test_a_second_re_invite_while_the_first_waits_is_500(standing: Standing) -> None:
    ladder = standing()
    ladder.send(ladder.peer.request("INVITE", b"one"))
    ladder.send(ladder.peer.request("INVITE", b"two"))
    assert last_response(ladder).status == 500
    assert 0 <= int(dict(last_response(ladder).headers)["Retry-After"]) <= 10


def test_bye_while_a_re_invite_waits_ends_both(standing: Standing) -> None:
    ladder = standing()
    ladder.send(ladder.peer.request("INVITE", b"one"))
    ladder.send(ladder.peer.request("BYE"))
    assert ladder.lines[-4:] == [
        "0 < 200 BYE",
        "0 < 487 INVITE",
        "0 * ended bye_received",
        "0 * Released",
    ]


def test_a_re_invite_before_the_ack_stands_for_it(standing: Standing) -> None:
    """The peer had our 2xx, or it could not send this; only its ACK was lost (RFC 5407 §3.1.4)."""
    record = Record(local_tag="farm-tag", local_contact="sip:mark@127.0.0.1", seed=7)
    ladder = Ladder(Session(record), ScriptedPeer())
    ladder.send(ladder.peer.request("INVITE", b"offer"))
    ladder.note(ladder.endpoint.answer(b"answer", 0))
    ladder.send(ladder.peer.request("INVITE", b"new offer"))
    assert ladder.lines[-2:] == ["0 * Confirmed", "0 * Offered"]
    ladder.run_until(100_000)
    assert ladder.endpoint.state is State.CONFIRMED


def test_a_re_invite_is_491_while_our_offer_in_a_2xx_is_unanswered(standing: Standing) -> None:
    ladder = standing()
    ladder.send(ladder.peer.request("INVITE"))
    ladder.note(ladder.endpoint.accept(b"our offer", 0))
    ladder.send(ladder.peer.request("INVITE", b"theirs"))
    assert last_response(ladder).status == 491


def test_an_update_with_an_offer_is_asked_about(standing: Standing) -> None:
    ladder = standing()
    assert ladder.send(ladder.peer.request("UPDATE", b"offer")) == [Offered(b"offer")]
    ladder.note(ladder.endpoint.accept(b"answer", 0))
    assert last_response(ladder).status == 200
    assert ladder.endpoint.record.unacknowledged is None


def test_an_update_in_the_early_dialog() -> None:
    record = Record(local_tag="farm-tag", local_contact="sip:mark@127.0.0.1", seed=7)
    ladder = Ladder(Session(record), ScriptedPeer())
    ladder.send(ladder.peer.request("INVITE", b"offer"))
    ladder.note(ladder.endpoint.ring(0))
    ladder.send(ladder.peer.request("UPDATE"))
    assert last_response(ladder).status == 200
    ladder.send(ladder.peer.request("UPDATE", b"offer"))
    assert last_response(ladder).status == 500
    ladder.note(ladder.endpoint.answer(b"answer", 0))
    assert ladder.endpoint.state is State.MORATORIUM


def test_our_re_invite_is_acknowledged_and_its_answer_told(standing: Standing) -> None:
    ladder = standing()
    change(ladder, b"hold")
    ladder.answer(ladder.last("INVITE"), 200, b"held")
    assert ladder.lines == [
        "0 * OfferDue",
        "0 < INVITE",
        "0 > 200 INVITE",
        "0 < ACK",
        "0 * AnswerReceived",
    ]
    ladder.answer(ladder.last("INVITE"), 200, b"held")
    assert ladder.lines[-1] == "0 < ACK"


def test_glare_our_re_invite_refuses_theirs_and_tries_again_after_491(standing: Standing) -> None:
    ladder = standing()
    change(ladder, b"ours")
    ladder.send(ladder.peer.request("INVITE", b"theirs"))
    assert last_response(ladder).status == 491
    ladder.send(ladder.peer.request("UPDATE", b"theirs"))
    assert last_response(ladder).status == 491
    ladder.answer(ladder.last("INVITE"), 491)
    ladder.lines.clear()
    ladder.run_until(2_000)
    (line,) = ladder.lines
    assert line.endswith("* OfferDue")
    ladder.note(ladder.endpoint.offer(b"ours", ladder.now_ms))
    ladder.answer(ladder.last("INVITE"), 200, b"answer")
    assert isinstance(ladder.outputs[-1], AnswerReceived)


def test_glare_without_end_is_given_up(standing: Standing) -> None:
    ladder = standing()
    change(ladder, b"ours")
    for _ in range(20):
        ladder.answer(ladder.last("INVITE"), 491)
        if isinstance(ladder.outputs[-1], ModifyFailed):
            break
        ladder.run_until(ladder.now_ms + 2_000)
        ladder.note(ladder.endpoint.offer(b"ours", ladder.now_ms))
    assert ladder.outputs[-1] == ModifyFailed(491)
    assert ladder.endpoint.state is State.CONFIRMED


def test_our_offer_waits_for_what_is_under_way(standing: Standing) -> None:
    ladder = standing()
    ladder.send(ladder.peer.request("INVITE", b"theirs"))
    assert ladder.endpoint.modify(0) == []
    assert ladder.endpoint.offer(b"too early", 0) == []
    ladder.note(ladder.endpoint.accept(b"answer", 0))
    assert ladder.lines[-1] == "0 < 200 INVITE"
    ladder.ack(ladder.peer.request("ACK", cseq=2))
    assert ladder.lines[-1] == "0 * OfferDue"
    ladder.note(ladder.endpoint.offer(b"ours", 0))
    assert ladder.last("INVITE").body == b"ours"


@pytest.mark.parametrize("status", [408, 481])
def test_a_dialog_the_peer_does_not_know_any_more_ends(standing: Standing, status: int) -> None:
    ladder = standing()
    change(ladder, b"ours")
    ladder.answer(ladder.last("INVITE"), status)
    assert ladder.lines[-2:] == ["0 < BYE", "0 * ended dialog_lost"]


def test_a_refused_offer_of_ours_leaves_the_session(standing: Standing) -> None:
    ladder = standing()
    change(ladder, b"ours")
    ladder.answer(ladder.last("INVITE"), 488)
    assert ladder.outputs[-1] == ModifyFailed(488)
    assert ladder.endpoint.record.local_description == b"answer"


def test_a_re_invite_of_ours_that_rings_for_ever_is_cancelled(standing: Standing) -> None:
    ladder = standing()
    change(ladder, b"ours")
    ladder.answer(ladder.last("INVITE"), 180)
    ladder.run_until(180_000)
    assert isinstance(ladder.outputs[-1], SendCancel)
    ladder.run_until(212_000)
    assert ladder.lines[-2:] == ["212000 < BYE", "212000 * ended dialog_lost"]


def test_a_late_2xx_to_a_re_invite_given_up_is_acknowledged(standing: Standing) -> None:
    ladder = standing()
    change(ladder, b"ours")
    ladder.run_until(180_000)
    ladder.answer(ladder.last("INVITE"), 200, b"answer")
    assert ladder.lines[-2:] == ["180000 < ACK", "180000 * AnswerReceived"]


def test_a_2xx_without_the_answer_it_owes_ends_the_call(standing: Standing) -> None:
    ladder = standing()
    change(ladder, b"ours")
    ladder.answer(ladder.last("INVITE"), 200)
    assert ladder.lines[-3:-1] == ["0 < ACK", "0 < BYE"]
