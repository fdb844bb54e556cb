"""What the membership asks its shell to do, and tells it."""

from enum import StrEnum

import msgspec

from sipfarm.base.farm_view import View


class GoneFor(StrEnum):
    """How an incarnation ended."""

    TOMBSTONED = "tombstoned"
    LEFT = "left"
    SUPERSEDED = "superseded"
    """The same member began anew."""


class ViewChanged(msgspec.Struct, frozen=True):
    """Somebody came, went, or changed its state or roles. (A load alone is no change.)"""

    view: View


class MemberGone(msgspec.Struct, frozen=True):
    """An incarnation is over: its heir may act."""

    number: int
    epoch: int
    name: str
    why: GoneFor


class TryTombstone(msgspec.Struct, frozen=True):
    """Declare it dead in the store, by compare-and-set, and tell the result."""

    number: int
    epoch: int
    lease_until_wall_ms: int
    """As far as is known: a lease that was prolonged beyond saves the member."""


class Dial(msgspec.Struct, frozen=True):
    """Keep a link to this member."""

    number: int
    epoch: int
    address: str


class HangUp(msgspec.Struct, frozen=True):
    """Keep no link to this incarnation any more."""

    number: int
    epoch: int


class ReadRegistry(msgspec.Struct, frozen=True):
    """Read the members in the store, and the revision of names, now and not at the next turn."""


class SelfTombstoned(msgspec.Struct, frozen=True):
    """We are dead to the others: drop everything and join anew. This membership is over."""

    why: GoneFor
    """`SUPERSEDED`: somebody else has joined under our name."""


Output = ViewChanged | MemberGone | TryTombstone | Dial | HangUp | ReadRegistry | SelfTombstoned
