"""Calls are written behind: of each the latest state, which waits while the store is away."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from sipfarm.base.records import Snapshot
from sipfarm.media.offer_answer import Capabilities
from sipfarm.media.sdp import Direction
from sipfarm.native import Hop
from sipfarm.node import kept_calls
from sipfarm.node.kept_calls import (
    ENDED_MS,
    KEPT_MS,
    CallKeeper,
    KeptHop,
    KeptTaskCall,
    inherited_hop,
    kept_hop,
    read_kept,
)
from sipfarm.pbx.call import CallView, KeptCall
from sipfarm.pbx.leg import KeptLeg
from sipfarm.signaling.dialog import Dialog
from sipfarm.signaling.session_kept import KeptSession
from sipfarm.testing.clock import VirtualClock
from sipfarm.testing.memory_store import MemoryStore

OWN = (1, 7)
CALL = ("1.7", "tag-a")


class Slow(MemoryStore):
    """Something happens while it writes."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Any = lambda: None
        self.steps: list[int] = []

    async def snapshots_keep(self, snapshots: Sequence[Snapshot], wall_ms: int) -> frozenset[str]:
        self.steps.append(len(snapshots))
        refused = await super().snapshots_keep(snapshots, wall_ms)
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return refused


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.store = Slow()
        self.keeper = CallKeeper(self.store, OWN, self.clock)

    def flush(self) -> None:
        asyncio.run(self.keeper.flush())

    def stored(self) -> dict[str, bytes]:
        return {s.key: s.value for s in self.store.all_snapshots(self.clock.wall_ms())}

    def tasks(self) -> dict[str, str]:
        read = {key: read_kept(value, self.clock) for key, value in self.stored().items()}
        return {key: kept.task for key, kept in read.items() if kept is not None}


@pytest.fixture
def world() -> World:
    return World()


def kept(task: str = "echo", started_ms: int = 5) -> KeptTaskCall:
    dialog = Dialog(
        "id", "tag-a", "peer", "to", "from", "sip:us", "sip:peer", ("<sip:p;lr>",), 3, 4
    )
    session = KeptSession(dialog, 1, 2, False, True, b"v=0\r\n", None, 90, 100, None)
    leg = KeptLeg(session, 9, "echo", Capabilities(reflects=True), Direction.SENDRECV, None, 400)
    call = KeptCall(CallView("id", "sip:a", "sip:b", "sip:b"), leg)
    return KeptTaskCall(task, started_ms, KeptHop("udp", "192.0.2.1", 5060, 0, 0, 0), call)


def test_the_latest_state_is_written_and_the_times_are_the_walls(world: World) -> None:
    world.keeper.keep(CALL, kept("first"))
    world.keeper.keep(CALL, kept("second"))
    world.flush()
    assert world.store.steps == [1]
    [snapshot] = world.store.all_snapshots(world.clock.wall_ms())
    assert (snapshot.owner, snapshot.key, snapshot.holder) == ("1.7", "tag-a", "1.7")
    assert snapshot.expires_at_wall_ms == world.clock.wall_ms() + KEPT_MS
    read = read_kept(snapshot.value, world.clock)
    assert read == kept("second")
    raw = msgspec.msgpack.decode(snapshot.value)
    assert raw[1] == 5 + world.clock.wall_ms() - world.clock.now_ms()


def test_a_call_that_ends_before_it_was_written_is_never_written(world: World) -> None:
    world.keeper.keep(CALL, kept())
    world.keeper.end(CALL)
    world.flush()
    assert world.store.steps == []
    world.keeper.keep(CALL, kept())
    world.flush()
    world.keeper.end(CALL)
    world.flush()
    assert world.stored() == {}
    assert not world.keeper.has(CALL)


def test_what_changes_while_it_is_written_is_written_then(world: World) -> None:
    world.keeper.keep(CALL, kept("first"))
    world.store.meanwhile = lambda: world.keeper.keep(CALL, kept("second"))
    world.flush()
    assert world.tasks() == {"tag-a": "second"}
    world.store.meanwhile = lambda: world.keeper.end(CALL)
    world.keeper.keep(CALL, kept("third"))
    world.flush()
    assert world.stored() == {}


def test_while_the_store_is_away_the_latest_state_waits(world: World) -> None:
    world.keeper.keep(CALL, kept("first"))
    world.store.is_away = True
    world.flush()
    world.keeper.keep(CALL, kept("second"))
    world.keeper.keep(("1.7", "tag-b"), kept("third"))
    world.flush()
    assert (world.keeper.waiting, world.keeper.counters.store_failures) == (2, 2)
    world.store.is_away = False
    world.flush()
    assert world.tasks() == {"tag-a": "second", "tag-b": "third"}
    assert world.keeper.waiting == 0


def test_what_finds_no_room_is_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_calls, "CHANGED_MAX", 2)
    world.store.is_away = True
    for tag in ("a", "b", "c", "a"):
        world.keeper.keep(("1.7", tag), kept())
    assert (world.keeper.waiting, world.keeper.counters.lost) == (2, 1)


def test_the_end_of_a_call_that_the_store_has_finds_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.keeper.keep(("1.7", "a"), kept())
    world.flush()
    monkeypatch.setattr(kept_calls, "CHANGED_MAX", 1)
    world.keeper.keep(("1.7", "b"), kept())
    world.keeper.end(("1.7", "a"))
    assert (world.keeper.waiting, world.keeper.counters.lost) == (2, 0)


def test_many_calls_are_written_in_few_steps(world: World) -> None:
    for number in range(150):
        world.keeper.keep(("1.7", f"tag-{number}"), kept())
    world.keeper.inherit(("2.3", "tag-x"))
    world.keeper.keep(("2.3", "tag-x"), kept())
    world.flush()
    assert sorted(world.store.steps) == [1, 22, 64, 64]
    assert world.keeper.counters.written == 151


def test_an_inherited_call_that_ended_is_remembered_for_a_while(world: World) -> None:
    name = ("2.3", "tag-x")
    world.keeper.inherit(name)
    world.keeper.end(name)
    world.flush()
    assert world.stored() == {"tag-x": b""}
    world.clock.run_until(world.clock.now_ms() + ENDED_MS)
    assert world.stored() == {}


def test_a_member_that_was_taken_for_dead_changes_nothing_any_more(world: World) -> None:
    world.keeper.keep(CALL, kept())
    world.flush()

    async def take() -> None:
        await world.store.snapshots_take("1.7", ("tag-a",), "1.7", "2.8", world.clock.wall_ms())

    asyncio.run(take())
    world.keeper.keep(CALL, kept("late"))
    world.flush()
    world.keeper.end(CALL)
    world.flush()
    assert world.tasks() == {"tag-a": "echo"}
    assert world.keeper.counters.refused == 2


def test_what_a_peer_says_need_not_be_utf_8(world: World) -> None:
    call = kept()
    view = CallView("id\udcff", "sip:caf\udce9@test", "sip:b", "sip:b")
    call = msgspec.structs.replace(call, call=msgspec.structs.replace(call.call, view=view))
    world.keeper.keep(CALL, call)
    world.flush()
    assert read_kept(world.stored()["tag-a"], world.clock) == call


def test_what_cannot_be_read_is_none() -> None:
    assert read_kept(b"\xc1", VirtualClock()) is None
    assert read_kept(msgspec.msgpack.encode(["echo", "soon"]), VirtualClock()) is None


@pytest.mark.parametrize(
    ("hop", "seen"),
    [
        (Hop("udp", "192.0.2.1", 5060), Hop("udp", "192.0.2.1", 5060)),
        (Hop("udp", "192.0.2.1", 5060, 2), Hop("udp", "192.0.2.1", 5060, 2)),
        (Hop("tcp", "192.0.2.1", 5060, 1, 77), None),
        (Hop("tcp", "192.0.2.1", 5060, 1, 77, 2), None),
        (Hop("tcp", "192.0.2.1", 5060, 1, 77, 3), Hop("tcp", "192.0.2.1", 5060, 1, 77)),
        (Hop("tcp", "192.0.2.1", 5060, 1, 77, 4), Hop("tcp", "192.0.2.1", 5060, 1, 77, 4)),
        (Hop("udp", "192.0.2.1", 5060, 0, 0, 2), Hop("udp", "192.0.2.1", 5060)),
    ],
)
def test_a_connection_of_the_dead_member_is_gone_and_others_are_named_from_the_heir(
    hop: Hop, seen: Hop | None
) -> None:
    assert inherited_hop(kept_hop(hop), dead=2, own=3) == seen
