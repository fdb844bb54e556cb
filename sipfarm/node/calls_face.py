"""The face of a member's calls: forwarded ones, then those of its tasks, a page at a time."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from sipfarm.admin.pages import BadCursor, CallsCursor, Page
from sipfarm.admin.views import CallView, MediaSideView, MediaView, iso
from sipfarm.base.clock import Clock
from sipfarm.media.io.native_plane import MediaPlane
from sipfarm.native import Engine
from sipfarm.node.task_calls import TaskCalls, TaskCallView


class CallingMember(Protocol):
    """Who has calls."""

    @property
    def clock(self) -> Clock: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def plane(self) -> MediaPlane: ...
    @property
    def task_calls(self) -> TaskCalls: ...


class CallsOfMember:
    """Shown in the order that the engine, and then the tasks, have them in."""

    def __init__(self, member: CallingMember, name: str, number: Callable[[], int]) -> None:
        self._member = member
        self._name = name
        self._number = number

    def page(self, limit: int, after: str) -> Page[CallView]:
        """Up to `limit` calls behind a cursor. Raises BadCursor."""
        number = self._number()
        place = CallsCursor.of(after) or CallsCursor(number)
        if place.member != number:
            raise BadCursor
        member, wanted = self._member, limit + 1  # one more, to know whether there are more
        now_ms, wall_ms = member.clock.now_ms(), member.clock.wall_ms()
        found: list[tuple[CallView, CallsCursor]] = []
        if not place.is_task:
            for call in member.engine.calls(wanted, place.call):
                behind = CallsCursor(number, is_task=False, call=call["handle"])
                found.append((self._forwarded(call, now_ms, wall_ms), behind))
        first = place.call if place.is_task else 0
        for task in member.task_calls.views(wanted - len(found), first):
            behind = CallsCursor(number, is_task=True, call=task.number)
            found.append((self._task(task, now_ms, wall_ms), behind))
        shown = found[:limit]
        return Page([view for view, _ in shown], shown[-1][1].text if len(found) > limit else "")

    def _forwarded(self, call: Mapping[str, Any], now_ms: int, wall_ms: int) -> CallView:
        age_ms = now_ms - call["started_ms"]
        return CallView(
            id=f"{self._name}-{call['handle']:x}",
            member=self._name,
            kind="forwarded",
            state="answered" if call["answered"] else "ringing",
            caller=call["caller"],
            callee=call["callee"],
            call_id=call["call_id"],
            started=iso(wall_ms - age_ms),
            seconds=age_ms / 1_000,
            media=self._media(call["streams"]),
        )

    def _task(self, call: TaskCallView, now_ms: int, wall_ms: int) -> CallView:
        age_ms = now_ms - call.started_ms
        return CallView(
            id=f"{self._name}-{call.tag}",
            member=self._name,
            kind="task",
            state="answered" if call.answered else "ringing",
            caller=call.caller,
            callee=call.callee,
            call_id=call.call_id,
            task=call.task,
            started=iso(wall_ms - age_ms),
            seconds=age_ms / 1_000,
            media=self._media([call.stream] if call.stream else []),
        )

    def _media(self, streams: Iterable[int]) -> tuple[MediaView, ...]:
        plane = self._member.plane.plane
        told = [(stream, plane.stats(stream)) for stream in streams]
        return tuple(
            MediaView(stream=stream, a=_side(sides[0]), b=_side(sides[1]))
            for stream, sides in told
            if sides is not None
        )


def _side(counters: Mapping[str, int]) -> MediaSideView:
    return MediaSideView(
        packets_in=counters["packets_in"],
        bytes_in=counters["bytes_in"],
        packets_out=counters["packets_out"],
        bytes_out=counters["bytes_out"],
    )
