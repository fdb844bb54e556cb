"""A peer that says what a test tells it to, and a ladder of what comes back, in virtual time.

The messages are plain values with the face of the native ones (RFC 3261 §7); nothing is parsed.
"""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from sipfarm.media.plan import CloseMedia, OpenMedia, UpdateMedia
from sipfarm.pbx.leg import LegOutput
from sipfarm.signaling.ua import (
    SDP_TYPE,
    AnswerReceived,
    Ended,
    Headers,
    ModifyFailed,
    Output,
    Request,
    Respond,
    Response,
    Retransmit,
    Ringing,
    SendAck,
    SendCancel,
    SendRequest,
)


class PlainMessage(msgspec.Struct, frozen=True, kw_only=True):
    """What request and response have in common."""

    method: str
    call_id: str
    from_tag: str
    to_tag: str
    cseq: int
    lines: Headers
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for n, value in self.lines if n.lower() == name.lower()), None)

    def values(self, name: str) -> list[str]:
        """Comma lists are split; no value of a test has a comma of its own."""
        found = (value for n, value in self.lines if n.lower() == name.lower())
        return [part.strip() for value in found for part in value.split(",")]


class PlainRequest(PlainMessage, frozen=True, kw_only=True):
    """A request as the engine hands it in."""

    request_uri: str
    transaction: int
    hop: object = None


class PlainResponse(PlainMessage, frozen=True, kw_only=True):
    """A response as the engine hands it in."""

    status: int


class ScriptedPeer:
    """A user agent at the far end of one dialog: it counts CSeq and knows its tags, no more."""

    contact = "sip:alice@192.0.2.7:5062"
    party = '"Alice, of Wonderland" <sip:alice@example.test>'
    callee = "<sip:echo@example.test>"

    def __init__(self, call_id: str = "call-1", tag: str = "alice-tag") -> None:
        self.call_id = call_id
        self.tag = tag
        self.farm_tag = ""
        self.cseq = 0
        self.transaction = 0

    def request(
        self,
        method: str,
        body: bytes = b"",
        headers: Headers = (),
        cseq: int | None = None,
        contact: str | None = None,
    ) -> PlainRequest:
        """The next request; an ACK is told its CSeq, and takes no transaction."""
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        self.transaction += method != "ACK"
        to = f"{self.callee};tag={self.farm_tag}" if self.farm_tag else self.callee
        lines: list[tuple[str, str]] = [
            ("From", f"{self.party};tag={self.tag}"),
            ("To", to),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", f"<{contact or self.contact}>"),
            *headers,
        ]
        if body:
            lines.append(("Content-Type", SDP_TYPE))
        return PlainRequest(
            method=method,
            call_id=self.call_id,
            from_tag=self.tag,
            to_tag=self.farm_tag,
            cseq=cseq,
            lines=_last_of_each(lines),
            body=body,
            request_uri="sip:echo@127.0.0.1:5060",
            transaction=self.transaction,
        )

    def response(
        self,
        request: SendRequest,
        status: int,
        body: bytes = b"",
        headers: Headers = (),
        tag: str | None = None,
    ) -> PlainResponse:
        """Our answer to a request of the farm; `tag` makes it another branch's."""
        tag = self.tag if tag is None else tag
        given = dict(request.headers)
        to = given["To"] if ";tag=" in given["To"] else f"{given['To']};tag={tag}"
        lines = (
            ("From", given["From"]),
            ("To", to),
            ("Contact", f"<{self.contact}>"),
            *headers,
        )
        return PlainResponse(
            method=request.method,
            call_id=given["Call-ID"],
            from_tag=given["From"].rpartition(";tag=")[2],
            to_tag=to.rpartition(";tag=")[2],
            cseq=int(given["CSeq"].partition(" ")[0]),
            lines=lines,
            body=body,
            status=status,
        )

    def hear(self, respond: Respond) -> None:
        """Take the farm's tag from its answer (RFC 3261 §12.1.2)."""
        self.farm_tag = respond.to_tag


class Endpoint(Protocol):
    """What a ladder can be drawn of: a session, a leg or a call."""

    def receive(self, request: Request, now_ms: int) -> Sequence[Output | LegOutput]: ...
    def ack(self, request: Request, now_ms: int) -> Sequence[Output | LegOutput]: ...
    def cancel(self, transaction: int, now_ms: int) -> Sequence[Output | LegOutput]: ...
    def response(
        self, key: int, response: Response | None, now_ms: int, status: int = 408
    ) -> Sequence[Output | LegOutput]: ...
    def expire(self, now_ms: int) -> Sequence[Output | LegOutput]: ...
    def next_deadline_ms(self) -> int | None: ...


EndpointT = TypeVar("EndpointT", bound=Endpoint)


class Ladder(Generic[EndpointT]):
    """Hands messages to an endpoint at its own pace and notes everything that comes back."""

    def __init__(self, endpoint: EndpointT, peer: ScriptedPeer) -> None:
        self.endpoint = endpoint
        self.peer = peer
        self.now_ms = 0
        self.outputs: list[Output | LegOutput] = []
        self.lines: list[str] = []
        self._methods: dict[int, str] = {}

    def send(self, request: PlainRequest) -> list[Output | LegOutput]:
        """The peer's request arrives; the farm's tag is learnt from what it answers."""
        self._methods[request.transaction] = request.method
        self.lines.append(f"{self.now_ms} > {request.method}")
        outputs = self.note(self.endpoint.receive(request, self.now_ms))
        return outputs

    def ack(self, request: PlainRequest) -> list[Output | LegOutput]:
        self.lines.append(f"{self.now_ms} > ACK")
        return self.note(self.endpoint.ack(request, self.now_ms))

    def cancel(self, transaction: int) -> list[Output | LegOutput]:
        self.lines.append(f"{self.now_ms} > CANCEL")
        return self.note(self.endpoint.cancel(transaction, self.now_ms))

    def answer(
        self, request: SendRequest, status: int, body: bytes = b"", headers: Headers = ()
    ) -> list[Output | LegOutput]:
        self.lines.append(f"{self.now_ms} > {status} {request.method}")
        response = self.peer.response(request, status, body, headers)
        return self.note(self.endpoint.response(request.key, response, self.now_ms))

    def no_answer(self, request: SendRequest, status: int = 408) -> list[Output | LegOutput]:
        self.lines.append(f"{self.now_ms} > nothing to {request.method}")
        return self.note(self.endpoint.response(request.key, None, self.now_ms, status))

    def run_until(self, now_ms: int) -> list[Output | LegOutput]:
        """Let the time pass; each deadline is met at its own moment."""
        outputs: list[Output | LegOutput] = []
        while (deadline_ms := self.endpoint.next_deadline_ms()) is not None:
            if deadline_ms > now_ms:
                break
            self.now_ms = max(self.now_ms, deadline_ms)
            outputs += self.note(self.endpoint.expire(self.now_ms))
        self.now_ms = max(self.now_ms, now_ms)
        return outputs

    def note(self, outputs: Sequence[Output | LegOutput]) -> list[Output | LegOutput]:
        for output in outputs:
            if isinstance(output, Respond) and output.status > 100 and not self.peer.farm_tag:
                self.peer.hear(output)
            self.lines.append(f"{self.now_ms} {self._told(output)}")
        self.outputs += outputs
        return list(outputs)

    def last(self, method: str) -> SendRequest:
        """The last request of the farm with this method."""
        sent = (o for o in reversed(self.outputs) if isinstance(o, SendRequest))
        return next(o for o in sent if o.method == method)

    def text(self) -> str:
        return "\n".join(self.lines)

    def _told(self, output: Output | LegOutput) -> str:
        match output:
            case Respond(transaction, status):
                return f"< {status} {self._methods.get(transaction, '?')}"
            case Retransmit(transaction):
                return f"< 200 {self._methods.get(transaction, '?')} again"
            case SendRequest(_, method):
                return f"< {method}"
            case SendAck():
                return "< ACK"
            case SendCancel():
                return "< CANCEL"
            case OpenMedia(kind, stream):
                return f"+ open {kind} {stream.direction.attribute}"
            case UpdateMedia(stream):
                return f"+ update {stream.direction.attribute}"
            case CloseMedia():
                return "+ close"
            case Ended(reason):
                return f"* ended {reason.value}"
            case ModifyFailed(status) | Ringing(status):
                return f"* {type(output).__name__} {status}"
            case AnswerReceived():
                return "* AnswerReceived"
            case _:
                return f"* {type(output).__name__}"


def _last_of_each(lines: list[tuple[str, str]]) -> Headers:
    """A header field given twice stands as given last, so that a test can replace the usual one."""
    return tuple(dict(lines).items())
