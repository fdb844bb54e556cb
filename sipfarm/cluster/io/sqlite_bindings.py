"""Bindings in a SQLite file: updates go to a native thread, which needs no interpreter.

A member under a storm of registrations has a busy event loop, and a thread of Python would wait for
its turn at each statement; `store_sqlite` tells of that. Everything else the store keeps changes
seldom and stays with the threads of `sqlite_worker`.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sipfarm.base.errors import StartError
from sipfarm.base.records import RegisterOutcome, RegisterUpdate
from sipfarm.cluster import registration
from sipfarm.cluster.io import sqlite_worker
from sipfarm.cluster.io.cells import CellKey, StoreUnavailable, check_keys
from sipfarm.cluster.io.deadlines import Deadlines
from sipfarm.cluster.registration import CorruptRecord
from sipfarm.native import BindingWriter

_Waiting = tuple[RegisterUpdate, asyncio.Future[RegisterOutcome]]


class SqliteBindings:
    """Hands updates to the writer, and its outcomes to who waits for them."""

    def __init__(self, writer: BindingWriter, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        self._timeout_ms = int(timeout_s * 1_000)
        self._deadlines = Deadlines(self._loop, timeout_s)
        self._waiting: dict[int, _Waiting] = {}
        self._ticket = 0
        self._loop.add_reader(writer.descriptor, self._resolve)

    def register(self, update: RegisterUpdate, wall_ms: int) -> asyncio.Future[RegisterOutcome]:
        """Apply a REGISTER atomically; it is durable when the future is done."""
        check_keys((CellKey("", update.aor, ""),))
        value = registration.encode(update)
        future: asyncio.Future[RegisterOutcome] = self._loop.create_future()
        if len(self._waiting) >= sqlite_worker.QUEUED_MAX:
            future.set_exception(StoreUnavailable(f"{len(self._waiting)} updates are waiting"))
            return future
        self._ticket = ticket = self._ticket + 1
        self._waiting[ticket] = (update, future)
        self._writer.submit(ticket, update.aor, value, wall_ms, self._timeout_ms)
        self._deadlines.watch(future)
        return future

    async def close(self) -> None:
        """Finish what was submitted, and tell who waits for it."""
        await asyncio.to_thread(self._writer.close)
        self._resolve()
        self._loop.remove_reader(self._writer.descriptor)
        self._deadlines.close()

    def _resolve(self) -> None:
        for ticket, status, bindings, error in self._writer.take():
            update, future = self._waiting.pop(ticket)
            if future.done():
                continue
            if error:
                future.set_exception(StoreUnavailable(error))
                continue
            try:
                future.set_result(registration.outcome_of(update, status, bindings))
            except CorruptRecord as corrupt:
                future.set_exception(corrupt)


@asynccontextmanager
async def open_bindings(path: str, *, timeout_s: float) -> AsyncGenerator[SqliteBindings]:
    """Over a file whose schema is there."""
    writer = BindingWriter(path)
    if writer.error:
        raise StartError(f"store {path}: {writer.error}")
    bindings = SqliteBindings(writer, timeout_s)
    try:
        yield bindings
    finally:
        await bindings.close()
