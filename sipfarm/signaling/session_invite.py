"""Answering an INVITE: ring, answer, refuse, and the ACK (RFC 3261 §13.3)."""

from typing import Final

from sipfarm.signaling import session_timer
from sipfarm.signaling.dialog import DialogError, uas_dialog
from sipfarm.signaling.session_messages import (
    ACCEPT,
    ALLOW,
    SUPPORTED,
    allows_update,
    contact_of,
    is_session_description,
    respond,
    unsupported_extensions,
    with_target,
)
from sipfarm.signaling.session_moves import (
    await_ack,
    move,
    start_session_timer,
    stop_awaiting_ack,
)
from sipfarm.signaling.session_state import (
    Input,
    Record,
    SessionOptions,
    Timer,
    Unacknowledged,
    Waiting,
)
from sipfarm.signaling.ua import (
    AnswerReceived,
    EndReason,
    Headers,
    Offered,
    OfferWanted,
    Output,
    Request,
    Respond,
)

EXPIRES_S_MAX: Final = 2**31 - 1


def receive_invite(record: Record, invite: Request, now_ms: int) -> list[Output]:
    """Take the INVITE that a session begins with, or refuse it at once (RFC 3261 §13.3.1)."""
    record.waiting = waiting_of(record, invite)
    record.hop = invite.hop
    record.peer_allows_update = allows_update(invite, known=False)
    move(record, Input.INVITE, now_ms)
    refusal = objection(invite, record.options)
    try:
        record.dialog = uas_dialog(invite, record.local_tag, record.local_contact)
    except DialogError as error:
        refusal = refusal or (error.status, ())
    if refusal:
        return refuse_invite(record, refusal[0], refusal[1], now_ms)
    record.deadlines[Timer.INVITE_EXPIRES] = now_ms + _patience_ms(invite, record.options)
    return [Offered(invite.body) if invite.body else OfferWanted()]


def ring(record: Record, status: int, headers: Headers, body: bytes, now_ms: int) -> list[Output]:
    """Send a provisional response and say it again each minute, for proxies' Timer C.

    RFC 3261 §13.3.1.1.
    """
    if record.waiting is None:
        return []
    headers = (contact_of(record), ALLOW, *headers)
    record.provisional = respond(record, record.waiting.transaction, status, headers, body)
    record.deadlines[Timer.PROVISIONAL] = now_ms + record.options.provisional_every_ms
    return [record.provisional]


def ring_on(record: Record, now_ms: int) -> list[Output]:
    if record.provisional is None:
        return []
    record.deadlines[Timer.PROVISIONAL] = now_ms + record.options.provisional_every_ms
    return [record.provisional]


def answer_invite(record: Record, headers: Headers, body: bytes, now_ms: int) -> list[Output]:
    """Send the 2xx to the first INVITE (RFC 3261 §13.3.1.4)."""
    waiting = record.waiting
    if waiting is None:
        return []
    record.provisional = None
    record.deadlines.pop(Timer.PROVISIONAL, None)
    record.deadlines.pop(Timer.INVITE_EXPIRES, None)
    success = succeed(record, waiting, headers, body, now_ms)
    return [success, *move(record, Input.ANSWER, now_ms)]


def succeed(
    record: Record, waiting: Waiting, headers: Headers, body: bytes, now_ms: int
) -> Respond:
    """The 2xx to an INVITE or UPDATE, and what it brings.

    Target, session timer, the wait for the ACK.
    """
    if record.waiting is waiting:
        record.waiting = None
    if record.dialog is not None:
        record.dialog = with_target(record.dialog, waiting.target)
    if body:
        record.local_description = body
    record.timer = waiting.timer
    start_session_timer(record, now_ms)
    if waiting.method == "INVITE":
        awaited = Unacknowledged(
            transaction=waiting.transaction,
            cseq=waiting.cseq,
            has_offer=bool(body) and not waiting.has_offer,
            interval_ms=record.options.t1_ms,
        )
        await_ack(record, awaited, now_ms)
    stated = (contact_of(record), ALLOW, SUPPORTED, *waiting.timer_headers, *headers)
    return respond(record, waiting.transaction, 200, stated, body)


def refuse_invite(
    record: Record,
    status: int,
    headers: Headers,
    now_ms: int,
    what: Input = Input.REFUSE,
    reason: EndReason = EndReason.REJECTED,
) -> list[Output]:
    """Give the first INVITE a final response other than 2xx."""
    record.final_headers = headers
    return move(record, what, now_ms, reason, status)


def receive_ack(record: Record, ack: Request, now_ms: int) -> list[Output]:
    """The ACK to a 2xx: the session stands; it carries the answer if the 2xx carried the offer.

    §13.2.2.4.
    """
    awaited = record.unacknowledged
    if awaited is None or awaited.cseq != ack.cseq:
        return []
    stop_awaiting_ack(record)
    answered: list[Output] = []
    if awaited.has_offer and ack.body and is_session_description(ack):
        answered = [AnswerReceived(ack.body, record.local_description)]
    moved = move(record, Input.ACK, now_ms)
    if awaited.has_offer and not answered:
        return moved + move(record, Input.HANG_UP, now_ms, EndReason.NOT_ACKNOWLEDGED)
    return answered + moved


def waiting_of(record: Record, request: Request, target: str = "") -> Waiting:
    """A request of the peer, with the session timer that a 2xx to it would state."""
    timer = session_timer.accept(request, record.options.timer)
    return Waiting(
        transaction=request.transaction,
        method=request.method,
        cseq=request.cseq,
        has_offer=bool(request.body),
        target=target,
        timer=timer,
        timer_headers=session_timer.response_headers(timer, request),
    )


def objection(request: Request, options: SessionOptions) -> tuple[int, Headers] | None:
    """Why an INVITE or UPDATE cannot be taken as it is, in the order of RFC 3261 §8.2."""
    missing = unsupported_extensions(request)
    if missing:
        return 420, (("Unsupported", ", ".join(missing)),)
    if not is_session_description(request):
        return 415, (ACCEPT, ("Accept-Encoding", "identity"))
    if session_timer.is_too_small(request, options.timer):
        return 422, (("Min-SE", str(options.timer.min_se_s)),)
    return None


def _patience_ms(invite: Request, options: SessionOptions) -> int:
    """How long the INVITE may go unanswered: its Expires, within our own bound.

    RFC 3261 §13.3.1.
    """
    text = (invite.header("Expires") or "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return options.ring_ms_max
    return min(int(text) * 1_000, options.ring_ms_max)
