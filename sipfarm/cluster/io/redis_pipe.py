"""Commands to Redis, coalesced: whatever is asked for while a pipeline is under way goes with the
next one.

One connection, one pipeline at a time; a member's own batches order themselves by this, and Redis
sees few, long reads. While the server is away each call fails at once, and the pipe looks for it
again a few times a second.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from sipfarm.cluster.io.cells import StoreUnavailable
from sipfarm.cluster.io.deadlines import Deadlines

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.cluster import RedisCluster

PIPELINE_MAX: Final = 512
QUEUED_MAX: Final = 16_384
RELOADS_MAX: Final = 2

AWAY_PROBE_S: Final = 0.2

UNREACHABLE: Final = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What redis-py raises when a server, or each node of a cluster, cannot be had."""

Command = tuple[str | bytes | int, ...]


class _Pipeline(Protocol):
    """What pipelines of a server and of a cluster have in common."""

    def execute_command(self, *args: str | bytes | int) -> object: ...

    async def execute(self, raise_on_error: bool = True) -> list[Any]: ...


class _Waiting(NamedTuple):
    command: Command
    future: asyncio.Future[Any]
    late: Callable[[], None] | None


class RedisPipe:
    """Sends commands, carried by a task of its own between `start` and `stop`."""

    def __init__(self, client: "Redis | RedisCluster", timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._queue: deque[_Waiting] = deque()
        self._something = asyncio.Event()
        self._scripts: dict[str, str] = {}  # digest → text
        self._task: asyncio.Task[None] | None = None
        self._deadlines = Deadlines(asyncio.get_running_loop(), timeout_s)
        self._away = ""  # why the server cannot be reached; empty: it can
        self._in_doubt: list[Callable[[], None]] = []  # of the batch that it was lost with

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Carry commands while inside; what was not answered at the end is given up."""
        group = asyncio.TaskGroup()
        await group.__aenter__()
        self._task = group.create_task(self._run(), name="store-redis-pipe")
        try:
            yield
        finally:
            self._task.cancel()
            # An error of the body is the caller's and goes on as it is, not as one of a group.
            await group.__aexit__(None, None, None)
            self._deadlines.close()

    async def load(self, script: str) -> str:
        """Make a Lua script known to the server; its digest is for EVALSHA. It is loaded again
        where it was lost.
        """
        digest: str = await self._client.script_load(script)
        self._scripts[digest] = script
        return digest

    async def ask(
        self, commands: Sequence[Command], late: Callable[[], None] | None = None
    ) -> list[Any]:
        """Send commands and wait for their answers; StoreUnavailable after the time limit. `late`
        is called for each that may have been done all the same, once that can be seen.
        """
        if self._task is None or self._task.done():
            raise StoreUnavailable("it is closed")
        if self._away:
            raise StoreUnavailable(self._away)
        if len(self._queue) >= QUEUED_MAX:
            raise StoreUnavailable(f"{len(self._queue)} operations are waiting")
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in commands]
        self._queue.extend(map(_Waiting, commands, futures, repeat(late)))
        self._something.set()
        for future in futures:
            self._deadlines.watch(future)
        try:
            return [await future for future in futures]
        finally:
            for future in futures:
                # Given up: not sent any more; and of several errors one is told.
                if not future.cancel() and not future.cancelled():
                    future.exception()

    async def _run(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            while self._queue:
                await self._send_batch()
                if self._away:
                    await self._find_again()

    async def _find_again(self) -> None:
        """Wait until the server answers; meanwhile `ask` refuses."""
        while self._away:
            await asyncio.sleep(AWAY_PROBE_S)
            try:
                await self._execute([("PING",)])
            except UNREACHABLE as error:
                self._away = _reason(error)
            else:
                self._away = ""
        in_doubt, self._in_doubt = self._in_doubt, []
        for late in in_doubt:
            late()

    async def _send_batch(self) -> None:
        taken = (self._queue.popleft() for _ in range(min(PIPELINE_MAX, len(self._queue))))
        batch = [waiting for waiting in taken if not waiting.future.done()]
        if not batch:
            return
        answers: list[Any]
        try:
            answers = await self._send([waiting.command for waiting in batch])
        except UNREACHABLE as error:
            self._away = _reason(error)
            answers = [error] * len(batch)
            self._in_doubt = [waiting.late for waiting in batch if waiting.late is not None]
        for (_, future, late), answer in zip(batch, answers, strict=True):
            if future.done():
                if late is not None and not self._away:
                    late()
                continue
            if isinstance(answer, Exception):
                future.set_exception(StoreUnavailable(_reason(answer)))
            else:
                future.set_result(answer)

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        answers = await self._execute(commands)
        for _ in range(RELOADS_MAX):
            lost = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
            if not lost:
                break
            for script in self._scripts.values():
                await self._client.script_load(script)
            again = await self._execute([commands[i] for i in lost])
            for i, answer in zip(lost, again, strict=True):
                answers[i] = answer
        return answers

    async def _execute(self, commands: Sequence[Command]) -> list[Any]:
        # redis-py's own annotations are unions of its sync and async classes.
        pipeline = cast("_Pipeline", self._client.pipeline(transaction=False))
        for command in commands:
            pipeline.execute_command(*command)
        async with asyncio.timeout(self._timeout_s):  # a cluster's client would try several times
            return await pipeline.execute(raise_on_error=False)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
