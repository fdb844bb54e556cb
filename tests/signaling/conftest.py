"""What the tests of sessions share: a session that stands."""

from collections.abc import Callable

import pytest

from sipfarm.signaling.session import Session
from sipfarm.signaling.session_state import Record, SessionOptions
from sipfarm.signaling.ua import Headers
from sipfarm.testing.scripted_ua import Ladder, ScriptedPeer

Standing = Callable[..., Ladder[Session]]


@pytest.fixture
def standing() -> Standing:
    """A confirmed session that the farm answered; the ladder is empty."""

    def make(headers: Headers = (), options: SessionOptions | None = None) -> Ladder[Session]:
        record = Record(
            local_tag="farm-tag",
            local_contact="sip:mark@127.0.0.1:5060",
            seed=7,
            options=options or SessionOptions(),
        )
        ladder = Ladder(Session(record), ScriptedPeer())
        ladder.send(ladder.peer.request("INVITE", b"offer", headers))
        ladder.note(ladder.endpoint.answer(b"answer", 0))
        ladder.ack(ladder.peer.request("ACK", cseq=1))
        ladder.lines.clear()
        ladder.outputs.clear()
        return ladder

    return make
