"""Lists that are shown a page at a time: what is on one, and where the next one begins."""

import base64
from collections.abc import Sequence
from typing import Final, Generic, Self, TypeVar

import msgspec

from sipfarm.base.errors import SipfarmError

T = TypeVar("T")
CURSOR_CHARS_MAX: Final = 2_048


class BadCursor(SipfarmError):
    """What was given is no place in this list: 400."""

    def __init__(self) -> None:
        super().__init__("after: that is no cursor of this list")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some entries of a list."""

    entries: Sequence[T]
    next: str = ""
    """The cursor behind them; empty: they are the last."""


class Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A place in a list; to whoever asks, a text that means nothing."""

    @property
    def text(self) -> str:
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode().rstrip("=")

    @classmethod
    def of(cls, text: str) -> Self | None:
        """None for an empty text: the list's beginning. Raises BadCursor."""
        if not text:
            return None
        try:
            padded = text[:CURSOR_CHARS_MAX] + "=" * (-len(text) % 4)
            return msgspec.msgpack.decode(base64.b64decode(padded, b"-_", validate=True), type=cls)
        except (ValueError, msgspec.MsgspecError):
            raise BadCursor from None


class CallsCursor(Cursor, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Behind a call of a member: the forwarded ones come first, then those of tasks."""

    member: int
    """Its number: the members are shown in this order."""
    is_task: bool = False
    call: int = 0
    """Handle of a forwarded call, or number of a task's."""

    def __post_init__(self) -> None:
        if self.call < 0:
            raise ValueError("call must not be negative")


class RegistrationsCursor(Cursor, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Behind some bindings of an account."""

    domain: str
    page: str = ""
    """Of the domain's accounts, as the store counts; those of one come by their names."""
    account: str = ""
    shown: int = 0
    """How many of its bindings."""

    def __post_init__(self) -> None:
        if self.shown < 0:
            raise ValueError("shown must not be negative")
