"""Member numbers and epochs: who may be which member, and since when (the fencing token of DESIGN
"Death").

Pure functions over the records of the registry; the store runs them inside an atomic update.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeGuard

import msgspec

from sipfarm.base.errors import SipfarmError
from sipfarm.base.records import EPOCH_MAX, MEMBER_NUMBER_MAX, MemberRecord, MemberState
from sipfarm.base.roles import ROLES

MARKS_LIVE_MS: Final = (
    24 * 3_600 * 1_000
)  # marks of a number may be met this long after its lease has ended


class Joining(msgspec.Struct, frozen=True):
    """What a member says of itself when it joins."""

    name: str
    bus: str
    admin: str
    pid: int
    lease_ms: int
    roles: tuple[str, ...] = ROLES


class LastWithRole(SipfarmError):
    """A role that nobody else in the farm has cannot be given up."""

    def __init__(self, name: str, role: str) -> None:
        super().__init__(f'{name} is the last member with the role "{role}"')


def number_for(name: str, members: Mapping[int, MemberRecord], wall_ms: int) -> int | None:
    """The number that `name` gets: its own if it has one, a new one, or one whose marks are dead;
    None: all taken.
    """
    for number, record in members.items():
        if record.name == name:
            return number
    if len(members) < MEMBER_NUMBER_MAX:
        return next(n for n in range(1, MEMBER_NUMBER_MAX + 1) if n not in members)
    oldest = min(members.values(), key=_lease_end)
    return oldest.number if _marks_are_dead(oldest, wall_ms) else None


def join(
    joining: Joining, number: int, previous: MemberRecord | None, wall_ms: int
) -> MemberRecord | None:
    """The record of a new incarnation under `number`; None if the number may not be had by this
    name.

    A living incarnation of the same name is superseded: it learns so from its next renewal.
    """
    if (
        previous is not None
        and previous.name != joining.name
        and not _marks_are_dead(previous, wall_ms)
    ):
        return None
    return MemberRecord(
        name=joining.name,
        number=number,
        epoch=_first_epoch(wall_ms) if previous is None else _next_epoch(previous.epoch),
        bus=joining.bus,
        admin=joining.admin,
        pid=joining.pid,
        state=MemberState.ALIVE,
        lease_until_wall_ms=wall_ms + joining.lease_ms,
        roles=joining.roles,
    )


def set_roles(
    records: Sequence[MemberRecord], token: tuple[int, int], roles: tuple[str, ...], wall_ms: int
) -> MemberRecord | None:
    """The record of an incarnation with other roles; None if it is not the living one.

    LastWithRole if it would give up one that no other member has whose lease holds.
    """
    number, epoch = token
    own = next((record for record in records if record.number == number), None)
    if not _is_living(own, epoch):
        return None
    others = [record for record in records if record is not own]
    kept = {role for other in others if _holds(other, wall_ms) for role in other.roles}
    for role in own.roles:
        if role not in roles and role not in kept:
            raise LastWithRole(own.name, role)
    return msgspec.structs.replace(own, roles=roles)


def renew(
    record: MemberRecord | None, epoch: int, lease_ms: int, wall_ms: int
) -> MemberRecord | None:
    """The record with a longer lease; None if that incarnation is no longer the living one."""
    if not _is_living(record, epoch):
        return None
    return msgspec.structs.replace(record, lease_until_wall_ms=wall_ms + lease_ms)


def tombstone(
    record: MemberRecord | None, epoch: int, lease_until_wall_ms: int
) -> MemberRecord | None:
    """The record of an incarnation declared dead; None if it is not the living one (so only one
    caller wins), or if its lease was prolonged beyond what the caller knew.
    """
    if not _is_living(record, epoch) or record.lease_until_wall_ms > lease_until_wall_ms:
        return None
    return msgspec.structs.replace(record, state=MemberState.TOMBSTONED)


def leave(record: MemberRecord | None, epoch: int, wall_ms: int) -> MemberRecord | None:
    """The record of an incarnation that went of itself; None if it is not the living one."""
    if not _is_living(record, epoch):
        return None
    return msgspec.structs.replace(record, state=MemberState.LEFT, lease_until_wall_ms=wall_ms)


def _is_living(record: MemberRecord | None, epoch: int) -> TypeGuard[MemberRecord]:
    return record is not None and record.epoch == epoch and record.state is MemberState.ALIVE


def _holds(record: MemberRecord, wall_ms: int) -> bool:
    return record.state is MemberState.ALIVE and record.lease_until_wall_ms > wall_ms


def _lease_end(record: MemberRecord) -> int:
    return record.lease_until_wall_ms


def _marks_are_dead(record: MemberRecord, wall_ms: int) -> bool:
    return record.lease_until_wall_ms + MARKS_LIVE_MS < wall_ms


def _first_epoch(wall_ms: int) -> int:
    """An epoch that a lost and newly made store is unlikely to have given before: the minute,
    modulo four years.
    """
    return 1 + (wall_ms // 60_000) % EPOCH_MAX


def _next_epoch(epoch: int) -> int:
    return epoch % EPOCH_MAX + 1
