"""Who is in the farm, and which member a key falls to.

A view is a value: the same members give the same homes wherever it is asked. The choice is keyed
rendezvous hashing ("highest random weight", Thaler and Ravishankar 1998), and must agree with the
native engine's to the bit:

    weight = SipHash-2-4(key, number (8 bytes LE) || epoch (8 bytes LE) || text)

The member with the highest weight is the text's home, the second holds the copy; of equal weights
the higher number wins. All members that are not dead take part, suspected ones too: ownership moves
when an incarnation is dead, never because somebody is slow to hear from it.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from sipfarm.base.roles import ROLES, Role

Hash = Callable[[bytes, bytes], int]
"""SipHash-2-4 of data under a 16-byte key, as an unsigned 64-bit number."""

Incarnation = tuple[int, int]
"""(number, epoch): one life of one member, and its fencing token."""

PERMILLE: Final = 1_000

_SEED: Final = struct.Struct("<QQ")


class Load(msgspec.Struct, frozen=True, array_like=True):
    """How busy a member is; told to the others with each heartbeat. Who reads it bounds it."""

    loop_lag_ms: int = 0
    """How late the event loop runs what is due."""
    cpu_permille: int = 0
    """Of the one core that the event loop has."""
    transactions: int = 0
    media_permille: int = 0
    """Of the media ports and threads that the member has."""


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """What a member says of itself beside how busy it is."""

    names_revision: Annotated[int, msgspec.Meta(ge=0)] = 0
    """No older word on domains and the names in them is acted on."""
    roles: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=16)], ...], msgspec.Meta(max_length=16)
    ] = ROLES
    """A later release may know more of them."""


class ViewState(StrEnum):
    """How one member sees another."""

    READY = "ready"
    DRAINING = "draining"
    """Gets no new work, of its own will."""
    SUSPECTED = "suspected"
    """Not heard for a while, or not yet: gets no new work, owns what it owned."""
    DEAD = "dead"
    """Tombstoned: its heir may act."""


class MemberInView(msgspec.Struct, frozen=True):
    """One incarnation of a member, as it is seen."""

    number: int
    epoch: int
    name: str
    state: ViewState
    load: Load = Load()
    standing: Standing = Standing()

    @property
    def incarnation(self) -> Incarnation:
        return (self.number, self.epoch)

    @property
    def is_live(self) -> bool:
        """Whether it owns anything: everything but dead."""
        return self.state is not ViewState.DEAD

    @property
    def is_heard(self) -> bool:
        """Whether what is sent to it now arrives, as far as is known."""
        return self.state in (ViewState.READY, ViewState.DRAINING)

    @property
    def takes_work(self) -> bool:
        """Whether new work is placed on it."""
        return self.state is ViewState.READY and self.has_role("pbx")

    def has_role(self, role: Role) -> bool:
        return role in self.standing.roles


class View(msgspec.Struct, frozen=True):
    """The farm as one member sees it: by number, itself included, the lately dead too."""

    members: tuple[MemberInView, ...] = ()

    def live(self) -> tuple[MemberInView, ...]:
        """Those that own what falls to them."""
        return tuple([member for member in self.members if member.is_live])

    def ready(self) -> tuple[MemberInView, ...]:
        """Those that get new work."""
        return tuple([member for member in self.members if member.takes_work])

    def member(self, number: int) -> MemberInView | None:
        return next((member for member in self.members if member.number == number), None)

    def digest(self) -> int:
        """64 bits that are equal where two views have the same live incarnations."""
        packed = b"".join([_SEED.pack(*member.incarnation) for member in self.live()])
        return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little")


def weight(siphash: Hash, key: bytes, incarnation: Incarnation, text: bytes) -> int:
    """What an incarnation weighs for a text."""
    return siphash(key, _SEED.pack(*incarnation) + text)


def ranked(
    siphash: Hash, key: bytes, members: Iterable[MemberInView], text: bytes
) -> list[MemberInView]:
    """The members by their weight for a text, highest first."""
    weighed = [
        (weight(siphash, key, member.incarnation, text), member.number, member)
        for member in members
    ]
    weighed.sort(key=_weight_and_number, reverse=True)
    return [member for _, _, member in weighed]


def home(
    siphash: Hash, key: bytes, view: View, text: bytes
) -> tuple[MemberInView | None, MemberInView | None]:
    """The home of a Call-ID and who holds the copy; nobody where there is none."""
    first, second, *_ = (*ranked(siphash, key, view.live(), text), None, None)
    return first, second


def heir(siphash: Hash, key: bytes, view: View, text: bytes) -> MemberInView | None:
    """Who takes over what a dead member had: of those that take new work, the home of its name."""
    return next(iter(ranked(siphash, key, view.ready(), text)), None)


def _weight_and_number(weighed: tuple[int, int, MemberInView]) -> tuple[int, int]:
    return weighed[0], weighed[1]
