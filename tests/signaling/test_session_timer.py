"""Session timers (RFC 4028)."""

from collections.abc import Callable

import pytest

from sipfarm.signaling import session_timer
from sipfarm.signaling.session import Session
from sipfarm.signaling.session_state import Record, SessionOptions, State
from sipfarm.signaling.session_timer import Refresher, SessionTimer, TimerPolicy
from sipfarm.signaling.ua import Headers, Respond
from sipfarm.testing.scripted_ua import Ladder, ScriptedPeer

Standing = Callable[..., Ladder[Session]]
TIMER = ("Supported", "timer")
UPDATE = ("Allow", "INVITE, ACK, BYE, UPDATE")
LOCAL = Refresher.LOCAL
REMOTE = Refresher.REMOTE


@pytest.mark.parametrize(
    ("headers", "timer", "stated"),
    [
        # RFC 4028 table 2: what the caller supports and asks for, and who refreshes then.
        ((), SessionTimer(1800, LOCAL), "1800;refresher=uas"),
        ((("Session-Expires", "600"),), SessionTimer(600, LOCAL), "600;refresher=uas"),
        ((TIMER,), SessionTimer(1800, REMOTE), "1800;refresher=uac"),
        ((TIMER, ("Session-Expires", "600")), SessionTimer(600, REMOTE), "600;refresher=uac"),
        (
            (TIMER, ("Session-Expires", "600;refresher=uac")),
            SessionTimer(600, REMOTE),
            "600;refresher=uac",
        ),
        (
            (TIMER, ("Session-Expires", "600;refresher=uas")),
            SessionTimer(600, LOCAL),
            "600;refresher=uas",
        ),
        # Ours is the smaller, but never below what the path asks for.
        ((TIMER, ("Session-Expires", "7200")), SessionTimer(1800, REMOTE), "1800;refresher=uac"),
        (
            (TIMER, ("Session-Expires", "7200"), ("Min-SE", "3600")),
            SessionTimer(3600, REMOTE),
            "3600;refresher=uac",
        ),
        ((TIMER, ("Session-Expires", "rubbish")), SessionTimer(1800, REMOTE), "1800;refresher=uac"),
    ],
)
def test_who_refreshes_and_how_often(headers: Headers, timer: SessionTimer, stated: str) -> None:
    request = ScriptedPeer().request("INVITE", headers=headers)
    accepted = session_timer.accept(request, TimerPolicy())
    assert accepted == timer
    told = dict(session_timer.response_headers(accepted, request))
    assert told["Session-Expires"] == stated
    assert ("Require" in told) == (TIMER in headers)


def test_without_a_wish_on_either_side_there_is_no_timer() -> None:
    request = ScriptedPeer().request("INVITE")
    assert session_timer.accept(request, TimerPolicy(session_expires_s=0)) is None


def test_a_small_interval_is_422_only_for_who_understands_it() -> None:
    small = ("Session-Expires", "60")
    peer = ScriptedPeer()
    assert session_timer.is_too_small(peer.request("INVITE", headers=(TIMER, small)), TimerPolicy())
    assert not session_timer.is_too_small(peer.request("INVITE", headers=(small,)), TimerPolicy())


def test_a_policy_below_90_seconds_is_refused() -> None:
    with pytest.raises(ValueError, match="min_se_s"):
        TimerPolicy(min_se_s=89)
    with pytest.raises(ValueError, match="session_expires_s"):
        TimerPolicy(session_expires_s=60)


def test_we_refresh_by_update_where_the_peer_takes_it(standing: Standing) -> None:
    ladder = standing((UPDATE,))
    ladder.run_until(900_000)
    update = ladder.last("UPDATE")
    assert ladder.lines == ["900000 < UPDATE"]
    assert update.body == b""
    assert dict(update.headers)["Session-Expires"] == "1800;refresher=uac"
    ladder.answer(update, 200, headers=(("Session-Expires", "1800;refresher=uac"),))
    ladder.run_until(1_800_000)
    assert ladder.lines[-1] == "1800000 < UPDATE"


def test_we_refresh_by_re_invite_with_the_description_that_stands(standing: Standing) -> None:
    ladder = standing()
    ladder.run_until(900_000)
    assert ladder.last("INVITE").body == b"answer"
    ladder.answer(ladder.last("INVITE"), 200, b"same", (("Session-Expires", "1800;refresher=uac"),))
    assert ladder.lines[1:] == [
        "900000 > 200 INVITE",
        "900000 < ACK",
        "900000 * AnswerReceived",
    ]


def test_an_update_that_the_peer_does_not_know_becomes_a_re_invite(standing: Standing) -> None:
    ladder = standing((UPDATE,))
    ladder.run_until(900_000)
    ladder.answer(ladder.last("UPDATE"), 405)
    assert ladder.lines[-1] == "900000 < INVITE"


def test_422_to_our_refresh_is_tried_again_with_the_larger_interval(standing: Standing) -> None:
    ladder = standing((UPDATE,))
    ladder.run_until(900_000)
    ladder.answer(ladder.last("UPDATE"), 422, headers=(("Min-SE", "4000"),))
    headers = dict(ladder.last("UPDATE").headers)
    assert headers["Session-Expires"] == "4000;refresher=uac"
    assert headers["Min-SE"] == "4000"


def test_a_refresh_that_fails_is_tried_again_until_the_session_expires(standing: Standing) -> None:
    ladder = standing((UPDATE,))
    ladder.run_until(900_000)
    while ladder.endpoint.state is State.CONFIRMED:
        if ladder.endpoint.record.modify:
            ladder.answer(ladder.last("UPDATE"), 503)
        deadline_ms = ladder.endpoint.next_deadline_ms()
        assert deadline_ms is not None
        ladder.run_until(deadline_ms)
    assert ladder.lines[-2:] == ["1768000 < BYE", "1768000 * ended session_expired"]


def test_the_peer_that_does_not_refresh_is_hung_up_on(standing: Standing) -> None:
    ladder = standing((TIMER, ("Session-Expires", "90;refresher=uac")))
    ladder.run_until(1_000_000)
    assert ladder.lines[:2] == ["60000 < BYE", "60000 * ended session_expired"]


def test_a_refresh_of_the_peer_starts_the_interval_anew(standing: Standing) -> None:
    ladder = standing((TIMER, ("Session-Expires", "90;refresher=uac")))
    ladder.run_until(45_000)
    asked = (TIMER, ("Session-Expires", "90;refresher=uac"))
    (refreshed,) = ladder.send(ladder.peer.request("UPDATE", headers=asked))
    assert isinstance(refreshed, Respond)
    assert dict(refreshed.headers)["Session-Expires"] == "90;refresher=uac"
    ladder.run_until(104_999)
    assert ladder.endpoint.state is State.CONFIRMED
    ladder.run_until(105_000)
    assert ladder.lines[-1] == "105000 * ended session_expired"


def test_a_2xx_without_session_expires_ends_the_timing(standing: Standing) -> None:
    ladder = standing((UPDATE,))
    ladder.run_until(900_000)
    ladder.answer(ladder.last("UPDATE"), 200)
    assert ladder.endpoint.next_deadline_ms() is None


def test_a_session_without_timer_has_no_deadline(standing: Standing) -> None:
    ladder = standing((), SessionOptions(timer=TimerPolicy(session_expires_s=0)))
    assert ladder.endpoint.next_deadline_ms() is None


def test_options_check_their_relations() -> None:
    with pytest.raises(ValueError, match="t1_ms"):
        SessionOptions(t1_ms=5_000)
    assert Record(local_tag="t", local_contact="sip:m@h", seed=1).min_se_s == 90
