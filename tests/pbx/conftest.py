"""What the tests of calls share: an offer, and a leg that an INVITE came to."""

from collections.abc import Callable

import pytest

from sipfarm.media.offer_answer import Capabilities, Party
from sipfarm.media.plan import LocalMedia
from sipfarm.pbx.leg import Leg
from sipfarm.signaling.session import Session
from sipfarm.signaling.session_state import Record
from sipfarm.testing.scripted_ua import Ladder, ScriptedPeer


@pytest.fixture
def offer() -> Callable[..., bytes]:
    """A session description of the peer; more lines go under its audio."""

    def make(*lines: str, version: int = 1, media: str = "m=audio 4000 RTP/AVP 9 0") -> bytes:
        head = ("v=0", f"o=alice 1 {version} IN IP4 192.0.2.7", "s=-", "c=IN IP4 192.0.2.7")
        return "\r\n".join((*head, "t=0 0", media, *lines, "")).encode()

    return make


@pytest.fixture
def idle() -> Callable[[], Ladder[Leg]]:
    """A leg that reflects, before its INVITE."""

    def make() -> Ladder[Leg]:
        record = Record(local_tag="farm-tag", local_contact="sip:mark@127.0.0.1:5060", seed=7)
        media = LocalMedia("127.0.0.1", 20_000, 20_001)
        party = Party(media, 1, Capabilities(reflects=True))
        return Ladder(Leg(Session(record), party, "echo"), ScriptedPeer())

    return make


@pytest.fixture
def invited(idle: Callable[[], Ladder[Leg]]) -> Callable[[bytes], Ladder[Leg]]:
    """A leg that reflects, and the INVITE it was begun by."""

    def make(body: bytes) -> Ladder[Leg]:
        ladder = idle()
        ladder.send(ladder.peer.request("INVITE", body))
        return ladder

    return make
