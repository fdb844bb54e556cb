"""The registry of members and their snapshots in the store: the same on each database."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from sipfarm.base.io.entropy import SystemEntropy
from sipfarm.base.records import MemberRecord, MemberState, Snapshot
from sipfarm.base.roles import ROLES
from sipfarm.cluster.io.directory_key import directory_key
from sipfarm.cluster.io.store import LastWithRole, Store

UseStore = Callable[..., Any]
NOW = 1_800_000_000_000


async def join(store: Store, name: str, wall_ms: int = NOW) -> MemberRecord:
    return await store.join(
        name, bus="127.0.0.1:1", admin="127.0.0.1:2", pid=3, lease_ms=2_000, wall_ms=wall_ms
    )


def test_members_get_numbers_of_their_own_and_keep_them(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        one, two = await join(store, "m1"), await join(store, "m2")
        assert (one.number, two.number) == (1, 2)
        again = await join(store, "m1")
        assert (again.number, again.epoch) == (1, one.epoch + 1)
        assert await store.members() == (again, two)

    use_store(body)


def test_members_that_join_at_once_get_different_numbers(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        joined = await asyncio.gather(*(join(store, f"m{n}") for n in range(8)))
        assert {record.number for record in joined} == set(range(1, 9))

    use_store(body)


def test_one_name_joining_twice_at_once_has_one_number_and_two_epochs(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        joined = await asyncio.gather(*(join(store, "m1") for _ in range(4)))
        assert {record.number for record in joined} == {1}
        assert len({record.epoch for record in joined}) == 4
        assert len(await store.members()) == 1

    use_store(body)


def test_a_lease_is_renewed_by_the_living_incarnation_alone(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        old = await join(store, "m1")
        assert await store.renew(old.number, old.epoch, 2_000, NOW + 1_000)
        (record,) = await store.members()
        assert record.lease_until_wall_ms == NOW + 3_000
        new = await join(store, "m1", NOW + 1_500)
        assert not await store.renew(old.number, old.epoch, 2_000, NOW + 1_600)
        assert not await store.tombstone(old.number, old.epoch, NOW + 60_000)
        assert not await store.leave(old.number, old.epoch, NOW + 1_600)
        assert await store.renew(new.number, new.epoch, 2_000, NOW + 1_600)
        assert not await store.renew(99, 1, 2_000, NOW)

    use_store(body)


def test_one_caller_tombstones_an_incarnation(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        dead = await join(store, "m1")
        verdicts = await asyncio.gather(
            *(store.tombstone(dead.number, dead.epoch, NOW + 60_000) for _ in range(10))
        )
        assert sorted(verdicts) == [False] * 9 + [True]
        assert not await store.renew(dead.number, dead.epoch, 2_000, NOW)
        (record,) = await store.members()
        assert record.state is MemberState.TOMBSTONED
        again = await join(store, "m1")
        assert (again.number, again.state) == (dead.number, MemberState.ALIVE)

    use_store(body)


def test_a_lease_that_was_prolonged_unseen_saves_the_member(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        joined = await join(store, "m1")
        known_ms = joined.lease_until_wall_ms
        assert await store.renew(joined.number, joined.epoch, 2_000, NOW + 60_000)
        assert not await store.tombstone(joined.number, joined.epoch, known_ms)
        (record,) = await store.members()
        assert (record.state, record.lease_until_wall_ms) == (MemberState.ALIVE, NOW + 62_000)
        assert await store.tombstone(joined.number, joined.epoch, record.lease_until_wall_ms)

    use_store(body)


def test_who_leaves_is_not_dead_but_gone(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        going = await join(store, "m1")
        assert await store.leave(going.number, going.epoch, NOW + 500)
        assert not await store.leave(going.number, going.epoch, NOW + 500)
        assert not await store.tombstone(going.number, going.epoch, NOW + 60_000)
        (record,) = await store.members()
        assert record.state is MemberState.LEFT
        assert record.lease_until_wall_ms == NOW + 500

    use_store(body)


def snapshot(
    key: str,
    value: bytes = b"1",
    owner: str = "1.5",
    expires: int = NOW + 60_000,
    holder: str = "1.5",
) -> Snapshot:
    return Snapshot(owner, key, value, expires, holder)


def test_snapshots_are_kept_by_owner_until_they_expire(use_store: UseStore) -> None:
    async def write(store: Store) -> None:
        first = (snapshot("b", b"\0\xff"), snapshot("a"), snapshot("old", b"", expires=NOW + 10))
        assert await store.snapshots_keep(first, NOW) == frozenset()
        await store.snapshots_keep((snapshot("a", b"2", owner="2.1"),), NOW)

    async def read(store: Store) -> None:
        assert await store.snapshots("1.5", NOW + 10) == (
            snapshot("a"),
            snapshot("b", b"\0\xff"),
        )
        assert await store.snapshots("3.1", NOW) == ()
        assert await store.snapshot("2.1", "a", NOW) == snapshot("a", b"2", owner="2.1")
        assert await store.snapshot("1.5", "old", NOW + 10) is None
        assert await store.snapshot("1.5", "c", NOW) is None

    use_store(write)
    use_store(read)


def test_a_snapshot_is_swapped_by_who_knows_what_is_there(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        assert await store.snapshot_swap(snapshot("a", b"1"), None, NOW)
        assert not await store.snapshot_swap(snapshot("a", b"2"), None, NOW)
        assert await store.snapshot_swap(snapshot("a", b"2"), b"1", NOW)
        assert await store.snapshot_swap(
            snapshot("a", b"3", expires=NOW + 90_000), None, NOW + 60_000
        )
        swaps = [store.snapshot_swap(snapshot("a", b"%d" % n), b"3", NOW) for n in range(5)]
        assert sorted(await asyncio.gather(*swaps)) == [False] * 4 + [True]

    use_store(body)


def test_a_snapshot_whose_time_is_up_is_removed(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        await store.snapshots_keep((snapshot("a"), snapshot("b")), NOW)
        await store.snapshots_keep((snapshot("a", b"", expires=0), snapshot("c")), NOW)
        assert await store.snapshots("1.5", NOW) == (snapshot("b"), snapshot("c"))

    use_store(body)


def test_one_heir_takes_a_snapshot_and_its_old_holder_changes_it_no_more(
    use_store: UseStore,
) -> None:
    async def body(store: Store) -> None:
        await store.snapshots_keep((snapshot("a"), snapshot("b")), NOW)
        heirs = [f"{number}.1" for number in range(2, 7)]
        taken = [store.snapshots_take("1.5", ("a", "c"), "1.5", heir, NOW) for heir in heirs]
        done = await asyncio.gather(*taken)
        assert sorted(done, key=len) == [frozenset()] * 4 + [{"a"}]
        heir = heirs[done.index(frozenset(("a",)))]
        late = (snapshot("a", b"late"), snapshot("b", b"2"))
        assert await store.snapshots_keep(late, NOW) == {"a"}
        assert await store.snapshots_keep((snapshot("a", b"", expires=0),), NOW) == {"a"}
        assert await store.snapshots("1.5", NOW) == (
            msgspec.structs.replace(snapshot("a", holder=heir), takes=1),
            snapshot("b", b"2"),
        )
        assert not await store.snapshots_keep((snapshot("a", b"3", holder=heir),), NOW)
        assert await store.snapshots_take("1.5", ("b", "a"), heir, "9.9", NOW) == {"a"}
        again = await store.snapshots_take("1.5", ("a",), "9.9", "8.8", NOW)
        last = await store.snapshot("1.5", "a", NOW)
        assert (again, last and (last.value, last.takes)) == ({"a"}, (b"3", 2))

    use_store(body)


def test_all_members_get_one_directory_key_and_it_stays(use_store: UseStore) -> None:
    async def first(store: Store) -> set[bytes]:
        asked = [directory_key(store, SystemEntropy(), NOW) for _ in range(5)]
        return set(await asyncio.gather(*asked))

    async def later(store: Store) -> bytes:
        await store.purge(NOW + 10**11, 100)
        return await directory_key(store, SystemEntropy(), NOW + 10**11)

    (key,) = use_store(first)
    assert len(key) == 16
    assert use_store(later) == key


def test_of_two_that_give_up_a_role_at_once_one_keeps_it(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        one, two = [
            await store.join(name, bus="", admin="", pid=1, lease_ms=1_000, wall_ms=NOW)
            for name in ("m1", "m2")
        ]
        results = await asyncio.gather(
            *(store.set_roles(m.number, m.epoch, ("edge",), NOW) for m in (one, two)),
            return_exceptions=True,
        )
        assert {type(result) for result in results} == {bool, LastWithRole}
        assert sorted(record.roles for record in await store.members()) == [("edge",), ROLES]

    use_store(body)


def test_roles_are_those_of_the_living_incarnation(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        what = {"bus": "", "admin": "", "pid": 1, "lease_ms": 1_000, "wall_ms": NOW}
        one = await store.join("m1", **what, roles=("edge",))
        assert one.roles == ("edge",)
        assert await store.set_roles(one.number, one.epoch, ROLES, NOW)
        assert not await store.set_roles(one.number, one.epoch + 1, ("edge",), NOW)
        (record,) = await store.members()
        assert record.roles == ROLES

    use_store(body)


def test_a_member_whose_lease_has_ended_holds_no_role_for_another(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        await store.join("m1", bus="", admin="", pid=1, lease_ms=1_000, wall_ms=NOW)
        later = NOW + 5_000
        two = await store.join("m2", bus="", admin="", pid=1, lease_ms=1_000, wall_ms=later)
        with pytest.raises(LastWithRole, match='m2 is the last member with the role "pbx"'):
            await store.set_roles(two.number, two.epoch, ("edge",), later)

    use_store(body)
