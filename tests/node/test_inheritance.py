"""Who takes the calls of the dead, and where their requests go (ADR 17)."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from sipfarm.base.errors import CapacityError
from sipfarm.base.farm_view import Incarnation, MemberInView, View, ViewState
from sipfarm.base.records import EPOCH_MAX, MemberRecord, MemberState, Snapshot
from sipfarm.media.offer_answer import Capabilities
from sipfarm.media.sdp import Direction
from sipfarm.node.inheritance import SETTLED_WITHIN_MS, Inheritance, InheritanceParts
from sipfarm.node.kept_calls import CallKeeper, Inherited, KeptTaskCall
from sipfarm.pbx.call import CallView, KeptCall
from sipfarm.pbx.leg import KeptLeg
from sipfarm.signaling.dialog import Dialog
from sipfarm.signaling.session_kept import KeptSession
from sipfarm.testing.clock import VirtualClock
from sipfarm.testing.eventually import turn
from sipfarm.testing.memory_store import MemoryStore

KEY = bytes(range(16))
DEAD = (1, 5)
TAGS = [f"tag-{number}" for number in range(20)]


class Store(MemoryStore):
    """A store whose answers may get lost."""

    answer_lost = False
    is_unreadable = False

    async def snapshots(self, owner: str, wall_ms: int) -> tuple[Snapshot, ...]:
        if self.is_unreadable:
            raise ValueError("of another release")
        return await super().snapshots(owner, wall_ms)

    async def snapshots_take(
        self, owner: str, keys: Sequence[str], before: str, after: str, wall_ms: int
    ) -> frozenset[str]:
        taken = await super().snapshots_take(owner, keys, before, after, wall_ms)
        if self.answer_lost:
            raise CapacityError("no answer")
        return taken


class World:
    """A store, a clock, and the view that all have."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.store = Store()
        self.log = LogCapture()
        self.live = [(2, 1), (3, 1)]

    def view(self) -> View:
        live = [MemberInView(n, epoch, f"m{n}", ViewState.READY) for n, epoch in self.live]
        return View(tuple(live))

    def leave(self, incarnation: Incarnation, *tags: str) -> None:
        """What a member had kept when it died."""
        keeper = CallKeeper(self.store, incarnation, self.clock)
        for tag in tags:
            keeper.keep((keeper.own, tag), kept(tag))
        asyncio.run(keeper.flush())


class Member:
    """One that inherits; `calls` are what it goes on with."""

    def __init__(self, world: World, incarnation: Incarnation, ports: int = 100) -> None:
        self.calls: dict[str, Inherited] = {}
        self.ended: list[str] = []
        self.unusable = ""
        self.free = list(range(ports))
        self.keeper = CallKeeper(world.store, incarnation, world.clock)
        self.inheritance = Inheritance(
            InheritanceParts(
                store=world.store,
                keeper=self.keeper,
                heir=self,
                own=incarnation,
                key=KEY,
                view=world.view,
                clock=world.clock,
                log=structlog.wrap_logger(None, processors=[world.log]),
            )
        )

    def settle(self) -> None:
        asyncio.run(self.inheritance.settle())

    def reserve_port(self) -> int | None:
        return self.free.pop() if self.free else None

    def release_port(self, port: int) -> None:
        self.free.append(port)

    def inherit(self, inherited: Inherited) -> None:
        assert inherited.kept.call.tag not in self.calls
        if inherited.kept.call.tag == self.unusable:
            raise ValueError("nothing can be made of it")
        self.calls[inherited.kept.call.tag] = inherited

    def remember_ended(self, tag: str) -> None:
        self.ended.append(tag)


def kept(tag: str) -> KeptTaskCall:
    dialog = Dialog(tag, tag, "peer", "to", "from", "sip:us", "sip:peer", (), 3, 4)
    session = KeptSession(dialog, 1, 2, False, True, b"v=0\r\n", None, 90, None, None)
    leg = KeptLeg(session, 9, "echo", Capabilities(), Direction.SENDRECV, None, None)
    return KeptTaskCall("echo", 5, None, KeptCall(CallView(tag, "a", "b", "b"), leg))


def asked(work: Coroutine[Any, Any, int | None]) -> int | None:
    return asyncio.run(work)


@pytest.fixture
def world() -> World:
    return World()


def test_each_call_goes_to_its_heir_and_to_nobody_else(world: World) -> None:
    world.leave(DEAD, *TAGS)
    members = [Member(world, incarnation) for incarnation in world.live]
    for member in (*members, *members):
        member.inheritance.died(DEAD)
        member.settle()
    first, second = (set(member.calls) for member in members)
    assert first | second == set(TAGS)
    assert not first & second
    assert first
    assert second
    assert all(member.inheritance.is_settled for member in members)
    assert all(call.owner == "1.5" and call.dead == 1 for call in members[0].calls.values())


def test_what_an_heir_had_inherited_goes_on_to_its_own_heir(world: World) -> None:
    world.leave(DEAD, *TAGS)
    world.live = [(2, 1)]
    first = Member(world, (2, 1))
    first.inheritance.died(DEAD)
    first.settle()
    assert set(first.calls) == set(TAGS)
    world.live = [(3, 1)]
    last = Member(world, (3, 1))
    last.inheritance.died((2, 1))
    last.settle()
    assert set(last.calls) == set(TAGS)
    assert {(call.owner, call.dead, call.takes) for call in last.calls.values()} == {("1.5", 2, 2)}


def test_where_views_differ_the_store_decides(world: World) -> None:
    world.leave(DEAD, *TAGS)
    members = [Member(world, (2, 1)), Member(world, (3, 1))]
    for member in members:
        world.live = [member.inheritance._own]  # each takes itself for the only heir
        member.inheritance.died(DEAD)
        member.settle()
    assert set(members[0].calls) == set(TAGS)
    assert not members[1].calls
    assert len(members[1].free) == 100


def test_an_heir_that_does_not_come_is_replaced_when_the_view_changes(world: World) -> None:
    world.leave(DEAD, *TAGS)
    member = Member(world, (2, 1))
    member.inheritance.died(DEAD)
    member.settle()
    assert not member.inheritance.is_settled
    world.live = [(2, 1)]
    member.settle()
    assert set(member.calls) == set(TAGS)
    assert member.inheritance.is_settled


def test_an_estate_is_given_up_in_the_end(world: World) -> None:
    world.leave(DEAD, *TAGS)
    member = Member(world, (2, 1), ports=0)
    member.inheritance.died(DEAD)
    member.settle()
    assert not member.inheritance.is_settled
    world.clock.run_until(SETTLED_WITHIN_MS)
    member.settle()
    assert member.inheritance.is_settled
    assert not member.calls


def test_without_ports_calls_wait_for_some(world: World) -> None:
    world.live = [(2, 1)]
    world.leave(DEAD, *TAGS)
    member = Member(world, (2, 1), ports=7)
    member.inheritance.died(DEAD)
    member.settle()
    assert len(member.calls) == 7
    member.free += range(50, 70)
    member.settle()
    assert set(member.calls) == set(TAGS)


def test_nobody_inherits_while_the_store_is_away(world: World) -> None:
    world.leave(DEAD, *TAGS)
    world.live = [(2, 1)]
    member = Member(world, (2, 1))
    member.inheritance.died(DEAD)
    world.store.is_away = True
    for _ in range(3):
        world.clock.run_until(world.clock.now_ms() + SETTLED_WITHIN_MS)
        member.settle()
    assert not member.calls
    world.store.is_away = False
    member.settle()
    assert set(member.calls) == set(TAGS)


def test_what_was_taken_though_the_answer_got_lost_is_gone_on_with(world: World) -> None:
    world.leave(DEAD, "tag-1")
    world.live = [(2, 1)]
    member = Member(world, (2, 1))
    member.inheritance.died(DEAD)
    world.store.answer_lost = True
    member.settle()
    assert not member.calls
    assert len(member.free) == 100
    assert asked(member.inheritance.member_of("tag-1", DEAD, patient=False)) is None
    world.store.answer_lost = False
    world.live = [(2, 1), (3, 1)]
    member.settle()
    assert member.calls["tag-1"].takes == 1
    assert member.inheritance.is_settled


def test_a_call_of_a_release_that_is_not_known_is_left(world: World) -> None:
    world.leave(DEAD, "tag-1", "tag-2")
    key = next(key for key in world.store._snapshots if key.name == "tag-1")
    whole = world.store._snapshots[key]
    world.store._snapshots[key] = whole.replace(b"echo", b"\xa1cho")
    world.live = [(2, 1)]
    member = Member(world, (2, 1))
    member.inheritance.died(DEAD)
    member.settle()
    assert set(member.calls) == {"tag-2"}
    assert [entry["event"] for entry in world.log.entries][:1] == ["kept_call_unreadable"]


def test_a_call_that_nothing_can_be_made_of_harms_no_other_and_is_not_tried_again(
    world: World,
) -> None:
    world.leave(DEAD, *TAGS)
    world.live = [(2, 1)]
    member = Member(world, (2, 1))
    member.unusable = TAGS[3]
    member.inheritance.died(DEAD)
    member.settle()
    assert set(member.calls) == set(TAGS) - {TAGS[3]}
    assert [entry["event"] for entry in world.log.entries] == ["kept_call_unusable"]
    asyncio.run(member.keeper.flush())
    world.live = [(3, 1)]
    other = Member(world, (3, 1))
    other.inheritance.died((2, 1))
    other.settle()
    assert set(other.calls) == set(TAGS) - {TAGS[3]}


def test_an_estate_that_cannot_be_read_is_given_up(world: World) -> None:
    world.leave(DEAD, "tag-1")
    member = Member(world, (2, 1))
    member.inheritance.died(DEAD)
    world.store.is_unreadable = True
    member.settle()
    assert member.inheritance.is_settled
    assert [entry["event"] for entry in world.log.entries] == ["estate_unreadable"]


def test_a_member_that_starts_looks_at_the_dead_and_at_the_lives_before(world: World) -> None:
    def record(number: int, epoch: int, state: MemberState) -> MemberRecord:
        return MemberRecord(f"m{number}", number, epoch, "", "", 1, state, 0)

    world.leave((4, 9), "tag-a")
    world.leave((2, EPOCH_MAX), "tag-b")
    world.leave((3, 1), "tag-c")
    world.leave((5, 2), "tag-d")
    world.live = [(2, 1)]
    member = Member(world, (2, 1))
    records = [
        record(2, 1, MemberState.ALIVE),
        record(3, 1, MemberState.ALIVE),
        record(4, 9, MemberState.TOMBSTONED),
        record(5, 3, MemberState.ALIVE),
    ]
    member.inheritance.look_back(records)
    member.settle()
    assert set(member.calls) == {"tag-a", "tag-b", "tag-d"}


def test_an_orphan_goes_to_who_has_the_call(world: World) -> None:
    world.leave(DEAD, "tag-1")
    inheritance = Member(world, (2, 1)).inheritance
    assert asked(inheritance.member_of("tag-1", DEAD, patient=False)) is None
    world.live = [(3, 1)]
    heir = Member(world, (3, 1))
    heir.inheritance.died(DEAD)
    heir.settle()
    assert asked(inheritance.member_of("TAG-1", DEAD, patient=False)) == 3
    assert asked(inheritance.member_of("tag-2", DEAD, patient=False)) == 0
    assert asked(heir.inheritance.member_of("tag-1", DEAD, patient=False)) == 3
    world.live = [(3, 2)]
    assert asked(inheritance.member_of("tag-1", DEAD, patient=False)) is None
    counters = inheritance.counters
    assert (counters.orphans_placed, counters.orphans_without_call) == (1, 1)
    assert counters.orphans_dropped == 2


def test_who_ended_a_call_answers_for_it_and_else_anybody(world: World) -> None:
    world.leave(DEAD, "tag-1")
    world.live = [(3, 1)]
    heir, other = Member(world, (3, 1)), Member(world, (2, 1))
    heir.inheritance.died(DEAD)
    heir.settle()
    heir.keeper.end(("1.5", "tag-1"))
    asyncio.run(heir.keeper.flush())
    assert asked(other.inheritance.member_of("tag-1", DEAD, patient=False)) == 3
    world.live = [(2, 1)]
    assert asked(other.inheritance.member_of("tag-1", DEAD, patient=False)) == 2
    assert other.ended == ["tag-1"]


def test_a_request_over_a_stream_waits_for_the_heir(world: World) -> None:
    world.leave(DEAD, "tag-1")
    world.live = [(2, 1)]
    member = Member(world, (2, 1))
    member.inheritance.died(DEAD)

    async def wait() -> int | None:
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(member.inheritance.member_of("tag-1", DEAD, patient=True))
            await turn()
            assert not asking.done()
            await member.inheritance.settle()
            return await asking

    assert asyncio.run(wait()) == 2


def test_a_question_to_a_store_that_is_away_is_not_answered(world: World) -> None:
    world.leave(DEAD, "tag-1")
    world.store.is_away = True
    inheritance = Member(world, (2, 1)).inheritance
    assert asked(inheritance.member_of("tag-1", DEAD, patient=True)) is None
