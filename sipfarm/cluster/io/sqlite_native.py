"""The native threads of the SQLite store: register updates, and cells read one by one.

They need no interpreter. A member under a storm of registrations has a busy event loop, and a
thread of Python would wait for its turn at each statement; `store_sqlite` tells of that. Everything
else the store keeps is asked for seldom and stays with the threads of `sqlite_worker`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

from sipfarm.base.errors import StartError, UsageError
from sipfarm.base.records import RegisterOutcome, RegisterUpdate
from sipfarm.cluster import registration
from sipfarm.cluster.io import sqlite_worker
from sipfarm.cluster.io.cells import CellKey, StoreUnavailable
from sipfarm.cluster.io.deadlines import Deadlines
from sipfarm.cluster.registration import CorruptRecord
from sipfarm.native import BindingWriter, CellReader

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class NativeThread(Protocol):
    """What the native threads have in common."""

    @property
    def error(self) -> str: ...
    @property
    def descriptor(self) -> int: ...
    def close(self) -> None: ...


class _Waiting(Generic[Asked, Answer]):
    """Who waits for a native thread, by ticket, up to a bound and a time limit."""

    def __init__(
        self,
        thread: NativeThread,
        path: str,
        timeout_s: float,
        resolve: Callable[[], None],
        late: Callable[[Asked], None],
    ) -> None:
        """`late` is told of what was done when nobody waited for it any more."""
        if thread.error:
            raise StartError(f"store {path}: {thread.error}")
        self._loop = asyncio.get_running_loop()
        self._thread = thread
        self._resolve = resolve
        self._late = late
        self._deadlines = Deadlines(self._loop, timeout_s)
        self._waiting: dict[int, tuple[Asked, asyncio.Future[Answer]]] = {}
        self._ticket = 0
        self._loop.add_reader(thread.descriptor, resolve)

    def enter(self, asked: Asked) -> tuple[int, asyncio.Future[Answer]]:
        """A ticket, 0 where too many wait already, and the future that the answer comes in."""
        future: asyncio.Future[Answer] = self._loop.create_future()
        if len(self._waiting) >= sqlite_worker.QUEUED_MAX:
            future.set_exception(StoreUnavailable(f"{len(self._waiting)} operations are waiting"))
            return 0, future
        self._ticket = ticket = self._ticket + 1
        self._waiting[ticket] = (asked, future)
        self._deadlines.watch(future)
        return ticket, future

    def leave(self, ticket: int, error: str) -> tuple[Asked, asyncio.Future[Answer]] | None:
        """Who is to be answered; nobody where nobody waits any more or it has failed."""
        asked, future = self._waiting.pop(ticket)
        if future.done():
            if not error:
                self._late(asked)
            return None
        if error:
            future.set_exception(StoreUnavailable(error))
            return None
        return asked, future

    async def close(self) -> None:
        """Finish what was submitted, and tell who waits for it."""
        await asyncio.to_thread(self._thread.close)
        self._resolve()
        self._loop.remove_reader(self._thread.descriptor)
        self._deadlines.close()


class SqliteBindings:
    """Register updates of a file whose schema is there."""

    def __init__(self, path: str, timeout_s: float, late: Callable[[str], None]) -> None:
        self.writer = BindingWriter(path, int(timeout_s * 1_000))
        self._waiting: _Waiting[RegisterUpdate, RegisterOutcome] = _Waiting(
            self.writer, path, timeout_s, self._resolve, lambda update: late(update.aor)
        )
        self.close = self._waiting.close

    def register(self, update: RegisterUpdate, wall_ms: int) -> asyncio.Future[RegisterOutcome]:
        """Apply a REGISTER atomically; it is durable when the future is done."""
        if "\0" in update.aor:
            raise UsageError("NUL in the key of a stored value")
        try:
            value = registration.encode(update)
        except UnicodeEncodeError as error:
            raise UsageError("a register update is not Unicode") from error
        ticket, future = self._waiting.enter(update)
        if ticket:
            self.writer.submit(ticket, update.aor, value, wall_ms)
        return future

    def _resolve(self) -> None:
        for ticket, status, bindings, error in self.writer.take():
            waiting = self._waiting.leave(ticket, error)
            if waiting is None:
                continue
            update, future = waiting
            try:
                future.set_result(registration.outcome_of(update, status, bindings))
            except CorruptRecord as corrupt:
                future.set_exception(corrupt)


class SqliteReads:
    """Cells of a file whose schema is there."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self._reader = CellReader(path)
        self._waiting: _Waiting[None, list[bytes | None]] = _Waiting(
            self._reader, path, timeout_s, self._resolve, lambda _: None
        )
        self.close = self._waiting.close

    def read(self, keys: Sequence[CellKey]) -> asyncio.Future[list[bytes | None]]:
        """The values of cells as of one moment; the keys were checked."""
        ticket, future = self._waiting.enter(None)
        if ticket:
            self._reader.submit(ticket, keys)
        return future

    def _resolve(self) -> None:
        for ticket, values, error in self._reader.take():
            waiting = self._waiting.leave(ticket, error)
            if waiting is not None:
                waiting[1].set_result(values)


@asynccontextmanager
async def open_bindings(
    path: str, *, timeout_s: float, late: Callable[[str], None]
) -> AsyncGenerator[SqliteBindings]:
    """Register updates of a file whose schema is there; StartError says why it cannot be used.
    `late` is told of an address-of-record whose update was done after it had been given up.
    """
    bindings = SqliteBindings(path, timeout_s, late)
    try:
        yield bindings
    finally:
        await bindings.close()
