"""What strangers cancel: it leaves no more behind than any other answer to a stranger (ADR 10)."""

import pytest

from sipfarm.testing.farm import DOMAIN, FARM, STRANGER, FarmOptions, SimFarm
from sipfarm.testing.net import Endpoint
from sipfarm.testing.sim_member import MemberOptions
from sipfarm.testing.sim_place import PlaceOptions
from sipfarm.testing.wire_text import WireText, request_bytes

BOB = f"sip:bob@{DOMAIN}"
TRYING_MS = 200
"""Then a 100 goes out (RFC 3261 §17.2.1)."""


class Lobby:
    """One member, whose store takes its time; somebody calls bob and thinks better of it."""

    def __init__(self, caller: Endpoint, store_ms: int) -> None:
        place = PlaceOptions(heartbeats=False, store_delay_ms=(store_ms, store_ms))
        self.farm = SimFarm(1, FarmOptions(members=1, member=MemberOptions(place=place)))
        self.bob = self.farm.phone("bob")
        self.farm.account("bob")
        self.farm.bind("bob", self.bob)
        self.farm.begin()
        self.caller = caller
        self.heard: list[WireText] = []
        self.farm.net.listen(caller, lambda data, _: self.heard.append(WireText(data)))

    def send(self, method: str) -> None:
        host, port = self.caller
        lines = [
            ("Via", f"SIP/2.0/UDP {host}:{port};branch=z9hG4bKlobby"),
            ("Max-Forwards", "70"),
            ("From", f"<{BOB}>;tag=1"),
            ("To", f"<{BOB}>"),
            ("Call-ID", "lobby"),
            ("CSeq", f"1 {method}"),
            ("Contact", f"<sip:{host}:{port}>"),
        ]
        self.farm.net.send(self.caller, FARM, request_bytes(method, BOB, lines))

    @property
    def answers(self) -> list[str]:
        return [f"{answer.status} {answer.method}" for answer in self.heard]

    @property
    def transactions(self) -> int:
        return self.farm.members["m1"].engine.counters()["server_transactions"]


def test_a_strangers_cancelled_call_is_answered_once_and_forgotten() -> None:
    lobby = Lobby(STRANGER, store_ms=50)
    lobby.send("INVITE")
    lobby.farm.run(10)
    lobby.send("CANCEL")
    lobby.farm.run(10)
    assert lobby.answers == ["200 CANCEL", "487 INVITE"]
    assert len({answer.to_tag for answer in lobby.heard}) == 1
    assert lobby.transactions == 0
    lobby.farm.run(64_000)
    assert len(lobby.heard) == 2
    assert not lobby.bob.incoming


def test_where_it_takes_longer_the_answer_is_an_ordinary_one() -> None:
    lobby = Lobby(STRANGER, store_ms=2 * TRYING_MS)
    lobby.send("INVITE")
    lobby.farm.run(TRYING_MS + 10)
    lobby.send("CANCEL")
    lobby.farm.run(10)
    assert lobby.answers == ["100 INVITE", "200 CANCEL", "487 INVITE"]
    assert len({answer.to_tag for answer in lobby.heard[1:]}) == 1
    lobby.farm.run(64_000)
    assert set(lobby.answers[3:]) == {"487 INVITE"}
    assert lobby.transactions == 0


@pytest.mark.parametrize("caller", [("10.9.0.200", 5060), STRANGER])
def test_what_was_cancelled_before_it_was_decided_on_reaches_nobody(caller: Endpoint) -> None:
    lobby = Lobby(caller, store_ms=50)
    lobby.send("INVITE")
    lobby.send("CANCEL")
    lobby.farm.run(1_000)
    assert lobby.answers == ["200 CANCEL", "487 INVITE"]
    assert not lobby.bob.incoming
    assert not lobby.farm.members["m1"].users.forwarding.waiting
