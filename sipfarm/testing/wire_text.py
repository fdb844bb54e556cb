"""SIP messages as the scripted phones read and write them: plain text, nothing of the engine's."""

import re
from typing import Final

Line = tuple[str, str]
_TAG: Final = re.compile(r";tag=([^;>\s,]+)")
_BRANCH: Final = re.compile(r";branch=([^;\s,]+)")
_URI: Final = re.compile(r"<([^>]+)>")
_HOST: Final = re.compile(r"sips?:(?:[^@;>]*@)?([0-9A-Za-z.-]+)(?::(\d+))?")


class WireText:
    """A message that came: its start line, and its header fields in their order."""

    __slots__ = ("_first", "body", "data", "lines", "method", "request_uri", "status")

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        start, *fields = head.decode("utf-8", "surrogateescape").split("\r\n")
        self.data = data
        self.lines: list[Line] = []
        self._first: dict[str, str] = {}
        for field in fields:
            name, _, value = field.partition(":")
            value = value.strip()
            self.lines.append((name, value))
            self._first.setdefault(name.lower(), value)
        first, second, _ = start.split(" ", 2)
        self.status = int(second) if first == "SIP/2.0" else 0
        self.request_uri = "" if self.status else second
        self.method = self.value("CSeq").partition(" ")[2] if self.status else first

    @property
    def is_request(self) -> bool:
        return self.status == 0

    def value(self, name: str) -> str:
        """The first value of that name; empty where there is none."""
        return self._first.get(name.lower(), "")

    def values(self, name: str) -> list[str]:
        """All values of a header whose elements hold no commas in quotes."""
        name = name.lower()
        found: list[str] = []
        for known, value in self.lines:
            if known.lower() == name:
                found += [part.strip() for part in value.split(",")]
        return found

    @property
    def call_id(self) -> str:
        return self.value("Call-ID")

    @property
    def cseq(self) -> int:
        return int(self.value("CSeq").partition(" ")[0])

    @property
    def from_tag(self) -> str:
        return tag_of(self.value("From"))

    @property
    def to_tag(self) -> str:
        return tag_of(self.value("To"))

    @property
    def branch(self) -> str:
        return branch_of(self.value("Via"))


def tag_of(value: str) -> str:
    found = _TAG.search(value)
    return found[1] if found else ""


def branch_of(via: str) -> str:
    found = _BRANCH.search(via)
    return found[1] if found else ""


def uri_of(value: str) -> str:
    """The URI in a name-addr."""
    found = _URI.search(value)
    return found[1] if found else value.partition(";")[0].strip()


def endpoint_of(uri: str) -> tuple[str, int]:
    """Where a SIP URI with a literal address points."""
    found = _HOST.match(uri)
    if found is None:
        raise ValueError(f"no address in {uri}")
    return found[1], int(found[2] or 5060)


def request_bytes(method: str, uri: str, lines: list[Line], body: bytes = b"") -> bytes:
    return _compose(f"{method} {uri} SIP/2.0", lines, body)


def response_bytes(
    request: WireText, status: int, to_tag: str, more: tuple[Line, ...] = (), body: bytes = b""
) -> bytes:
    """A response by RFC 3261 §8.2.6: Via, From, To, Call-ID and CSeq of the request."""
    lines: list[Line] = []
    for name, value in request.lines:
        lower = name.lower()
        if lower in {"via", "from", "call-id", "cseq"} or (
            lower == "record-route" and 100 < status < 300
        ):
            lines.append((name, value))
        elif lower == "to":
            tagged = value if not to_tag or ";tag=" in value else f"{value};tag={to_tag}"
            lines.append((name, tagged))
    return _compose(f"SIP/2.0 {status} {REASONS.get(status, 'Status')}", [*lines, *more], body)


def _compose(start: str, lines: list[Line], body: bytes) -> bytes:
    text = [start, *[f"{name}: {value}" for name, value in lines]]
    text.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(text).encode("utf-8", "surrogateescape") + body


REASONS: Final = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    302: "Moved Temporarily",
    404: "Not Found",
    408: "Request Timeout",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    486: "Busy Here",
    487: "Request Terminated",
    491: "Request Pending",
    500: "Server Internal Error",
    503: "Service Unavailable",
    603: "Decline",
}
