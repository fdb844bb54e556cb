"""The messages a session writes: responses to the peer, requests within the dialog.

RFC 3261 §8.2.6, §12.2.1.
"""

from typing import Final

import msgspec

from sipfarm.signaling.dialog import Dialog, next_request, request_headers
from sipfarm.signaling.session_state import Record
from sipfarm.signaling.ua import (
    SDP_TYPE,
    Headers,
    Message,
    Respond,
    SendAck,
    SendRequest,
    reason_phrase,
)

ALLOW: Final = ("Allow", "INVITE, ACK, CANCEL, BYE, UPDATE, INFO, OPTIONS")
SUPPORTED: Final = ("Supported", "timer")
ACCEPT: Final = ("Accept", SDP_TYPE)
EXTENSIONS: Final = frozenset({"timer"})
KNOWN_METHODS: Final = frozenset(
    {"MESSAGE", "REFER", "SUBSCRIBE", "PUBLISH", "REGISTER", "NOTIFY", "PRACK", "CANCEL", "ACK"}
)


def respond(
    record: Record, transaction: int, status: int, headers: Headers = (), body: bytes = b""
) -> Respond:
    """Answer a request; our tag goes where its To has none (RFC 3261 §8.2.6.2)."""
    typed = (("Content-Type", SDP_TYPE),) if body else ()
    return Respond(
        transaction=transaction,
        status=status,
        reason=reason_phrase(status),
        to_tag=record.local_tag,
        headers=(*headers, *typed),
        body=body,
    )


def contact_of(record: Record) -> tuple[str, str]:
    return ("Contact", f"<{record.local_contact}>")


def in_dialog_request(
    record: Record, dialog: Dialog, method: str, headers: Headers = (), body: bytes = b""
) -> tuple[Dialog, SendRequest]:
    """A request within a dialog under the session's next key.

    And the dialog with its CSeq taken.
    """
    dialog = next_request(dialog)
    key = record.next_key
    record.next_key += 1
    tied = request_headers(dialog, method, dialog.local_cseq)
    typed = (("Content-Type", SDP_TYPE),) if body else ()
    lines = (*tied, *headers, *typed)
    return dialog, SendRequest(
        key, method, dialog.remote_target, dialog.route_set, lines, body, record.hop
    )


def acknowledge(record: Record, dialog: Dialog, cseq: int) -> SendAck:
    """The ACK to a 2xx of the peer: the CSeq number of its INVITE (RFC 3261 §13.2.2.4)."""
    lines = request_headers(dialog, "ACK", cseq)
    return SendAck(dialog.remote_target, dialog.route_set, lines, b"", record.hop)


def unsupported_extensions(request: Message) -> tuple[str, ...]:
    """What the peer requires and we do not have (RFC 3261 §8.2.2.3)."""
    return tuple(o for o in request.values("Require") if o.lower() not in EXTENSIONS)


def is_session_description(request: Message) -> bool:
    """Whether a body is absent or one that we can read (RFC 3261 §8.2.3)."""
    if not request.body:
        return True
    encodings = request.values("Content-Encoding")
    content_type = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    return content_type == SDP_TYPE and all(e.lower() == "identity" for e in encodings)


def allows_update(message: Message, known: bool) -> bool:
    """Whether the peer takes UPDATE, by its last Allow (RFC 3311 §4)."""
    allowed = message.values("Allow")
    return "UPDATE" in allowed if allowed else known


def draw(record: Record, low: int, high: int) -> int:
    """A number in low..high from the session's seed (the mixing step of splitmix64)."""
    record.draws += 1
    mixed = (record.seed + record.draws * 0x9E3779B97F4A7C15) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return low + (mixed ^ (mixed >> 31)) % (high - low + 1)


def with_target(dialog: Dialog, target: str) -> Dialog:
    return msgspec.structs.replace(dialog, remote_target=target) if target else dialog
