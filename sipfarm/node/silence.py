"""Forwarded calls whose media have fallen silent on both sides are ended (ADR 11)."""

from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from sipfarm.native import Engine, Output

Stats = Callable[[int], tuple[dict[str, int], dict[str, int]] | None]
"""What each side of a stream has seen."""


class SilentCalls:
    """Told of each silent stream; a call ends when the last of its streams is silent too."""

    def __init__(
        self,
        engine: Engine,
        out: Output,
        stats: Stats,
        timeout_ms: int,
        log: FilteringBoundLogger,
    ) -> None:
        self._engine = engine
        self._out = out
        self._stats = stats
        self._timeout_ms = timeout_ms
        self._log = log

    def silent(self, stream: int, now_ms: int) -> None:
        """Neither side of a stream has sent RTP or RTCP for the time-out; told again after each
        further one.
        """
        found = self._engine.silent_call(stream)
        if found is None:
            return
        call, call_id, streams = found
        if any(self._is_heard(other, now_ms) for other in streams if other != stream):
            return
        self._log.info("call_silent", call_id=call_id, streams=len(streams))
        self._engine.hang_up(call, "silence", now_ms, self._out)

    def _is_heard(self, stream: int, now_ms: int) -> bool:
        sides = self._stats(stream)
        if sides is None:
            return False
        return max(side["last_in_ms"] for side in sides) > now_ms - self._timeout_ms
