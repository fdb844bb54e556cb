"""A member's place in the farm, for real: joining, dying, being stopped, losing the store."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sipfarm.base.farm_view import Load, ViewState
from sipfarm.base.records import Domain
from sipfarm.cluster.handshake import RefusedFor
from sipfarm.cluster.io.calls import CallRefused
from sipfarm.cluster.io.farm_parts import Superseded
from sipfarm.cluster.io.store import LastWithRole
from sipfarm.cluster.membership_outputs import GoneFor
from sipfarm.cluster.wire import OwnState
from tests.cluster.bus_parties import LOOPBACK, Happenings
from tests.cluster.farm_member import FarmMember, farm_of

pytestmark = pytest.mark.slow

Members = list[FarmMember]
ANY_LEASE = 2**62
Body = Callable[[Happenings, Members], Coroutine[Any, Any, None]]
Play = Callable[..., None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run a scenario with members of these names."""

    def run(body: Body, *names: str) -> None:
        async def with_farm() -> None:
            url = f"sqlite:{tmp_path / 'farm.db'}"
            async with farm_of(url, *(names or ("m1", "m2", "m3"))) as (happenings, members):
                await body(happenings, members)

        asyncio.run(with_farm())

    return run


def test_members_find_each_other_by_the_registry_alone(play: Play) -> None:
    async def body(happenings: Happenings, members: Members) -> None:
        one, two, three = members
        assert len({member.farm.view().digest() for member in members}) == 1
        assert one.farm.bus.send_packets(two.number, b"INVITE")
        three.farm.bus.send_packets(two.number, b"BYE")
        await happenings.until(lambda: len(two.packets) == 2)
        assert await one.farm.bus.call(three.number, "claim", b"x", 5.0) == b"done"

    play(body)


def test_the_dead_are_seen_by_all_and_only_once(play: Play) -> None:
    async def body(happenings: Happenings, members: Members) -> None:
        one, two, three = members
        dead = two.farm.record
        two.farm.close()
        await happenings.until(lambda: one.gone and three.gone)
        for member in (one, three):
            assert [(g.number, g.epoch, g.why) for g in member.gone] == [
                (dead.number, dead.epoch, GoneFor.TOMBSTONED)
            ]
            assert member.states()[1] is ViewState.DEAD
        assert one.farm.counters.tombstones + three.farm.counters.tombstones == 1

    play(body)


def test_a_member_that_leaves_is_gone_at_once_and_was_never_suspected(play: Play) -> None:
    async def body(happenings: Happenings, members: Members) -> None:
        one, two, three = members
        await two.farm.leave()
        await happenings.until(lambda: one.gone and three.gone)
        for member in (one, three):
            assert member.gone[0].why is GoneFor.LEFT
            assert member.sees_ready(one, three)

    play(body)


def test_draining_is_told_at_once_and_new_work_goes_elsewhere(play: Play) -> None:
    async def body(happenings: Happenings, members: Members) -> None:
        one, two, _ = members
        two.farm.set_state(OwnState.DRAINING)
        await happenings.until(lambda: one.states()[1] is ViewState.DRAINING)
        assert two.farm.place() != two.number
        assert one.farm.place() == one.number
        one.load = Load(cpu_permille=1_000)
        await happenings.until(lambda: one.farm.place() != one.number)
        assert one.farm.place() == 3

    play(body)


def test_new_work_goes_to_those_with_the_role_and_one_of_them_stays(play: Play) -> None:
    async def body(happenings: Happenings, members: Members) -> None:
        one, two, three = members
        await one.farm.set_roles(("edge",))
        await two.farm.set_roles(("edge",))
        await happenings.until(
            lambda: all([m.number for m in each.farm.view().ready()] == [3] for each in members)
        )
        assert {member.farm.place() for member in members} == {three.number}
        with pytest.raises(LastWithRole):
            await three.farm.set_roles(("edge",))
        await one.farm.set_roles(("pbx", "media"))
        await happenings.until(lambda: len(three.farm.view().ready()) == 2)
        assert one.farm.place() == one.number

    play(body)


def test_each_member_learns_of_changed_names_and_each_shows_that_all_did(play: Play) -> None:
    async def body(happenings: Happenings, members: Members) -> None:
        one, *_ = members
        await one.store.put_domain(Domain("example.test"))
        await happenings.until(
            lambda: all(member.revisions() == [1] * len(members) for member in members)
        )
        for member in members:
            assert member.said.count(("names", 1)) == 1

    play(body)


def test_a_member_that_was_stopped_asks_the_store_before_it_acts(play: Play) -> None:
    """It lives: nobody declared it dead, and packets that waited are dropped in the meantime."""

    async def body(happenings: Happenings, members: Members) -> None:
        one, two, _ = members
        two.door.open.clear()
        two.clock.ahead_ms += 60_000
        assert not two.farm.may_act()
        one.farm.bus.send_packets(two.number, b"INVITE")
        with pytest.raises(CallRefused):
            await one.farm.bus.call(two.number, "claim", b"", 5.0)
        await happenings.until(lambda: two.farm.counters.packets_in_doubt)
        assert two.packets == []
        two.door.open.set()
        await happenings.until(two.farm.may_act)
        one.farm.bus.send_packets(two.number, b"BYE")
        await happenings.until(lambda: two.packets == [(one.number, b"BYE")])
        assert two.story == []

    play(body)


def test_an_answer_asked_for_before_the_stop_proves_nothing(play: Play) -> None:
    """The renewal is answered, the process stopped and tombstoned, and then the answer read."""

    async def body(happenings: Happenings, members: Members) -> None:
        one, two, _ = members
        epoch = two.farm.record.epoch
        two.door.open.clear()
        await happenings.until(lambda: two.door.waiting)
        assert await one.door.tombstone(two.number, epoch, ANY_LEASE)
        two.clock.ahead_ms += 60_000
        two.door.open.set()
        acted: list[bool] = []
        await happenings.until(lambda: acted.append(two.farm.may_act()) or two.story)
        assert not any(acted[:-1])
        await happenings.until(lambda: two.story == ["dropped everything", f"rejoined {epoch + 1}"])
        await happenings.until(lambda: all(member.sees_ready(*members) for member in members))

    play(body)


def test_a_tombstoned_member_drops_everything_and_comes_back_as_another(play: Play) -> None:
    async def body(happenings: Happenings, members: Members) -> None:
        one, two, three = members
        epoch = two.farm.record.epoch
        assert await one.door.tombstone(two.number, epoch, ANY_LEASE)
        await happenings.until(lambda: len(two.story) == 2)
        assert two.story == ["dropped everything", f"rejoined {epoch + 1}"]
        await happenings.until(lambda: all(member.sees_ready(*members) for member in members))
        for member in (one, three):
            assert [(g.number, g.epoch) for g in member.gone] == [(two.number, epoch)]
        assert await one.farm.bus.call(two.number, "claim", b"", 5.0) == b"done"

    play(body)


def test_with_the_store_away_nobody_is_tombstoned(play: Play) -> None:
    async def body(happenings: Happenings, members: Members) -> None:
        one, two, three = members
        for member in members:
            member.door.away = True
        await happenings.until(
            lambda: all(member.farm.counters.store_failures for member in members)
        )
        two.farm.close()
        await happenings.until(lambda: one.states()[1] is ViewState.SUSPECTED)
        assert one.farm.may_act()
        assert one.farm.bus.send_packets(three.number, b"goes on")
        failures = one.farm.counters.store_failures
        await happenings.until(lambda: one.farm.counters.store_failures > failures + 8)
        assert one.gone == three.gone == []
        for member in members:
            member.door.away = False
        await happenings.until(lambda: one.gone and three.gone)

    play(body)


def test_a_member_cut_off_from_store_and_others_does_nothing_until_it_hears_one(play: Play) -> None:
    async def body(happenings: Happenings, members: Members) -> None:
        one, two, _ = members
        two.door.away = True
        two.farm.bus.hang_up_all()
        assert two.farm.may_act(), "they cannot have declared it dead yet"
        acted: list[bool] = []
        await happenings.until(lambda: acted.append(two.farm.may_act()) or one.gone)
        assert not two.farm.may_act()
        assert acted.index(False) < len(acted) - 1
        two.door.away = False
        await happenings.until(lambda: two.story[1:])
        await happenings.until(two.farm.may_act)

    play(body)


def test_a_lone_member_goes_on_without_the_store(play: Play) -> None:
    async def body(happenings: Happenings, members: Members) -> None:
        (one,) = members
        one.door.away = True
        acted: list[bool] = []
        await happenings.until(
            lambda: acted.append(one.farm.may_act()) or one.farm.counters.store_failures > 8
        )
        assert all(acted)

    play(body, "m1")


def test_the_first_view_is_the_registrys_and_the_links_are_waited_for(tmp_path: Path) -> None:
    async def body() -> None:
        async with farm_of(f"sqlite:{tmp_path / 'farm.db'}", "m1") as (happenings, (one,)):
            late = await FarmMember(happenings, one.group, one.store, "m2").begin()
            assert all(view.member(one.number) for view in late.views)
            assert await late.farm.meet()
            assert one.number in late.farm.bus.linked
            wall_ms = one.clock.wall_ms()
            await one.door.join("m3", bus="nowhere", admin="", pid=3, lease_ms=9, wall_ms=wall_ms)
            await happenings.until(lambda: late.farm.view().member(3))
            one.door.away = late.door.away = True  # so that nobody declares it dead
            assert not await late.farm.meet(), "it is waited for a short time only"
            late.farm.close()

    asyncio.run(body())


def test_two_processes_of_one_name_do_not_fight(play: Play, tmp_path: Path) -> None:
    async def body(happenings: Happenings, members: Members) -> None:
        (one,) = members
        await one.door.join("m1", bus="127.0.0.1:1", admin="", pid=2, lease_ms=9, wall_ms=1)
        await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as group:
        play(body, "m1")
    assert group.value.subgroup(Superseded) is not None


def test_a_member_without_an_address_harms_nobody(play: Play) -> None:
    async def body(happenings: Happenings, members: Members) -> None:
        one, two, *_ = members
        wall_ms = one.clock.wall_ms()
        await one.door.join("odd", bus="nowhere", admin="", pid=2, lease_ms=9, wall_ms=wall_ms)
        await happenings.until(lambda: one.gone and two.gone)
        assert one.gone[0].name == "odd"
        assert one.sees_ready(*members)

    play(body)


@asynccontextmanager
async def nothing_left(members: Members) -> AsyncIterator[None]:
    yield
    for member in members:
        assert not member.farm.bus.linked
        assert not member.farm.bus._open
        assert not member.farm.bus._targets
        assert len(member.farm.bus.calls) == 0


def test_when_it_ends_no_link_and_no_task_is_left(tmp_path: Path) -> None:
    async def body() -> None:
        url = f"sqlite:{tmp_path / 'farm.db'}"
        async with farm_of(url, "m1", "m2") as (_, members):
            kept = list(members)
        async with nothing_left(kept):
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            assert not tasks

    asyncio.run(body())


def test_nobody_is_let_in_before_the_start(tmp_path: Path) -> None:
    """A node is still being built when it has joined: none of its handlers may be called."""

    async def body() -> None:
        async with farm_of(f"sqlite:{tmp_path / 'farm.db'}", "m1") as (happenings, (one,)):
            late = FarmMember(happenings, one.group, one.store, "m2")
            await late.farm.join(LOOPBACK)
            await happenings.until(lambda: one.farm.bus.refusals.counts[RefusedFor.NOT_READY])
            assert late.views == []
            assert late.said == []
            await late.farm.start()
            await happenings.until(lambda: one.sees_ready(one, late))
            late.farm.close()

    asyncio.run(body())
