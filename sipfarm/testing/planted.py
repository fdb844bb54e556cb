"""Bugs put into a simulated farm on purpose: the checkers must find each of them.

Nothing of the product is changed. What members tell each other, see and receive is tampered with,
so that the farm behaves as if it had the bug.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from sipfarm.base.farm_view import View
from sipfarm.testing.bus import Frame, Rewrite
from sipfarm.testing.checkers import KINDS, BusMessage, bus_messages
from sipfarm.testing.farm import SimFarm
from sipfarm.testing.wire_text import WireText, branch_of

_CALL_ID: Final = re.compile(rb"\r\nCall-ID: ([^\r]*)")
_FORGED: Final = re.compile(rb"forged-[A-Z]+-")


def lose_notes(farm: SimFarm) -> None:
    """What owners note at other members gets lost."""
    farm.bus.rewrite = _rewriting(lambda to, told: None if told.kind == "note" else told)


def grant_twice(farm: SimFarm) -> None:
    """A home tells everybody who claims a transaction that it is theirs."""

    def grant(to: int, told: BusMessage) -> BusMessage:
        claimant = farm.bus.incarnation_of(to)
        if told.kind != "claimed" or claimant is None:
            return told
        key, _, _, claim = told.fields
        return BusMessage("claimed", (key, *claimant, claim))

    farm.bus.rewrite = _rewriting(grant)


def split_view(farm: SimFarm) -> None:
    """The first member does not know of the last one."""

    def without_last(view: View) -> View:
        last = max([member.number for member in view.members])
        kept = tuple([member for member in view.members if member.number != last])
        return msgspec.structs.replace(view, members=kept)

    farm.see = lambda member, view: without_last(view) if member.name == "m1" else view


def accept_borrowed_marks(farm: SimFarm) -> None:
    """A mark is not bound to its Call-ID: the farm takes a request of another dialog for one of
    this.
    """
    forged: dict[str, bytes] = {}

    def receive(data: bytes) -> bytes:
        found = _CALL_ID.search(data)
        if found is None or not found[1].startswith(b"forged-"):
            return data
        forged[branch_of(WireText(data).value("Via"))] = found[1]
        return data.replace(found[1], _FORGED.sub(b"", found[1], count=1))

    def send(data: bytes) -> bytes:
        vias = WireText(data).values("Via")
        call_id = next((forged[branch_of(via)] for via in vias if branch_of(via) in forged), None)
        found = _CALL_ID.search(data)
        if call_id is None or found is None:
            return data
        return data.replace(found[0], b"\r\nCall-ID: " + call_id)

    farm.tamper_in, farm.tamper_out = receive, send


PLANTS: Final[dict[str, tuple[Callable[[SimFarm], None], str]]] = {
    "a note lost on view change": (lose_notes, r"which .* (has started|owns)|to its CANCEL"),
    "a view split": (split_view, r"which .* has started"),
    "a double claim": (grant_twice, r"which .* has started"),
    "a mark accepted in another dialog": (accept_borrowed_marks, r"a mark of another dialog"),
}
"""What is planted, and what the checkers must say of it."""


def _rewriting(rewrite: Callable[[int, BusMessage], BusMessage | None]) -> Rewrite:
    """Tamper with single messages between engines."""

    def payload(sender: int, to: int, frame: Frame) -> list[tuple[int, Frame]]:
        kind, packed = frame
        if kind != "engine":
            return [(to, frame)]
        told = [rewrite(to, message) for message in bus_messages(packed)]
        kept = b"".join([_packed(message) for message in told if message is not None])
        return [(to, (kind, kept))] if kept else []

    return payload


def _packed(message: BusMessage) -> bytes:
    return msgspec.msgpack.encode([KINDS.index(message.kind), *message.fields])
