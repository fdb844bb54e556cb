"""A leg that is told anything in any order: no failure, no request unanswered, one end."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sipfarm.media.plan import CloseMedia, OpenMedia
from sipfarm.pbx.leg import Leg
from sipfarm.signaling.session_state import State
from sipfarm.signaling.ua import Ended, Released, Respond, SendRequest
from sipfarm.testing.scripted_ua import Ladder

METHODS = ["INVITE", "UPDATE", "INFO", "OPTIONS", "PRACK", "REFER", "FROBNICATE", "BYE"]
BODIES = ["", "offer", "hold", "refused", "rubbish"]
steps = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(METHODS), st.sampled_from(BODIES)),
    st.tuples(st.just("ack"), st.integers(1, 6), st.sampled_from(BODIES)),
    st.tuples(st.just("cancel"), st.integers(1, 6), st.just("")),
    st.tuples(st.just("wait"), st.sampled_from([10, 600, 40_000, 1_000_000]), st.just("")),
    st.tuples(
        st.just("answer"), st.sampled_from([180, 200, 401, 405, 422, 481, 491, 500]),
        st.sampled_from(BODIES),
    ),
    st.tuples(
        st.just("want"), st.sampled_from(["ring", "answer", "hold", "resume", "hang_up"]),
        st.just(""),
    ),
)  # fmt: skip


def take(ladder: Ladder[Leg], body: bytes, what: str, how: str | int) -> None:
    match what, how:
        case "send", str():
            request = ladder.peer.request(how, body)
            ladder.send(request)
        case "ack", int():
            ladder.ack(ladder.peer.request("ACK", body, cseq=how))
        case "cancel", int():
            ladder.cancel(how)
        case "wait", int():
            ladder.run_until(ladder.now_ms + how)
        case "answer", int():
            sent = [o for o in ladder.outputs if isinstance(o, SendRequest)]
            if sent:
                ladder.answer(sent[-1], how, body)
        case "want", "answer":
            ladder.note(ladder.endpoint.answer(ladder.now_ms, 3_600_000))
        case "want", str():
            ladder.note(getattr(ladder.endpoint, how)(ladder.now_ms))
        case _:
            raise AssertionError(what)


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, max_size=25), st.sampled_from(BODIES))
def test_a_leg_takes_anything_and_ends(
    idle: Callable[[], Ladder[Leg]],
    offer: Callable[..., bytes],
    given_steps: list[tuple[str, str | int, str]],
    first: str,
) -> None:
    bodies = {
        "": b"",
        "offer": offer(),
        "hold": offer("a=inactive", version=2),
        "refused": offer(media="m=audio 4000 RTP/AVP 18"),
        "rubbish": b"rubbish",
    }
    ladder = idle()
    take(ladder, bodies[first], "send", "INVITE")
    for what, how, body in given_steps:
        take(ladder, bodies[body], what, how)
    ladder.note(ladder.endpoint.hang_up(ladder.now_ms))
    ladder.run_until(ladder.now_ms + 10_000_000)
    kinds = [type(output) for output in ladder.outputs]
    assert ladder.endpoint.state is State.TERMINATED
    assert ladder.endpoint.next_deadline_ms() is None
    assert kinds.count(Ended) == kinds.count(Released) == kinds.count(CloseMedia) == 1
    assert kinds.count(OpenMedia) <= 1
    finals = [o.transaction for o in ladder.outputs if isinstance(o, Respond) and o.status >= 200]
    assert sorted(finals) == list(range(1, ladder.peer.transaction + 1))
    cseqs = [int(dict(o.headers)["CSeq"].split()[0]) for o in ladder.outputs
             if isinstance(o, SendRequest)]  # fmt: skip
    assert cseqs == sorted(set(cseqs))
