"""What a database must give for a store to stand on it: cells, read together and changed together.

A cell is (noun, scope, name) → bytes. All cells of one `transact` share a scope, but where the
database joins scopes: Redis Cluster keeps a scope on one node. The decision of a change is a pure
function of the values read. It may be called several times, and on another thread; the writes of
its last call take effect if, and only if, the values it saw are still there, all or none.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias, TypeVar

from sipfarm.base.errors import CapacityError, SipfarmError, UsageError

R = TypeVar("R")


class StoreError(SipfarmError):
    """The store did not do what it was asked."""


class StoreUnavailable(CapacityError):
    """The store cannot be reached, or did not answer in time. A write may or may not have been
    done.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"store unavailable: {reason}")


class CellKey(NamedTuple):
    """The address of a cell."""

    noun: str
    scope: str
    name: str


class Put(NamedTuple):
    """Write this value, at `wall_ms`; it may be purged after `dead_at_wall_ms` (0: it lives until
    deleted).
    """

    value: bytes
    dead_at_wall_ms: int = 0
    wall_ms: int = 0


class Delete(NamedTuple):
    """Remove the cell."""


DELETE: Final = Delete()

Write: TypeAlias = Put | Delete
Values: TypeAlias = Sequence[bytes | None]
Verdict: TypeAlias = tuple[Sequence[Write | None], R]
"""What to write to each cell read (None: leave it), and what to tell the caller."""
Decide: TypeAlias = Callable[[Values], Verdict[R]]


class Page(NamedTuple):
    """Some of many cells, by name, and where to go on; an empty cursor: that was all."""

    cells: dict[str, bytes]
    cursor: str


class Cells(Protocol):
    """Each call raises StoreUnavailable within the store's time limit if the database is away."""

    @property
    def joins_scopes(self) -> bool:
        """Whether one change may read and write cells of several scopes."""
        ...

    async def read(self, keys: Sequence[CellKey]) -> list[bytes | None]:
        """The values of cells, as of one moment for each scope."""
        ...

    async def scan(self, noun: str, scope: str) -> dict[str, bytes]:
        """All cells of a noun in a scope, by name."""
        ...

    async def page(self, noun: str, scope: str, cursor: str, count: int) -> Page:
        """About `count` cells of a noun in a scope, in no order that can be relied on, from a
        cursor on; an empty one begins. What is there all the time is met, perhaps more than once.
        """
        ...

    async def count(self, noun: str, scope: str) -> int:
        """How many cells of a noun there are in a scope."""
        ...

    def transact(self, keys: Sequence[CellKey], decide: Decide[R]) -> Awaitable[R]:
        """Read cells (of one scope, see `joins_scopes`) and write them as `decide` says, atomically
        and durably.
        """
        ...

    async def purge(self, wall_ms: int, limit: int) -> int:
        """Look at up to `limit` more cells and remove the dead ones; how many were removed."""
        ...


def check_keys(keys: Sequence[CellKey]) -> None:
    """Refuse what one of the databases cannot hold, before it spoils the batch it goes in."""
    for key in keys:
        if "\0" in key.scope or "\0" in key.name:
            raise UsageError("NUL in the key of a stored value")
        try:
            key.scope.encode()
            key.name.encode()
        except UnicodeEncodeError as error:
            raise UsageError("the key of a stored value is not Unicode") from error
