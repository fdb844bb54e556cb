"""The lines of a packet log: what came to a member or left it, and what became of it there."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from sipfarm.base.net import HostPort
from sipfarm.native import Hop

Packet = tuple[str, str, int, int, Hop, bytes]
"""What, why, from member, to member, hop and bytes: as `Output.take_packets` tells it."""
What = Literal["worked_on", "absorbed", "answered", "passed_on", "dropped", "sent"]

CHARACTERS_MAX: Final = 256
"""Of a value that a peer made; the rest of it is left out."""
HEAD_BYTES_MAX: Final = 16_384
"""Header fields are looked for so far."""
DIGEST_BYTES: Final = 8
SENT: Final = "sent"
NONE: Final = "none"

_CALL_ID = re.compile(rb"^(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_CSEQ = re.compile(rb"^cseq[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_VIA = re.compile(rb"^(?:via|v)[ \t]*:[ \t]*([^\r\n,]*)", re.IGNORECASE | re.MULTILINE)
_BRANCH = re.compile(rb";[ \t]*branch[ \t]*=[ \t]*([^;, \t\r\n]*)", re.IGNORECASE)


class PacketLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One packet at one member. Who passes a packet on and who works on it have a line each."""

    at: str
    """UTC."""
    what: What
    why: str = ""
    """Why it was dropped, or answered without a transaction."""
    from_member: int = 0
    """Whose packet it is: it came over the bus; 0: off the wire, or made here."""
    to_member: int = 0
    """Where it went over the bus: to its owner, or to whoever holds its connection."""
    transport: str
    local: str
    remote: str
    start: str = ""
    """Method and Request-URI, or status and reason."""
    call_id: str = ""
    cseq: str = ""
    branch: str = ""
    """Of the topmost Via."""
    length: int
    digest: str
    """Of its bytes: the first 16 digits of their SHA-256."""
    lost: int = 0
    """Packets before it that have no line, since there was no room."""


def lines_of(
    wall_ms: int, packets: Iterable[Packet], listens: Sequence[HostPort]
) -> Iterator[PacketLine]:
    """The packets of one turn; `listens` are the listening points by their number."""
    at = datetime.fromtimestamp(wall_ms / 1_000, UTC).isoformat(timespec="milliseconds")
    for what, why, from_member, to_member, hop, wire in packets:
        head = wire[:HEAD_BYTES_MAX].partition(b"\r\n\r\n")[0]
        via = _VIA.search(head)
        yield PacketLine(
            at=at.replace("+00:00", "Z"),
            what=msgspec.convert(what, What),
            why="" if why == NONE else why,
            from_member=from_member,
            to_member=to_member,
            transport=hop.transport,
            local=str(listens[hop.local]) if hop.local < len(listens) else "",
            remote=str(HostPort(hop.host, hop.port)),
            start=_start(head),
            call_id=_first(_CALL_ID, head),
            cseq=_first(_CSEQ, head),
            branch=_first(_BRANCH, via[1]) if via else "",
            length=len(wire),
            digest=digest_of(wire),
        )


def digest_of(wire: bytes) -> str:
    """What stands for a packet's bytes."""
    return hashlib.sha256(wire).hexdigest()[: 2 * DIGEST_BYTES]


def _start(head: bytes) -> str:
    line = _text(head.partition(b"\r\n")[0])
    return line.removeprefix("SIP/2.0 ").removesuffix(" SIP/2.0")


def _first(pattern: re.Pattern[bytes], within: bytes) -> str:
    found = pattern.search(within)
    return _text(found[1].strip()) if found else ""


def _text(value: bytes) -> str:
    return value[:CHARACTERS_MAX].decode("utf-8", "backslashreplace")
