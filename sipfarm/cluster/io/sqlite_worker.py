"""A thread with one SQLite connection, which performs what piled up while it was busy as one batch.

The event loop's thread only queues and is woken once for each batch.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from sipfarm.base.errors import StartError
from sipfarm.cluster.io.cells import StoreUnavailable
from sipfarm.cluster.io.deadlines import Deadlines

BATCH_MAX: Final = 1_024
QUEUED_MAX: Final = 16_384
GATHER_S: Final = 0.005  # batches that follow each other closely are made one: each has its price

Perform = Callable[[sqlite3.Connection, Sequence["Operation"]], "list[Outcome]"]


class Operation(NamedTuple):
    """Something to do, and who waits for it."""

    request: Any
    future: asyncio.Future[Any]


class Outcome(NamedTuple):
    """How an operation went."""

    operation: Operation
    result: Any
    error: BaseException | None


class SqliteWorker:
    """Owns the thread. `perform` is called on it with each batch; an error it raises is that of the
    whole batch.
    """

    def __init__(self, name: str, path: str, timeout_s: float, perform: Perform) -> None:
        self._loop = asyncio.get_running_loop()
        self._path = path
        self._timeout_s = timeout_s
        self._perform = perform
        self._queue: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._batch_ended_s = 0.0
        self._deadlines = Deadlines(self._loop, timeout_s)
        self._waiting = 0  # touched by the loop's thread only
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    async def start(self, prepare: Callable[[sqlite3.Connection], None]) -> None:
        """Open the file on the thread and `prepare` it; StartError says why it cannot be opened."""
        self._prepare = prepare
        self._thread.start()
        await self._opened

    async def stop(self) -> None:
        """Finish what is queued, and close the file."""
        self._queue.put(None)
        await self._closed
        self._deadlines.close()
        self._thread.join()

    def ask(self, request: object) -> asyncio.Future[Any]:
        """Queue a request; its result comes in the future."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self._waiting >= QUEUED_MAX:
            future.set_exception(StoreUnavailable(f"{self._waiting} operations are waiting"))
            return future
        self._waiting += 1
        self._queue.put(Operation(request, future))
        self._deadlines.watch(future)
        return future

    # --- on the thread

    def _run(self) -> None:
        try:
            connection = self._open()
        except (sqlite3.Error, StartError) as error:
            self._tell(
                _fail,
                self._opened,
                error if isinstance(error, StartError) else self._start_error(error),
            )
            self._tell(_succeed, self._closed)
            return
        self._tell(_succeed, self._opened)
        while batch := self._next_batch():
            self._tell(self._resolve, self._perform_batch(connection, batch))
            self._batch_ended_s = time.monotonic()
        connection.close()
        self._tell(_succeed, self._closed)

    def _start_error(self, error: sqlite3.Error) -> StartError:
        return StartError(f"store {self._path}: {error}")

    def _open(self) -> sqlite3.Connection:
        """Open the file; several processes do so at once, and SQLite does not wait for each lock by
        itself.
        """
        deadline = time.monotonic() + max(self._timeout_s, 5.0)
        while True:
            connection = sqlite3.connect(self._path, isolation_level=None, timeout=self._timeout_s)
            try:
                self._prepare(connection)
                return connection
            except BaseException as error:
                connection.close()
                if not _is_locked(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _next_batch(self) -> list[Operation]:
        """All that is queued, up to a bound; empty when it is time to stop."""
        batch: list[Operation] = []
        try:
            operation = self._queue.get()
            if time.monotonic() - self._batch_ended_s < GATHER_S:
                time.sleep(GATHER_S)
            while operation is not None:
                batch.append(operation)
                if len(batch) == BATCH_MAX:
                    return batch
                operation = self._queue.get_nowait()
        except queue.Empty:
            return batch
        if batch:
            self._queue.put(None)  # stop next time
        return batch

    def _perform_batch(
        self, connection: sqlite3.Connection, batch: Sequence[Operation]
    ) -> list[Outcome]:
        awaited: list[Operation] = []
        given_up: list[Outcome] = []
        for operation in batch:
            if operation.future.done():
                given_up.append(Outcome(operation, None, None))
            else:
                awaited.append(operation)
        try:
            return given_up + self._perform(connection, awaited)
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.rollback()
            unavailable = StoreUnavailable(str(error))
            return given_up + [Outcome(operation, None, unavailable) for operation in awaited]

    def _tell(self, callback: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    # --- on the loop

    def _resolve(self, outcomes: Sequence[Outcome]) -> None:
        self._waiting -= len(outcomes)
        for (_, future), result, error in outcomes:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


def _is_locked(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def _succeed(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
