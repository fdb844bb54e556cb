"""Numbers and epochs of members."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.base.records import (
    EPOCH_MAX,
    MEMBER_NUMBER_MAX,
    MemberRecord,
    MemberState,
    epoch_is_newer,
)
from sipfarm.cluster.registry import MARKS_LIVE_MS, Joining, join, number_for, tombstone

NOW = 1_800_000_000_000


def joining(name: str) -> Joining:
    return Joining(name, "127.0.0.1:7061", "127.0.0.1:8061", 4242, 3_000)


def member(name: str, number: int, epoch: int = 1, lease_until: int = NOW) -> MemberRecord:
    return MemberRecord(name, number, epoch, "", "", 1, MemberState.ALIVE, lease_until)


def test_a_known_name_keeps_its_number() -> None:
    assert number_for("b", {1: member("a", 1), 7: member("b", 7)}, NOW) == 7


def test_a_new_name_gets_the_lowest_number_that_was_never_given() -> None:
    assert number_for("x", {}, NOW) == 1
    assert number_for("x", {1: member("a", 1), 3: member("c", 3)}, NOW) == 2


def test_a_number_is_given_to_another_name_only_once_its_marks_are_dead() -> None:
    full = {n: member(f"m{n}", n, lease_until=NOW + n) for n in range(1, MEMBER_NUMBER_MAX + 1)}
    assert number_for("x", full, NOW + 1 + MARKS_LIVE_MS) is None
    assert number_for("x", full, NOW + 2 + MARKS_LIVE_MS) == 1
    assert join(joining("x"), 1, full[1], NOW + 1 + MARKS_LIVE_MS) is None
    taken = join(joining("x"), 1, full[1], NOW + 2 + MARKS_LIVE_MS)
    assert taken is not None
    assert (taken.name, taken.epoch) == ("x", 2)


def test_a_restart_gets_the_next_epoch_at_once() -> None:
    again = join(joining("a"), 1, member("a", 1, epoch=41, lease_until=NOW + 9_000), NOW)
    assert again is not None
    assert (again.epoch, again.lease_until_wall_ms) == (42, NOW + 3_000)


def test_the_first_epoch_of_a_new_store_is_not_one_that_a_lost_store_gave_lately() -> None:
    first = join(joining("a"), 1, None, NOW)
    later = join(joining("a"), 1, None, NOW + 3_600_000)
    assert first is not None
    assert later is not None
    assert epoch_is_newer(later.epoch, first.epoch)


def test_epochs_wrap_and_stay_ordered() -> None:
    last = member("a", 1, epoch=EPOCH_MAX)
    after = join(joining("a"), 1, last, NOW)
    assert after is not None
    assert after.epoch == 1
    assert epoch_is_newer(after.epoch, last.epoch)
    assert not epoch_is_newer(last.epoch, after.epoch)


def test_a_tombstone_needs_the_living_incarnation_and_its_latest_lease() -> None:
    living = member("a", 1, epoch=4)
    assert tombstone(None, 4, NOW) is None
    assert tombstone(living, 3, NOW) is None
    assert tombstone(living, 4, NOW - 1) is None
    dead = tombstone(living, 4, NOW)
    assert dead == msgspec.structs.replace(living, state=MemberState.TOMBSTONED)
    assert tombstone(dead, 4, NOW) is None


@given(st.integers(1, EPOCH_MAX), st.integers(1, EPOCH_MAX // 2))
def test_an_epoch_is_newer_than_each_of_the_last_million(epoch: int, steps: int) -> None:
    later = (epoch - 1 + steps) % EPOCH_MAX + 1
    assert epoch_is_newer(later, epoch)
    assert not epoch_is_newer(epoch, later)
    assert not epoch_is_newer(epoch, epoch)


def test_a_record_of_an_older_release_is_read_with_defaults() -> None:
    class Older(msgspec.Struct, frozen=True, array_like=True):
        aor: str
        contact: str

    class Newer(msgspec.Struct, frozen=True, array_like=True):
        aor: str
        contact: str
        added: int = 7

    old, new = msgspec.msgpack.encode(Older("a", "c")), msgspec.msgpack.encode(Newer("a", "c", 8))
    assert msgspec.msgpack.decode(old, type=Newer) == Newer("a", "c", 7)
    assert msgspec.msgpack.decode(new, type=Older) == Older("a", "c")
