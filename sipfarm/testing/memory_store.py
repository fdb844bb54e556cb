"""A store in memory for simulations: the pure functions of the real ones, and nothing durable."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from sipfarm.base.errors import CapacityError
from sipfarm.base.farm_view import Incarnation
from sipfarm.base.records import (
    Account,
    Application,
    Binding,
    Domain,
    MemberRecord,
    NumberTarget,
    RegisterOutcome,
    RegisterUpdate,
    Snapshot,
    TargetKind,
)
from sipfarm.cluster import registration, registry
from sipfarm.cluster.io import snapshot_cells
from sipfarm.cluster.io.cells import CellKey, Decide, Put

R = TypeVar("R")
LEASE_MS = 10_000


class MemoryStore:
    """Names, bindings and the registry of members; it can be away."""

    def __init__(self) -> None:
        self.is_away = False
        self._domains: dict[str, Domain] = {}
        self._accounts: dict[tuple[str, str], Account] = {}
        self._applications: dict[tuple[str, str], Application] = {}
        self._registrations: dict[str, bytes] = {}
        self._members: dict[int, MemberRecord] = {}
        self._snapshots: dict[CellKey, bytes] = {}

    def add(self, *records: Domain | Account | Application) -> None:
        for record in records:
            match record:
                case Domain():
                    self._domains[record.name] = record
                case Account():
                    self._accounts[record.domain, record.name] = record
                case Application():
                    self._applications[record.domain, record.name] = record

    def bind(self, *bindings: Binding) -> None:
        """Put bindings there as if they had been registered."""
        for binding in bindings:
            known = registration.decode(self._registrations.get(binding.aor))
            self._registrations[binding.aor] = registration.encode(
                msgspec.structs.replace(known, bindings=(*known.bindings, binding))
            )

    # Names and bindings.

    async def domain(self, name: str) -> Domain | None:
        self._check()
        return self._domains.get(name)

    async def account(self, domain: str, name: str) -> Account | None:
        self._check()
        return self._accounts.get((domain, name))

    async def application(self, domain: str, name: str) -> Application | None:
        self._check()
        return self._applications.get((domain, name))

    async def number(self, domain: str, number: str) -> NumberTarget | None:
        self._check()
        for account in self._accounts.values():
            if account.domain == domain and number in (*account.numbers, *account.aliases):
                return NumberTarget(TargetKind.ACCOUNT, account.name)
        return None

    async def bindings(self, aor: str, wall_ms: int) -> tuple[Binding, ...]:
        self._check()
        known = registration.decode(self._registrations.get(aor))
        return registration.live_bindings(known, wall_ms)

    async def register(self, update: RegisterUpdate, wall_ms: int) -> RegisterOutcome:
        self._check()
        done = registration.register(self._registrations.get(update.aor), update, wall_ms)
        if done.value is not None:
            self._registrations[update.aor] = done.value
        return done.outcome

    # Snapshots.

    async def snapshots_keep(self, snapshots: Sequence[Snapshot], wall_ms: int) -> frozenset[str]:
        keys = [snapshot_cells.key_of(snapshot) for snapshot in snapshots]
        return self._transact(keys, snapshot_cells.keep(snapshots, wall_ms))

    async def snapshots_take(
        self, owner: str, keys: Sequence[str], before: str, after: str, wall_ms: int
    ) -> frozenset[str]:
        cells = [CellKey(snapshot_cells.SNAPSHOT, owner, key) for key in keys]
        return self._transact(cells, snapshot_cells.take(before, after, wall_ms))

    async def snapshot(self, owner: str, key: str, wall_ms: int) -> Snapshot | None:
        found = await self.snapshots(owner, wall_ms)
        return next((snapshot for snapshot in found if snapshot.key == key), None)

    async def snapshots(self, owner: str, wall_ms: int) -> tuple[Snapshot, ...]:
        self._check()
        return tuple([s for s in self.all_snapshots(wall_ms) if s.owner == owner])

    def all_snapshots(self, wall_ms: int) -> list[Snapshot]:
        """The truth, whoever may ask for it."""
        found = [snapshot_cells.living(value, wall_ms) for value in self._snapshots.values()]
        return [snapshot for snapshot in found if snapshot is not None]

    def _transact(self, keys: Sequence[CellKey], decide: Decide[R]) -> R:
        self._check()
        writes, result = decide([self._snapshots.get(key) for key in keys])
        for key, write in zip(keys, writes, strict=True):
            if isinstance(write, Put):
                self._snapshots[key] = write.value
            elif write is not None:
                del self._snapshots[key]
        return result

    # Members.

    def join(self, name: str, wall_ms: int) -> MemberRecord:
        """A new incarnation of a member. Raises CapacityError when the store is away."""
        self._check()
        number = registry.number_for(name, self._members, wall_ms)
        assert number is not None
        joining = registry.Joining(name, f"{name}:7061", f"{name}:8061", 1, LEASE_MS)
        record = registry.join(joining, number, self._members.get(number), wall_ms)
        assert record is not None
        self._members[number] = record
        return record

    def renew(self, incarnation: Incarnation, wall_ms: int) -> bool:
        """Whether the incarnation still lives; its lease is prolonged then."""
        self._check()
        return self._put(
            registry.renew(self._members.get(incarnation[0]), incarnation[1], LEASE_MS, wall_ms)
        )

    def tombstone(self, incarnation: Incarnation, lease_until_wall_ms: int) -> bool:
        """Whether it is done: not if the lease is newer than that."""
        self._check()
        number, epoch = incarnation
        return self._put(registry.tombstone(self._members.get(number), epoch, lease_until_wall_ms))

    def leave(self, incarnation: Incarnation, wall_ms: int) -> bool:
        self._check()
        return self._put(registry.leave(self._members.get(incarnation[0]), incarnation[1], wall_ms))

    def members(self) -> tuple[MemberRecord, ...]:
        self._check()
        return tuple(self._members.values())

    def lives(self, incarnation: Incarnation) -> bool:
        """The truth, whether or not anybody can ask for it now."""
        return registry.renew(self._members.get(incarnation[0]), incarnation[1], 0, 0) is not None

    def _put(self, record: MemberRecord | None) -> bool:
        if record is None:
            return False
        self._members[record.number] = record
        return True

    def _check(self) -> None:
        if self.is_away:
            raise CapacityError("the store is away")
