"""What dead members leave: who goes on with their calls, and where a request for one goes (ADR 17).

Each member looks at what a dead one held and takes what it is heir of; the store lets one take it.
Who takes from an estate first notes that it does, under its own name: its own heirs look there too.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
from structlog.typing import FilteringBoundLogger

from sipfarm.base.clock import Clock
from sipfarm.base.errors import CapacityError
from sipfarm.base.farm_view import Incarnation, View, heir
from sipfarm.base.limits import MEMBERS_MAX
from sipfarm.base.records import EPOCH_MAX, MemberRecord, MemberState, Snapshot
from sipfarm.native import siphash
from sipfarm.node.kept_calls import (
    KEPT_MS,
    CallKeeper,
    Inherited,
    incarnation_of,
    named,
    read_kept,
)

TAKEN_TOGETHER: Final = 64
SETTLED_WITHIN_MS: Final = 60_000
"""So long each member looks at an estate of which something is left: the view may change, or its
heir lack room.
"""
ESTATE: Final = "estate "
PATIENCE_ROUNDS: Final = 16  # that a request waits which is not sent again


class SnapshotStore(Protocol):
    """What of the store an inheritance goes through."""

    async def snapshots_keep(
        self, snapshots: Sequence[Snapshot], wall_ms: int
    ) -> frozenset[str]: ...
    async def snapshots_take(
        self, owner: str, keys: Sequence[str], before: str, after: str, wall_ms: int
    ) -> frozenset[str]: ...
    async def snapshot(self, owner: str, key: str, wall_ms: int) -> Snapshot | None: ...
    async def snapshots(self, owner: str, wall_ms: int) -> tuple[Snapshot, ...]: ...


class Heir(Protocol):
    """Who goes on with the calls."""

    def reserve_port(self) -> int | None: ...
    def release_port(self, port: int) -> None: ...
    def inherit(self, inherited: Inherited) -> None:
        """Go on with a call."""
        ...

    def remember_ended(self, tag: str) -> None:
        """An heir has ended that call: a BYE for it may still come."""
        ...


class InheritanceCounters(msgspec.Struct):
    """What was inherited, and what became of requests for calls of the dead."""

    calls: int = 0
    orphans_placed: int = 0
    orphans_without_call: int = 0
    orphans_dropped: int = 0


class InheritanceParts(msgspec.Struct, frozen=True, kw_only=True):
    """What an inheritance stands on; `key` is that of the directory, by which heirs are ranked."""

    store: SnapshotStore
    keeper: CallKeeper
    heir: Heir
    own: Incarnation
    key: bytes
    view: Callable[[], View]
    clock: Clock
    log: FilteringBoundLogger


class Inheritance:
    """Of one incarnation."""

    def __init__(self, parts: InheritanceParts) -> None:
        self.counters = InheritanceCounters()
        self._store = parts.store
        self._keeper = parts.keeper
        self._heir = parts.heir
        self._own = parts.own
        self._key = parts.key
        self._view = parts.view
        self._clock = parts.clock
        self._log = parts.log
        self._estates: dict[str, int] = {}  # of a dead incarnation, and until when it is looked at
        self._noted: set[str] = set()
        self._round = asyncio.Event()

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to look at."""
        return not self._estates

    def died(self, incarnation: Incarnation) -> None:
        """That incarnation is over, by the store's word."""
        if incarnation != self._own and len(self._estates) < MEMBERS_MAX:
            self._estates[named(incarnation)] = self._clock.now_ms() + SETTLED_WITHIN_MS

    def look_back(self, records: Sequence[MemberRecord]) -> None:
        """Members that died before this life began may have left something: so may the lives
        before those that are on.
        """
        for record in records:
            if record.state is MemberState.TOMBSTONED:
                self.died((record.number, record.epoch))
        for number, epoch in (self._own, *((record.number, record.epoch) for record in records)):
            self.died((number, epoch - 1 or EPOCH_MAX))

    async def settle(self) -> None:
        """Take what this member is heir of, once through all estates."""
        for dead in tuple(self._estates):
            try:
                left = await self._settle(dead)
            except CapacityError:  # nobody inherits while the store is away
                self._estates[dead] = self._clock.now_ms() + SETTLED_WITHIN_MS
                continue
            except Exception:  # what another release wrote: its calls are lost, this member is not
                self._log.exception("estate_unreadable", owner=dead)
                left = False
            if not left or self._clock.now_ms() >= self._estates[dead]:
                del self._estates[dead]
        self._round.set()
        self._round = asyncio.Event()

    async def member_of(self, tag: str, owner: Incarnation, *, patient: bool) -> int | None:
        """The number of the member that has the call of a dead one now; 0: there is no such call,
        None: nobody has it yet. `patient`: the request that asks is not sent again.
        """
        for _ in range(PATIENCE_ROUNDS if patient else 1):
            try:
                member = await self._look_up(tag.lower(), named(owner))
            except CapacityError:
                member = None
            if member is not None:
                self.counters.orphans_placed += bool(member)
                self.counters.orphans_without_call += not member
                return member
            if not patient or self.is_settled:
                break
            await self._round.wait()
        self.counters.orphans_dropped += 1
        return None

    async def _look_up(self, tag: str, owner: str) -> int | None:
        snapshot = await self._store.snapshot(owner, tag, self._clock.wall_ms())
        if snapshot is None:
            return 0
        number, epoch = incarnation_of(snapshot.holder)
        holder = self._view().member(number)
        there = holder is not None and holder.epoch == epoch and holder.is_live
        if not there and not snapshot.value:  # it ended at an heir that has died since
            self._heir.remember_ended(snapshot.key)
            return self._own[0]
        if snapshot.value and snapshot.holder == self._keeper.own:
            there = self._keeper.has((owner, tag))  # else the store's answer is still to come
        return number if there else None

    async def _settle(self, dead: str) -> bool:
        """Whether anything is left that others are to take, or that found no room here."""
        wall_ms = self._clock.wall_ms()
        found = await self._store.snapshots(dead, wall_ms)
        owners = [s.key.removeprefix(ESTATE) for s in found if s.key.startswith(ESTATE)]
        left = await self._settle_calls(dead, dead, found)
        for owner in owners:
            calls = await self._store.snapshots(owner, wall_ms)
            left = await self._settle_calls(owner, dead, calls) or left
        return left

    async def _settle_calls(self, owner: str, dead: str, found: Sequence[Snapshot]) -> bool:
        """Of the calls that one incarnation began, take from those that the dead one held."""
        held = [snapshot for snapshot in found if snapshot.value and self._is_left(snapshot, dead)]
        mine = [snapshot for snapshot in held if self._is_mine(snapshot)]
        left = len(mine) < len(held)
        for begin in range(0, len(mine), TAKEN_TOGETHER):
            left = not await self._take(owner, dead, mine[begin : begin + TAKEN_TOGETHER]) or left
        return left

    def _is_left(self, snapshot: Snapshot, dead: str) -> bool:
        """Nobody has taken it; or we have, and the store's answer got lost."""
        if snapshot.holder != self._keeper.own:
            return snapshot.holder == dead
        return not self._keeper.has((snapshot.owner, snapshot.key))

    def _is_mine(self, snapshot: Snapshot) -> bool:
        chosen = heir(siphash, self._key, self._view(), snapshot.key.encode())
        is_heir = chosen is not None and chosen.incarnation == self._own
        return is_heir or snapshot.holder == self._keeper.own

    async def _take(self, owner: str, dead: str, wanted: Sequence[Snapshot]) -> bool:
        """Whether there was room for all. What another has taken meanwhile is his."""
        room, is_full = self._make_room(dead, wanted)
        ours = {snapshot.key for snapshot in wanted if snapshot.holder == self._keeper.own}
        try:
            taken = ours | await self._claim(owner, dead, [tag for tag in room if tag not in ours])
        except CapacityError:
            for inherited in room.values():
                self._heir.release_port(inherited.port)
            raise
        for tag, inherited in room.items():
            if tag not in taken:
                self._heir.release_port(inherited.port)
                continue
            self._keeper.inherit((owner, tag))
            try:
                self._heir.inherit(inherited)
                self.counters.calls += 1
            except Exception:  # one call is lost, no other, and not this member
                self._log.exception("kept_call_unusable", owner=owner, tag=tag)
                self._keeper.end((owner, tag))
        return not is_full

    def _make_room(
        self, dead: str, wanted: Sequence[Snapshot]
    ) -> tuple[dict[str, Inherited], bool]:
        """The calls that we can go on with, each with a media port; whether ports lacked."""
        room: dict[str, Inherited] = {}
        number, _ = incarnation_of(dead)
        for snapshot in wanted:
            call = read_kept(snapshot.value, self._clock)
            if call is None:
                self._log.error("kept_call_unreadable", owner=snapshot.owner, tag=snapshot.key)
                continue
            port = self._heir.reserve_port()
            if port is None:
                return room, True
            takes = snapshot.takes + (snapshot.holder == dead)
            room[snapshot.key] = Inherited(call, snapshot.owner, number, port, takes)
        return room, False

    async def _claim(self, owner: str, dead: str, tags: Sequence[str]) -> frozenset[str]:
        """Which of the calls the store gives us."""
        if not tags:
            return frozenset()
        wall_ms, own = self._clock.wall_ms(), self._keeper.own
        if owner not in self._noted:
            note = Snapshot(own, f"{ESTATE}{owner}", b"", wall_ms + KEPT_MS, own)
            await self._store.snapshots_keep((note,), wall_ms)
            self._noted.add(owner)
        return await self._store.snapshots_take(owner, tags, dead, own, wall_ms)
