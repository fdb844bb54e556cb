"""Members tell each other what they remember of the records while the store is away (ADR 0013)."""

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from sipfarm.base.errors import CapacityError, SipfarmError
from sipfarm.signaling.location import Locations
from sipfarm.signaling.recollection import NOTHING, Question, Remembered
from sipfarm.signaling.tenants import Tenants

RECALL: Final = "recall"
ASK_S: Final = 0.5


class Bus(Protocol):
    """The way to the other members."""

    @property
    def linked(self) -> Mapping[int, object]: ...
    async def call(self, number: int, method: str, arguments: bytes, timeout_s: float) -> bytes: ...


class Caches(Protocol):
    """What this member remembers."""

    @property
    def tenants(self) -> Tenants: ...
    @property
    def locations(self) -> Locations: ...


class OtherMembers:
    """Asks all that are linked at once; the first that knows the record is believed."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def ask(self, question: Question) -> Remembered:
        """Raises CapacityError where nobody remembers."""
        arguments = msgspec.msgpack.encode(question)
        known_absent = False
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(self._ask(number, arguments))
                for number in tuple(self._bus.linked)
            ]
            for answer in asyncio.as_completed(asked):
                remembered = await answer
                if remembered is not None and remembered.is_something:
                    for other in asked:
                        other.cancel()
                    return remembered
                known_absent = known_absent or remembered is not None
        if known_absent:
            return NOTHING
        raise CapacityError(f"the store is away, and nobody remembers {question.scope}")

    async def _ask(self, number: int, arguments: bytes) -> Remembered | None:
        try:
            answer = await self._bus.call(number, RECALL, arguments, ASK_S)
            return msgspec.msgpack.decode(answer, type=Remembered | None)
        except (SipfarmError, msgspec.MsgspecError):
            return None


def recalled(caches: Caches, method: str, arguments: bytes) -> bytes:
    """The answer to another member's question. Raises SipfarmError, msgspec.MsgspecError."""
    if method != RECALL:
        raise SipfarmError(f"no such method: {method}")
    question = msgspec.msgpack.decode(arguments, type=Question)
    if question.kind == "domain":
        found = caches.tenants.recall_domain(question.scope)
    elif question.kind == "addressee":
        found = caches.tenants.recall_addressee(question.scope, question.name)
    else:
        found = caches.locations.recall(question.scope)
    return msgspec.msgpack.encode(found)
