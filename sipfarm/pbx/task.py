"""Tasks: async functions that run a call each, under one owner."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Self

import msgspec
from structlog.typing import FilteringBoundLogger

from sipfarm.base.errors import CapacityError, UsageError
from sipfarm.pbx.call import LINGER_S, Call, CallEnded, CallPort

Task = Callable[[Call], Coroutine[object, object, None]]


class KnownTask(msgspec.Struct, frozen=True):
    """A task that calls are handed to by its name. `resumes`: run anew, it goes on with a call that
    is answered already, because the member that ran it has died.
    """

    task: Task
    resumes: bool = False


TaskTable = Mapping[str, KnownTask]


class TaskOptions(msgspec.Struct, frozen=True):
    """Bounds: calls run at once, and how long a task may go on once its call is over."""

    calls_max: int = 10_000
    linger_s: float = LINGER_S


class TaskRunner:
    """Owns every running task of a member. Used as a context: leaving it ends what still runs.

    A task that returns hangs up, one that crashes ends its call with 500 or BYE and is logged, and
    none of them harms another.
    """

    def __init__(
        self, port: CallPort, log: FilteringBoundLogger, options: TaskOptions | None = None
    ) -> None:
        self._port = port
        self._log = log
        self._options = options or TaskOptions()
        self._group = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._is_open = False

    @property
    def running(self) -> int:
        return len(self._running)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_open = False
        for running in tuple(self._running):
            running.cancel()
        await self._group.__aexit__(kind, error, traceback)

    def start(self, task: Task, call: Call) -> None:
        """Run a call by a task. A full runner raises CapacityError and leaves the call as it is."""
        if not self._is_open:
            raise UsageError("the task runner is not open")
        if len(self._running) >= self._options.calls_max:
            raise CapacityError("as many tasks as there may be are running")
        running = self._group.create_task(self._run(task, call))
        self._running.add(running)
        running.add_done_callback(lambda ended: self._forget(ended, call))
        call.run_by(running, self._options.linger_s)

    async def _run(self, task: Task, call: Call) -> None:
        status = 503
        try:
            await task(call)
            status = 480
        except* CallEnded:
            status = 480
        except* Exception:  # the boundary between applications and the member
            status = 500
            self._log.exception("task_crashed", call_id=call.view.call_id, task=_name_of(task))
        finally:
            self._end(call, status)

    def _forget(self, running: asyncio.Task[None], call: Call) -> None:
        """Also end a call whose task was cancelled before it first ran."""
        self._running.discard(running)
        self._end(call, 503)

    def _end(self, call: Call, status: int) -> None:
        if not call.is_over:
            self._port.perform(call, call.end(self._port.now_ms(), status))


def _name_of(task: Task) -> str:
    return getattr(task, "__qualname__", type(task).__name__)
