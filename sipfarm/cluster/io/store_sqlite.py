"""Cells in a SQLite file: the embedded store, shared by the members of one machine.

What each request may need, the reading of some cells and the updates of bindings, is done by native
threads (`sqlite_native`). Here are the changes of all other cells and what goes over many of them:
one thread writes (`sqlite_changes`) and one lists (`sqlite_lists`), each in batches.

A loop that is busy without a pause gives up the GIL for a moment at each turn and takes it again
before a waiting thread has woken; CPython forces a hand-over only after an undisturbed wait of one
switch interval. With the default of 5 ms the store's threads starve for seconds (measured), with
0.1 ms they get 20,000 updates/s past a loop that never rests; so the interval is lowered while the
store is open. It has no cost while no thread waits.

Durability: WAL with synchronous=NORMAL. A commit survives the death of any process; a crash of the
machine itself may lose the last moments before it (never the file's integrity).
"""

import sqlite3
import sys
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from sipfarm.base.errors import StartError
from sipfarm.cluster.io.cells import CellKey, Decide, Page, R, check_keys
from sipfarm.cluster.io.sqlite_changes import Purge, Transact, Writer
from sipfarm.cluster.io.sqlite_lists import Count, PageOf, Scan, perform_lists
from sipfarm.cluster.io.sqlite_native import SqliteReads
from sipfarm.cluster.io.sqlite_schema import migrate
from sipfarm.cluster.io.sqlite_worker import SqliteWorker

SWITCH_INTERVAL_S: Final = 0.000_1


class SqliteCells:
    """Implements Cells over a writing, a listing and a native reading thread."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self.joins_scopes: Final = True
        writer = Writer()
        self._writer = SqliteWorker("store-writer", path, timeout_s, writer.perform)
        self._lister = SqliteWorker("store-lister", path, timeout_s, perform_lists)
        self._path, self._timeout_s = path, timeout_s
        self._reads: SqliteReads | None = None

    async def start(self) -> None:
        await self._writer.start(_prepare_writer)
        await self._lister.start(_prepare_lister)
        self._reads = SqliteReads(self._path, self._timeout_s)

    async def stop(self) -> None:
        if self._reads is not None:
            await self._reads.close()
        await self._lister.stop()
        await self._writer.stop()

    async def read(self, keys: Sequence[CellKey]) -> list[bytes | None]:
        check_keys(keys)
        assert self._reads is not None
        return await self._reads.read(keys)

    async def scan(self, noun: str, scope: str) -> dict[str, bytes]:
        check_keys((CellKey(noun, scope, ""),))
        return await self._lister.ask(Scan(noun, scope))

    async def page(self, noun: str, scope: str, cursor: str, count: int) -> Page:
        check_keys((CellKey(noun, scope, cursor),))
        cells = await self._lister.ask(PageOf(noun, scope, cursor, count))
        return Page(cells, max(cells) if len(cells) == count else "")

    async def count(self, noun: str, scope: str) -> int:
        check_keys((CellKey(noun, scope, ""),))
        return await self._lister.ask(Count(noun, scope))

    def transact(self, keys: Sequence[CellKey], decide: Decide[R]) -> Awaitable[R]:
        check_keys(keys)
        return self._writer.ask(Transact(keys, decide))

    async def purge(self, wall_ms: int, limit: int) -> int:
        return await self._writer.ask(Purge(wall_ms, limit))


def path_of(url: str) -> str:
    """The file that `sqlite:PATH` names."""
    path = url.removeprefix("sqlite:")
    path = "/" + path.lstrip("/") if path.startswith("//") else path
    if not path or path == ":memory:":
        raise StartError(
            "store sqlite: a path is needed, since the members of a machine share the file"
        )
    return path


@asynccontextmanager
async def open_sqlite(path: str, *, timeout_s: float) -> AsyncGenerator[SqliteCells]:
    """Open or make the file, bring its schema up to date, and close it at the end."""
    cells = SqliteCells(path, timeout_s)
    await cells.start()
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(min(interval_s, SWITCH_INTERVAL_S))
    try:
        yield cells
    finally:
        await cells.stop()
        sys.setswitchinterval(interval_s)


def _prepare_writer(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    migrate(connection)
    connection.execute("PRAGMA busy_timeout = 0")  # from here on the Writer waits


def _prepare_lister(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = 1")
