"""What a member's place in the farm is made with: its settings, and whom it tells."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from sipfarm.base.errors import SipfarmError
from sipfarm.base.farm_view import Load, View
from sipfarm.base.records import MemberRecord
from sipfarm.base.roles import ROLES
from sipfarm.cluster.io.store import Members, Revised
from sipfarm.cluster.membership_outputs import MemberGone
from sipfarm.cluster.membership_settings import MembershipSettings
from sipfarm.cluster.placement import PlacementSettings


class Superseded(SipfarmError):
    """Another process has joined the farm under this member's name: this one must end."""


class FarmStore(Members, Revised, Protocol):
    """What of the store a member's place in the farm stands on."""


class FarmSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who this member is, and the times it keeps."""

    farm: str
    name: str
    admin: str
    pid: int
    roles: tuple[str, ...] = ROLES
    lease_ms: int = 10_000
    meeting_ms: int = 2_000
    """So long a member that begins waits for its links."""
    membership: MembershipSettings = MembershipSettings()
    placement: PlacementSettings = PlacementSettings()


class FarmHandlers(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the farm tells what happens. None of them may wait, but `rpc` and `tombstoned`."""

    packets: Callable[[int, Sequence[bytes]], None]
    invalidate: Callable[[int, str, str], None]
    event: Callable[[int, str, bytes], None]
    rpc: Callable[[str, bytes, int], Awaitable[bytes]]
    load: Callable[[], Load]
    """How busy this member is."""
    view_changed: Callable[[View], None]
    names_changed: Callable[[int], None]
    """Domains or the names in them are of another revision now: drop what is cached of them."""
    member_gone: Callable[[MemberGone], None]
    link_up: Callable[[int], None]
    link_down: Callable[[int], None]
    """Invalidations of that member may have been lost: drop what is cached on its word."""
    tombstoned: Callable[[], Awaitable[None]]
    """Drop everything: calls, transactions, media, what is waiting to be written."""
    rejoined: Callable[[MemberRecord], None]
    """Go on, empty, as this incarnation."""


class FarmCounters(msgspec.Struct):
    """What happened to this member's place in the farm."""

    doubts: int = 0
    packets_in_doubt: int = 0
    rejoins: int = 0
    tombstones: int = 0
    store_failures: int = 0
