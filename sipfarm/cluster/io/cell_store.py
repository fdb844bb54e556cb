"""The store over cells: each noun's cells, and the pure function that decides each change."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from sipfarm.base.records import (
    Account,
    Application,
    Binding,
    Domain,
    DomainChange,
    MemberRecord,
    NumberTarget,
    RegisterOutcome,
    RegisterUpdate,
    Snapshot,
    TargetKind,
)
from sipfarm.base.roles import ROLES
from sipfarm.cluster import domain_contents, registration, registry
from sipfarm.cluster.domain_contents import Delta, Known, NameKey
from sipfarm.cluster.io import domain_cells, snapshot_cells
from sipfarm.cluster.io.cells import (
    CellKey,
    Cells,
    Put,
    StoreError,
    Values,
    Verdict,
)
from sipfarm.cluster.io.snapshot_cells import SNAPSHOT
from sipfarm.native import BindingWriter

REGISTRATION: Final = "registration"  # scope: the AOR
DOMAIN_NAME: Final = "domain_name"  # scope: FARM, name: the domain; it stays when that goes
NAMES_REVISION: Final = "names_revision"  # scope: FARM
MEMBER: Final = "member"  # scope: FARM, name: the member's number
JOINS: Final = "joins"  # scope: FARM: how often a member joined; orders joins among each other
FARM: Final = "farm"

NAMES_REVISION_KEY: Final = CellKey(NAMES_REVISION, FARM, "")
REMOVED_TOGETHER: Final = 256  # names of a domain that goes
ATTEMPTS_MAX: Final = 16  # of a change that must look before it knows what to read

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_member: Final = msgspec.msgpack.Decoder(MemberRecord).decode
_decode_int: Final = msgspec.msgpack.Decoder(int).decode


Register: TypeAlias = Callable[[RegisterUpdate, int], Awaitable[RegisterOutcome]]


class LateRegisters:
    """Tells of addresses-of-record whose update was done after it had been given up."""

    def __init__(self) -> None:
        self._told: Callable[[str], None] | None = None

    def __call__(self, aor: str) -> None:
        if self._told is not None:
            self._told(aor)

    def tell(self, told: Callable[[str], None]) -> None:
        """Whom to tell from now on."""
        self._told = told


class CellStore:
    """Implements Store over any Cells. Bindings are cells too; `register` says who changes them,
    and tells `late` of what it has given up. `binding_writer` is there where that is a native
    thread.
    """

    def __init__(
        self,
        cells: Cells,
        register: Register,
        late: LateRegisters,
        binding_writer: BindingWriter | None = None,
    ) -> None:
        self._cells = cells
        self._register = register
        self.tell_late = late.tell
        self.binding_writer: Final = binding_writer

    # --- bindings

    def register(self, update: RegisterUpdate, wall_ms: int) -> Awaitable[RegisterOutcome]:
        return self._register(update, wall_ms)

    async def bindings(self, aor: str, wall_ms: int) -> tuple[Binding, ...]:
        (value,) = await self._cells.read((CellKey(REGISTRATION, aor, ""),))
        return registration.live_bindings(registration.decode(value), wall_ms)

    # --- names

    async def domain(self, name: str) -> Domain | None:
        (value,) = await self._cells.read((CellKey(domain_cells.DOMAIN, name, ""),))
        return None if value is None else domain_cells.decode_domain(value)

    async def domains(self) -> tuple[Domain, ...]:
        names = sorted(await self._cells.scan(DOMAIN_NAME, FARM))
        values = await self._cells.read([CellKey(domain_cells.DOMAIN, name, "") for name in names])
        return tuple(domain_cells.decode_domain(value) for value in values if value is not None)

    async def revision(self, domain: str) -> int:
        (value,) = await self._cells.read((CellKey(domain_cells.REVISION, domain, ""),))
        return _int(value)

    async def account(self, domain: str, name: str) -> Account | None:
        (value,) = await self._cells.read((CellKey(TargetKind.ACCOUNT, domain, name),))
        return None if value is None else domain_cells.decode_account(value)

    async def accounts(self, domain: str) -> tuple[Account, ...]:
        values = await self._cells.scan(TargetKind.ACCOUNT, domain)
        return tuple(domain_cells.decode_account(values[name]) for name in sorted(values))

    async def account_page(
        self, domain: str, cursor: str, count: int
    ) -> tuple[tuple[Account, ...], str]:
        page = await self._cells.page(TargetKind.ACCOUNT, domain, cursor, count)
        names = sorted(page.cells)
        return tuple(domain_cells.decode_account(page.cells[name]) for name in names), page.cursor

    async def account_count(self, domain: str) -> int:
        return await self._cells.count(TargetKind.ACCOUNT, domain)

    async def application(self, domain: str, name: str) -> Application | None:
        (value,) = await self._cells.read((CellKey(TargetKind.APPLICATION, domain, name),))
        return None if value is None else domain_cells.decode_application(value)

    async def applications(self, domain: str) -> tuple[Application, ...]:
        values = await self._cells.scan(TargetKind.APPLICATION, domain)
        return tuple(domain_cells.decode_application(values[name]) for name in sorted(values))

    async def number(self, domain: str, number: str) -> NumberTarget | None:
        (value,) = await self._cells.read((CellKey(domain_cells.NUMBER, domain, number),))
        return None if value is None else domain_cells.decode_target(value)

    async def names_revision(self) -> int:
        (value,) = await self._cells.read((NAMES_REVISION_KEY,))
        return _int(value)

    async def put_domain(
        self,
        domain: Domain,
        accounts: Sequence[Account] = (),
        applications: Sequence[Application] = (),
    ) -> DomainChange:
        wanted = (*accounts, *applications)
        return await self._change_domain(
            domain.name, wanted, lambda known: domain_contents.put(known, domain, wanted)
        )

    async def add_domain(self, domain: Domain) -> DomainChange:
        return await self._change_domain(
            domain.name, (), lambda known: domain_contents.add(known, domain)
        )

    async def put_names(
        self, domain: str, names: Sequence[Account | Application], *, new: bool = False
    ) -> DomainChange:
        return await self._change_names(
            domain,
            domain_contents.names_to_look_at(names),
            _numbers_of(names),
            lambda known: domain_contents.put_names(known, domain, names, new=new),
        )

    async def remove_names(
        self, domain: str, accounts: Sequence[str] = (), applications: Sequence[str] = ()
    ) -> DomainChange:
        gone = {(TargetKind.ACCOUNT, name) for name in accounts}
        gone |= {(TargetKind.APPLICATION, name) for name in applications}
        return await self._change_names(
            domain, gone, set(), lambda known: domain_contents.remove(known, domain, sorted(gone))
        )

    async def remove_domain(self, name: str) -> DomainChange:
        """Nobody can add a name from the first step on, so what the others find is all there is."""
        change = await self._change_names(
            name, set(), set(), lambda known: domain_contents.remove_domain(known, name)
        )
        for kind in TargetKind:
            while there := (await self._cells.page(kind, name, "", REMOVED_TOGETHER)).cells:
                names = {TargetKind.ACCOUNT: (), TargetKind.APPLICATION: ()} | {kind: tuple(there)}
                swept = await self.remove_names(name, *names.values())
                change = DomainChange(
                    name, swept.revision, removed=(*change.removed, *swept.removed)
                )
        return change

    async def _change_domain(
        self,
        domain: str,
        wanted: Sequence[Account | Application],
        change: Callable[[Known], Delta],
    ) -> DomainChange:
        """Change a domain that may be new. The list of domains first: a name in it without a domain
        is passed over, a domain missing in it would be lost.
        """
        await self._put_if_absent(CellKey(DOMAIN_NAME, FARM, domain))
        return await self._change_names(
            domain, domain_contents.names_to_look_at(wanted), _numbers_of(wanted), change
        )

    async def _put_if_absent(self, key: CellKey) -> None:
        await self._cells.transact(
            (key,), lambda values: ((Put(b"") if values[0] is None else None,), None)
        )

    async def _change_names(
        self, domain: str, names: set[NameKey], numbers: set[str], change: Callable[[Known], Delta]
    ) -> DomainChange:
        """Look which numbers the names have now, then change all at once, the revision of the
        farm's names too; again if they changed in between.
        """
        name_keys = [CellKey(kind, domain, name) for kind, name in sorted(names)]
        joined = (NAMES_REVISION_KEY,) if self._cells.joins_scopes else ()
        for _ in range(ATTEMPTS_MAX):
            there = await self._cells.read(name_keys)
            keys = domain_cells.keys_of(
                domain, name_keys, numbers | domain_cells.numbers_in(name_keys, there)
            )

            def decide(
                values: Values, keys: Sequence[CellKey] = keys, there: Values = there
            ) -> Verdict[DomainChange | None]:
                if list(values[2 : 2 + len(there)]) != list(there):
                    return (None,) * len(values), None
                delta = change(domain_cells.known_of(keys, values[: len(keys)]))
                writes = [domain_cells.write_of(key, delta) for key in keys]
                for revision in values[len(keys) :]:
                    raised = Put(_encode(_int(revision) + 1))
                    writes.append(None if delta.unchanged() else raised)
                return writes, delta.change

            done = await self._cells.transact((*keys, *joined), decide)
            if done is not None:
                if not joined:
                    await self._announce(done)
                return done
        raise StoreError(f"domain {domain}: changed by others all the time")

    async def _announce(self, change: DomainChange) -> None:
        """Raise the farm's revision after the change, where they cannot be written together: the
        list of domains knows up to which revision of each that was done. A repeat makes up for one
        that did not come to it.
        """

        def decide(values: Values) -> Verdict[None]:
            announced = _int(values[0] or None)
            if announced >= change.revision:
                return (None, None), None
            return (Put(_encode(change.revision)), Put(_encode(_int(values[1]) + 1))), None

        key = CellKey(DOMAIN_NAME, FARM, change.domain)
        await self._cells.transact((key, NAMES_REVISION_KEY), decide)

    # --- members

    async def join(
        self,
        name: str,
        *,
        bus: str,
        admin: str,
        pid: int,
        lease_ms: int,
        wall_ms: int,
        roles: tuple[str, ...] = ROLES,
    ) -> MemberRecord:
        joining = registry.Joining(name, bus, admin, pid, lease_ms, roles)
        joins_key = CellKey(JOINS, FARM, "")
        for _ in range(ATTEMPTS_MAX):
            (joins,) = await self._cells.read((joins_key,))
            members = {record.number: record for record in await self.members()}
            number = registry.number_for(name, members, wall_ms)
            if number is None:
                raise StoreError(
                    "no member number is free: the marks of all of them may still be met"
                )

            def decide(
                values: Values, number: int = number, joins: bytes | None = joins
            ) -> Verdict[MemberRecord | None]:
                record = registry.join(joining, number, _member(values[1]), wall_ms)
                if values[0] != joins or record is None:
                    return (None, None), None  # another joined in between: look again
                return (Put(_encode(_int(joins) + 1)), Put(_encode(record))), record

            joined = await self._cells.transact((joins_key, _member_key(number)), decide)
            if joined is not None:
                return joined
        raise StoreError(f"member {name}: others join all the time")

    async def renew(self, number: int, epoch: int, lease_ms: int, wall_ms: int) -> bool:
        return await self._change_member(
            number, lambda record: registry.renew(record, epoch, lease_ms, wall_ms)
        )

    async def tombstone(self, number: int, epoch: int, lease_until_wall_ms: int) -> bool:
        return await self._change_member(
            number, lambda record: registry.tombstone(record, epoch, lease_until_wall_ms)
        )

    async def set_roles(
        self, number: int, epoch: int, roles: tuple[str, ...], wall_ms: int
    ) -> bool:
        """Judged on the records of all members, which no other change may touch meanwhile."""
        keys = [CellKey(MEMBER, FARM, name) for name in await self._cells.scan(MEMBER, FARM)]

        def decide(values: Values) -> Verdict[bool]:
            records = [_decode_member(value) for value in values if value is not None]
            after = registry.set_roles(records, (number, epoch), roles, wall_ms)
            if after is None:
                return (None,) * len(keys), False
            own = _member_key(number)
            return [Put(_encode(after)) if key == own else None for key in keys], True

        return await self._cells.transact(keys, decide)

    async def leave(self, number: int, epoch: int, wall_ms: int) -> bool:
        return await self._change_member(
            number, lambda record: registry.leave(record, epoch, wall_ms)
        )

    async def members(self) -> tuple[MemberRecord, ...]:
        values = await self._cells.scan(MEMBER, FARM)
        return tuple(sorted((_decode_member(value) for value in values.values()), key=_number_of))

    async def _change_member(
        self, number: int, change: Callable[[MemberRecord | None], MemberRecord | None]
    ) -> bool:
        def decide(values: Values) -> Verdict[bool]:
            after = change(_member(values[0]))
            return (None if after is None else Put(_encode(after)),), after is not None

        return await self._cells.transact((_member_key(number),), decide)

    # --- snapshots

    async def snapshot_swap(self, snapshot: Snapshot, expected: bytes | None, wall_ms: int) -> bool:
        key = snapshot_cells.key_of(snapshot)
        return await self._cells.transact((key,), snapshot_cells.swap(snapshot, expected, wall_ms))

    async def snapshots_keep(self, snapshots: Sequence[Snapshot], wall_ms: int) -> frozenset[str]:
        keys = [snapshot_cells.key_of(snapshot) for snapshot in snapshots]
        return await self._cells.transact(keys, snapshot_cells.keep(snapshots, wall_ms))

    async def snapshots_take(
        self, owner: str, keys: Sequence[str], before: str, after: str, wall_ms: int
    ) -> frozenset[str]:
        cells = [CellKey(SNAPSHOT, owner, key) for key in keys]
        return await self._cells.transact(cells, snapshot_cells.take(before, after, wall_ms))

    async def snapshot(self, owner: str, key: str, wall_ms: int) -> Snapshot | None:
        (value,) = await self._cells.read((CellKey(SNAPSHOT, owner, key),))
        return snapshot_cells.living(value, wall_ms)

    async def snapshots(self, owner: str, wall_ms: int) -> tuple[Snapshot, ...]:
        values = await self._cells.scan(SNAPSHOT, owner)
        found = (snapshot_cells.living(values[key], wall_ms) for key in sorted(values))
        return tuple(snapshot for snapshot in found if snapshot is not None)

    # --- all

    async def purge(self, wall_ms: int, limit: int) -> int:
        return await self._cells.purge(wall_ms, limit)


def _int(value: bytes | None) -> int:
    return 0 if value is None else _decode_int(value)


def _numbers_of(names: Sequence[Account | Application]) -> set[str]:
    return {number for named in names for number in domain_contents.numbers_of(named)}


def _member_key(number: int) -> CellKey:
    return CellKey(MEMBER, FARM, str(number))


def _member(value: bytes | None) -> MemberRecord | None:
    return None if value is None else _decode_member(value)


def _number_of(record: MemberRecord) -> int:
    return record.number
