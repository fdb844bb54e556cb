"""What a transaction user answers a request with."""

from collections.abc import Iterable

import msgspec


class Reply(msgspec.Struct, frozen=True):
    """A final response (RFC 3261 §8.2.6).

    Via, From, To, Call-ID, CSeq and Content-Length are added by who sends it. An empty `reason`
    stands for the phrase of RFC 3261 §21.
    """

    status: int
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def unsupported(option_tags: Iterable[str]) -> Reply:
    """420, naming what is not understood (RFC 3261 §8.2.2.3)."""
    return Reply(420, "", (("Unsupported", ", ".join(option_tags)),))


def unavailable(retry_after_s: int, reason: str = "") -> Reply:
    """503 with the time after which to come again (RFC 3261 §21.5.4)."""
    return Reply(503, reason, (("Retry-After", str(retry_after_s)),))
