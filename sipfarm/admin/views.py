"""What the admin API shows: frozen snapshots, with the units in their names."""

from datetime import UTC, datetime
from typing import Literal

import msgspec

MemberState = Literal["ready", "draining", "suspected", "dead"]
CallKind = Literal["forwarded", "task"]
CallState = Literal["ringing", "answered"]


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown."""


class LoadView(View, frozen=True, kw_only=True):
    """How busy a member is."""

    loop_lag_ms: float
    """By how much its loop was late at worst in the last second."""
    cpu: float
    """Cores in use over the last second, all threads together."""
    transactions: int
    media_streams: int
    media_ports_free: int


class OwnsView(View, frozen=True, kw_only=True):
    """What would be lost, or moved, with a member."""

    calls: int
    tasks: int
    transactions: int
    flows: int
    """Connections of phones."""


class MemberView(View, frozen=True, kw_only=True):
    """A member of the farm. What only it can tell is missing where it does not answer."""

    name: str
    state: MemberState
    incarnation: int
    number: int
    pid: int
    admin: str
    bus: str
    roles: tuple[str, ...] = ()
    revision: int | None = None
    """Of the farm's domains and names: what the member does is by this one, or a newer."""
    load: LoadView | None = None
    owns: OwnsView | None = None


class MediaSideView(View, frozen=True, kw_only=True):
    """One side of a stream, as it came in and went out."""

    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int


class MediaView(View, frozen=True, kw_only=True):
    """A stream of a call: `a` is the caller's side."""

    stream: int
    a: MediaSideView
    b: MediaSideView


class CallView(View, frozen=True, kw_only=True):
    """A call that a member has."""

    id: str
    member: str
    kind: CallKind
    state: CallState
    caller: str
    callee: str
    call_id: str
    task: str | None = None
    started: str
    seconds: float
    media: tuple[MediaView, ...] = ()


class RegistrationView(View, frozen=True, kw_only=True):
    """A binding: where an address-of-record is reached (RFC 3261 §10)."""

    aor: str
    contact: str
    expires: str
    expires_s: int
    q: float
    received: str
    user_agent: str
    instance_id: str
    path: tuple[str, ...]
    member: str | None
    """The member that holds the connection it was made over."""


class BanView(View, frozen=True, kw_only=True):
    """A source that a member does no new work for."""

    address: str
    """Of an IPv6 network of 64 bits the first."""
    member: str
    fault: str
    """What came last."""
    seconds: int
    """It has left."""


class DomainView(View, frozen=True, kw_only=True):
    """A domain of the farm."""

    name: str
    accounts: int
    applications: tuple[str, ...]
    media_address: str | None
    has_certificate: bool
    srtp: str


class AccountView(View, frozen=True, kw_only=True):
    """An account, without what its password could be guessed from."""

    aor: str
    domain: str
    name: str
    numbers: tuple[str, ...]
    aliases: tuple[str, ...]
    voicemail: bool


class ApplicationView(View, frozen=True, kw_only=True):
    """A name that a task answers."""

    domain: str
    name: str
    task: str
    """`module:function`; empty: the stock one of that name."""
    numbers: tuple[str, ...]


class ChangeView(View, frozen=True, kw_only=True):
    """What a change of domains or names came to; nothing where it was done already."""

    revision: int
    """A member that shows this one, or a newer, does as the change says."""
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class ErrorView(View, frozen=True, kw_only=True):
    """Why a request was refused."""

    error: str


def iso(wall_ms: int) -> str:
    """A moment as ISO 8601 in UTC."""
    return datetime.fromtimestamp(wall_ms / 1_000, UTC).isoformat(timespec="milliseconds")
