"""The store: what members share, durably. One interface, two databases (DESIGN §5).

No call works on the event loop's thread, and each ends within the store's time limit: with an
answer, or with StoreUnavailable. After StoreUnavailable a write may have been done or not; each
write may be repeated safely.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol
from urllib.parse import urlsplit

from sipfarm.base.errors import StartError
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
)
from sipfarm.base.roles import ROLES
from sipfarm.cluster.domain_contents import NameConflict, NoDomain, PasswordNeeded
from sipfarm.cluster.io.cell_store import CellStore, LateRegisters
from sipfarm.cluster.io.cells import StoreError, StoreUnavailable
from sipfarm.cluster.registry import LastWithRole
from sipfarm.native import BindingWriter

__all__ = [
    "Bindings",
    "LastWithRole",
    "Members",
    "NameConflict",
    "Names",
    "NoDomain",
    "PasswordNeeded",
    "Revised",
    "Snapshots",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "open_store",
]

STORE_TIMEOUT_S: Final = 2.0
REDIS_SCHEMES: Final = ("redis", "rediss", "unix", "redis+cluster", "redis+sentinel")


class Bindings(Protocol):
    """Addresses-of-record and where they are reached."""

    @property
    def binding_writer(self) -> BindingWriter | None:
        """The thread that does `register`, where it is a native one."""
        ...

    def register(self, update: RegisterUpdate, wall_ms: int) -> Awaitable[RegisterOutcome]:
        """Apply a REGISTER atomically; it is durable when this returns (RFC 3261 §10.3)."""
        ...

    def tell_late(self, told: Callable[[str], None]) -> None:
        """Whom to tell of an address-of-record when a REGISTER of it that has ended in
        StoreUnavailable is done, or may be.
        """
        ...

    async def bindings(self, aor: str, wall_ms: int) -> tuple[Binding, ...]:
        """The live bindings, highest q first."""
        ...


class Revised(Protocol):
    """Something that others keep copies of."""

    async def names_revision(self) -> int:
        """Rises with each change of any domain, or of a name in it, in one step with the change.
        (On a Redis Cluster just after it; a repeat of a change that broke off makes up for it.)
        """
        ...


class Names(Revised, Protocol):
    """Domains and the names in them. Names are compared as they are: the caller brings them into
    canonical form.
    """

    async def domain(self, name: str) -> Domain | None: ...

    async def domains(self) -> tuple[Domain, ...]: ...

    async def revision(self, domain: str) -> int:
        """Rises with each change of a domain or of a name in it; 0: there never was such a one."""
        ...

    async def account(self, domain: str, name: str) -> Account | None: ...

    async def accounts(self, domain: str) -> tuple[Account, ...]: ...

    async def account_page(
        self, domain: str, cursor: str, count: int
    ) -> tuple[tuple[Account, ...], str]:
        """About `count` accounts of a domain and where to go on, in no order that can be relied on.
        An empty cursor begins, and ends. For domains that are too large to be read at once.
        """
        ...

    async def account_count(self, domain: str) -> int: ...

    async def application(self, domain: str, name: str) -> Application | None: ...

    async def applications(self, domain: str) -> tuple[Application, ...]: ...

    async def number(self, domain: str, number: str) -> NumberTarget | None:
        """Whom a number or an alias stands for."""
        ...

    async def put_domain(
        self,
        domain: Domain,
        accounts: Sequence[Account] = (),
        applications: Sequence[Application] = (),
    ) -> DomainChange:
        """Add or replace a domain and names in it, all or none; other names stay. A repeat changes
        nothing.

        Raises NameConflict if a number, an alias or a name is taken by another.
        """
        ...

    async def add_domain(self, domain: Domain) -> DomainChange:
        """Add a domain; NameConflict if it is there already."""
        ...

    async def put_names(
        self, domain: str, names: Sequence[Account | Application], *, new: bool = False
    ) -> DomainChange:
        """Add or replace names in a domain, all or none; with `new`, add only. An account without
        digests keeps those it has.

        Raises NoDomain, NameConflict, PasswordNeeded.
        """
        ...

    async def remove_domain(self, name: str) -> DomainChange:
        """Remove a domain, then all that is in it; a repeat goes on with one that broke off."""
        ...

    async def remove_names(
        self, domain: str, accounts: Sequence[str] = (), applications: Sequence[str] = ()
    ) -> DomainChange:
        """Remove names and their numbers from a domain, all or none; those that are not there are
        passed over.
        """
        ...


class Members(Protocol):
    """The registry of members. (number, epoch) is the fencing token of an incarnation."""

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
        """Begin a new incarnation; an earlier one of that name is superseded."""
        ...

    async def renew(self, number: int, epoch: int, lease_ms: int, wall_ms: int) -> bool:
        """Prolong the lease; False: tombstoned or superseded, the member must drop everything."""
        ...

    async def tombstone(self, number: int, epoch: int, lease_until_wall_ms: int) -> bool:
        """Declare an incarnation dead whose lease is not newer than that; True for one caller at
        most.

        Where an answer got lost on its way it may be nobody: `members` tells how it stands.
        """
        ...

    async def set_roles(
        self, number: int, epoch: int, roles: tuple[str, ...], wall_ms: int
    ) -> bool:
        """Change the roles of a living incarnation; False: it is none.

        Raises LastWithRole, whoever gives up a role at the same time.
        """
        ...

    async def leave(self, number: int, epoch: int, wall_ms: int) -> bool:
        """End an incarnation of its own will."""
        ...

    async def members(self) -> tuple[MemberRecord, ...]:
        """All that the registry knows, by number, the dead and the gone included."""
        ...


class Snapshots(Protocol):
    """Pieces of a member's running state, kept for its heir."""

    async def snapshot_swap(self, snapshot: Snapshot, expected: bytes | None, wall_ms: int) -> bool:
        """Write it if the value there is `expected` (None: nothing is there)."""
        ...

    async def snapshots_keep(self, snapshots: Sequence[Snapshot], wall_ms: int) -> frozenset[str]:
        """Write snapshots of one owner, all in one step; one whose time is up is removed. What
        somebody else holds stays as it is: the keys of those.
        """
        ...

    async def snapshots_take(
        self, owner: str, keys: Sequence[str], before: str, after: str, wall_ms: int
    ) -> frozenset[str]:
        """Make `after` the holder of those of an owner's that `before` holds; the keys of these,
        each for one caller only.
        """
        ...

    async def snapshot(self, owner: str, key: str, wall_ms: int) -> Snapshot | None: ...

    async def snapshots(self, owner: str, wall_ms: int) -> tuple[Snapshot, ...]:
        """Those of an owner that have not expired, whoever holds them."""
        ...


class Store(Bindings, Names, Members, Snapshots, Protocol):
    """Everything the farm keeps."""

    async def purge(self, wall_ms: int, limit: int) -> int:
        """Look at up to `limit` stored values and remove expired ones; how many were removed. To be
        called regularly.
        """
        ...


@asynccontextmanager
async def open_store(
    url: str, *, farm: str = "sipfarm", timeout_s: float = STORE_TIMEOUT_S
) -> AsyncGenerator[Store]:
    """Open the store that `[farm] store` names; StartError says why it cannot be.

    `sqlite:PATH`, `redis://…`, `rediss://…`, `unix://…`, `redis+cluster://…` or
    `redis+sentinel://HOST:PORT,…/MASTER`. Farms may share a Redis by their names.
    """
    scheme, late = urlsplit(url).scheme, LateRegisters()
    if scheme == "sqlite":
        from sipfarm.cluster.io.sqlite_native import open_bindings
        from sipfarm.cluster.io.store_sqlite import open_sqlite, path_of

        path = path_of(url)
        async with (
            open_sqlite(path, timeout_s=timeout_s) as cells,
            open_bindings(path, timeout_s=timeout_s, late=late) as bindings,
        ):
            yield CellStore(cells, bindings.register, late, bindings.writer)
    elif scheme in REDIS_SCHEMES:
        from sipfarm.cluster.io.store_redis import RedisBindings, open_redis

        async with open_redis(url, farm=farm, timeout_s=timeout_s) as cells:
            yield CellStore(cells, RedisBindings(cells, late).register, late)
    else:
        allowed = ", ".join(f"{known}://" for known in REDIS_SCHEMES)
        raise StartError(f"store {scheme or url}: allowed are sqlite:PATH, {allowed}")
