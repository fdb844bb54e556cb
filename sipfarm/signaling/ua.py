"""What a user agent is told and what it says: between a session and the engine (RFC 3261 §8).

Messages are read through protocols, which the engine's own values satisfy. Whatever a session
causes is returned as the frozen values below: commands for the engine first, then what whoever owns
the session is told.
"""

from enum import StrEnum
from typing import Final, Protocol

import msgspec

SDP_TYPE: Final = "application/sdp"

Headers = tuple[tuple[str, str], ...]


class Message(Protocol):
    """A received SIP message, parsed and immutable (RFC 3261 §7)."""

    @property
    def method(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def call_id(self) -> str: ...
    @property
    def from_tag(self) -> str: ...
    @property
    def to_tag(self) -> str: ...
    @property
    def cseq(self) -> int: ...
    def header(self, name: str) -> str | None: ...
    def values(self, name: str) -> list[str]: ...


class Request(Message, Protocol):
    """A received request with its server transaction and the hop it came over (RFC 3261 §8.2)."""

    @property
    def request_uri(self) -> str: ...
    @property
    def transaction(self) -> int: ...
    @property
    def hop(self) -> object: ...


class Response(Message, Protocol):
    """A received response (RFC 3261 §8.1.3)."""

    @property
    def status(self) -> int: ...


class Respond(msgspec.Struct, frozen=True):
    """Answer a server transaction (RFC 3261 §8.2.6).

    Via, From, To, Call-ID, CSeq and Record-Route are the engine's, which adds `to_tag` to a To
    that has none.
    """

    transaction: int
    status: int
    reason: str
    to_tag: str
    headers: Headers = ()
    body: bytes = b""


class Retransmit(msgspec.Struct, frozen=True):
    """Send the 2xx of this server transaction once more (RFC 3261 §13.3.1.4)."""

    transaction: int


class SendRequest(msgspec.Struct, frozen=True):
    """Start a client transaction.

    Its responses come back under `key`, which is unique within the session. The engine finds the
    way: by the route set, or by `hop`, where the peer was heard last, or to the target `uri`.
    """

    key: int
    method: str
    uri: str
    route: tuple[str, ...]
    headers: Headers
    body: bytes
    hop: object


class SendAck(msgspec.Struct, frozen=True):
    """ACK a 2xx: no transaction, no answer (RFC 3261 §13.2.2.4)."""

    uri: str
    route: tuple[str, ...]
    headers: Headers
    body: bytes
    hop: object


class SendCancel(msgspec.Struct, frozen=True):
    """CANCEL the INVITE sent under `key` (RFC 3261 §9.1)."""

    key: int


class Ringing(msgspec.Struct, frozen=True):
    """The callee answered provisionally; `body` is its early session description, if any."""

    status: int
    body: bytes = b""


class Offered(msgspec.Struct, frozen=True):
    """The peer's offer waits for `answer` (first INVITE), `accept` or `refuse` (RFC 3264 §4)."""

    body: bytes


class OfferWanted(msgspec.Struct, frozen=True):
    """An INVITE without an offer: whoever accepts it gives ours (RFC 3261 §14.2)."""


class OfferDue(msgspec.Struct, frozen=True):
    """The way is free for the change that was asked for by `modify`: `offer` sends it.

    It comes again whenever the way is free anew, until the offer is given.
    """


class OfferWithdrawn(msgspec.Struct, frozen=True):
    """The peer cancelled its re-INVITE before we answered: the session stays as it was.

    RFC 6141 §3.3.
    """


class AnswerReceived(msgspec.Struct, frozen=True):
    """The answer to our offer, and that offer."""

    body: bytes
    offer: bytes


class ModifyFailed(msgspec.Struct, frozen=True):
    """Our offer was turned down; the session stays as it was (RFC 3261 §14.1)."""

    status: int


class Confirmed(msgspec.Struct, frozen=True):
    """The session stands: our 2xx was acknowledged, or we acknowledged theirs."""


class InfoReceived(msgspec.Struct, frozen=True):
    """An INFO, answered already (RFC 6086)."""

    content_type: str
    body: bytes


class EndReason(StrEnum):
    """Why a call is over."""

    BYE_RECEIVED = "bye_received"
    BYE_SENT = "bye_sent"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    INVITE_EXPIRED = "invite_expired"
    NOT_ACKNOWLEDGED = "not_acknowledged"
    SESSION_EXPIRED = "session_expired"
    DIALOG_LOST = "dialog_lost"
    DURATION_EXCEEDED = "duration_exceeded"


class Ended(msgspec.Struct, frozen=True):
    """The call is over; `status` is the final response of a call that never stood."""

    reason: EndReason
    status: int = 0


class Released(msgspec.Struct, frozen=True):
    """Nothing more will come of the session: it may be forgotten."""


EngineCommand = Respond | Retransmit | SendRequest | SendAck | SendCancel
SessionEvent = (
    Ringing
    | Offered
    | OfferWanted
    | OfferDue
    | OfferWithdrawn
    | AnswerReceived
    | ModifyFailed
    | Confirmed
    | InfoReceived
    | Ended
    | Released
)
Output = EngineCommand | SessionEvent

REASON_PHRASES: Final = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    200: "OK",
    400: "Bad Request",
    405: "Method Not Allowed",
    408: "Request Timeout",
    415: "Unsupported Media Type",
    420: "Bad Extension",
    422: "Session Interval Too Small",
    469: "Bad Info Package",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    603: "Decline",
}


def reason_phrase(status: int) -> str:
    """The reason phrase that goes with a status (RFC 3261 §21)."""
    return REASON_PHRASES.get(status, "OK" if status < 300 else "Failure")
