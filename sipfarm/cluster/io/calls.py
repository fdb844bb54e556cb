"""Calls to other members that wait for their answer."""

import asyncio
from enum import StrEnum
from typing import Final

from sipfarm.base.errors import CapacityError, SipfarmError
from sipfarm.base.farm_view import Incarnation
from sipfarm.cluster.wire import Failure, Reply

CALLS_MAX: Final = 4_096
"""Under way at once, over all links."""


class Unanswered(StrEnum):
    """Why a call has no answer."""

    NO_LINK = "no_link"
    LINK_LOST = "link_lost"
    TIMEOUT = "timeout"


class CallFailed(SipfarmError):
    """There is no answer. The other member may have done what was asked, or not."""

    def __init__(self, why: Unanswered) -> None:
        super().__init__(why.value)
        self.why = why


class CallRefused(SipfarmError):
    """The other member answered that it will not; `status` as SIP would say it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Calls:
    """The calls under way, by their ids."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[Incarnation, asyncio.Future[bytes]]] = {}
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, incarnation: Incarnation) -> tuple[int, asyncio.Future[bytes]]:
        """Make room for an answer; CapacityError if too many are waited for."""
        if len(self._waiting) >= CALLS_MAX:
            raise CapacityError("too many calls to other members are under way")
        self._last_id += 1
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[self._last_id] = (incarnation, future)
        return self._last_id, future

    def end(self, request_id: int) -> None:
        """Wait for it no longer."""
        self._waiting.pop(request_id, None)

    def answer(self, incarnation: Incarnation, frame: Reply | Failure) -> None:
        """An answer has come; one that nobody waits for is passed over."""
        asked, future = self._waiting.get(frame.id, (None, None))
        if future is None or asked != incarnation or future.done():
            return
        if isinstance(frame, Reply):
            future.set_result(frame.result)
        else:
            future.set_exception(CallRefused(frame.status, frame.reason))

    def lost(self, incarnation: Incarnation) -> None:
        """There will be no answers from it any more."""
        for asked, future in tuple(self._waiting.values()):
            if asked == incarnation and not future.done():
                future.set_exception(CallFailed(Unanswered.LINK_LOST))
