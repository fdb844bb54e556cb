"""Running a command's coroutine on a loop of uvloop; its error ends in a sentence."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, Final

from sipfarm.base.errors import SipfarmError, StartError

GC_ALLOCATIONS: Final = 20_000  # what serves one request has no cycles; what is imported stays


def run_on_uvloop(work: Coroutine[Any, Any, None]) -> None:
    """Run to its end. An error of ours comes out by itself, whatever groups of tasks it went by."""
    try:
        import uvloop
    except ImportError as error:
        work.close()
        raise StartError(f"something is not installed: {error}") from error
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS, 20, 50)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work)
    except BaseExceptionGroup as errors:
        ours, others = errors.split(SipfarmError)
        if ours is None or others is not None:
            raise
        raise _first(ours) from None


def _first(errors: BaseExceptionGroup[SipfarmError]) -> SipfarmError:
    """The error that stands for all: what follows from it is of no use to an operator."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    assert isinstance(first, SipfarmError)
    return first
