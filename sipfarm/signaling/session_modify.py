"""Changing a standing session from either side: re-INVITE and UPDATE.

RFC 3261 §14, RFC 3311, RFC 6141.
"""

from contextlib import suppress
from enum import IntEnum, auto
from typing import Final

import msgspec

from sipfarm.signaling import session_timer
from sipfarm.signaling.dialog import DialogError, refresh_target
from sipfarm.signaling.session_invite import objection, succeed, waiting_of
from sipfarm.signaling.session_messages import (
    ALLOW,
    SUPPORTED,
    acknowledge,
    allows_update,
    contact_of,
    draw,
    in_dialog_request,
    respond,
)
from sipfarm.signaling.session_moves import move, start_session_timer, stop_awaiting_ack
from sipfarm.signaling.session_state import Input, Modify, Record, State, Timer
from sipfarm.signaling.ua import (
    AnswerReceived,
    EndReason,
    Headers,
    ModifyFailed,
    OfferDue,
    Offered,
    OfferWanted,
    OfferWithdrawn,
    Output,
    Request,
    Response,
    SendCancel,
)

RETRY_AFTER_S_MAX: Final = 60
REFRESH_RETRY_S: Final = 5


class Busy(IntEnum):
    """What of an earlier offer/answer exchange is unfinished when a new one comes in."""

    NOTHING = auto()
    REMOTE = auto()  # a request of the peer waits for our final response
    LOCAL = auto()  # an INVITE or an offer of ours waits for its answer


GLARE: Final = {  # RFC 3261 §14.2, RFC 3311 §5.2; what is not here is taken
    (Busy.REMOTE, "INVITE"): 500,
    (Busy.REMOTE, "UPDATE"): 500,
    (Busy.LOCAL, "INVITE"): 491,
    (Busy.LOCAL, "UPDATE"): 491,
}


def receive_modify(record: Record, request: Request, now_ms: int) -> list[Output]:
    """A re-INVITE or UPDATE of the peer.

    An UPDATE without an offer is answered, all else is asked about.
    """
    is_plain = request.method == "UPDATE" and not request.body
    status = 0 if is_plain else GLARE.get((_busy(record), request.method), 0)
    if status:
        retry = (("Retry-After", str(draw(record, 0, 10))),) if status == 500 else ()
        return [respond(record, request.transaction, status, retry)]
    refusal = objection(request, record.options)
    target = ""
    if record.dialog is not None:
        try:
            target = refresh_target(record.dialog, request).remote_target
        except DialogError as error:
            refusal = refusal or (error.status, ())
    if refusal:
        return [respond(record, request.transaction, refusal[0], refusal[1])]
    record.peer_allows_update = allows_update(request, known=record.peer_allows_update)
    waiting = waiting_of(record, request, target)
    if is_plain:
        return [succeed(record, waiting, (), b"", now_ms)]
    acknowledged: list[Output] = []
    if request.method == "INVITE":
        # The peer saw our last 2xx, or it could not send this: its ACK was lost (RFC 5407 §3.1.4).
        stop_awaiting_ack(record)
        acknowledged = move(record, Input.ACK, now_ms)
    record.waiting = waiting
    return [*acknowledged, Offered(request.body) if request.body else OfferWanted()]


def accept(record: Record, headers: Headers, body: bytes, now_ms: int) -> list[Output]:
    """Answer the peer's offer, or give ours where it wanted one."""
    if record.waiting is None:
        return []
    return [succeed(record, record.waiting, headers, body, now_ms), *proceed(record, now_ms)]


def refuse(record: Record, status: int, headers: Headers, now_ms: int) -> list[Output]:
    """Turn down the peer's change; the session stays as it was (RFC 3261 §14.2)."""
    if record.waiting is None:
        return []
    refused = respond(record, record.waiting.transaction, status, headers)
    record.waiting = None
    return [refused, *proceed(record, now_ms)]


def withdraw(record: Record, now_ms: int) -> list[Output]:
    """The peer cancelled its re-INVITE."""
    return [*refuse(record, 487, (), now_ms), OfferWithdrawn()]


def want(record: Record, wanted: Modify, now_ms: int) -> list[Output]:
    """Change the session as soon as the way is free.

    A refresh is sent by itself. An offer is asked for when it can be sent, not before: until then
    what stands between the two ends may have changed.
    """
    record.wanted = wanted
    return proceed(record, now_ms)


def proceed(record: Record, now_ms: int) -> list[Output]:
    """Go on with the change that waits, if nothing stands in its way (RFC 3261 §14.1)."""
    if record.wanted is None or not _is_free(record):
        return []
    if not record.wanted.is_refresh:
        return [OfferDue()]
    by_update = record.peer_allows_update
    return send_modify(record, b"" if by_update else record.local_description, now_ms)


def send_modify(record: Record, body: bytes, now_ms: int) -> list[Output]:
    """Send the change that waits: a re-INVITE with an offer, or an UPDATE without."""
    wanted = record.wanted
    if wanted is None or record.dialog is None or not _is_free(record):
        return []
    record.wanted = None
    method = "INVITE" if body else "UPDATE"
    asked = session_timer.request_headers(record.timer, record.options.timer, record.min_se_s)
    headers = (contact_of(record), ALLOW, SUPPORTED, *asked)
    record.dialog, request = in_dialog_request(record, record.dialog, method, headers, body)
    record.modify = msgspec.structs.replace(
        wanted, key=request.key, method=method, body=body, is_given_up=False
    )
    options = record.options
    wait_ms = options.modify_ms_max if body else options.give_up_ms + options.t2_ms
    record.deadlines[Timer.MODIFY] = now_ms + wait_ms
    return [request]


def receive_modify_response(
    record: Record, response: Response | None, status: int, now_ms: int
) -> list[Output]:
    """What became of our re-INVITE or UPDATE; 408 or 481 ends the dialog.

    RFC 3261 §12.2.1.2, §14.1.
    """
    modify = record.modify
    if modify is None or status < 200:
        return []
    record.modify = None
    record.deadlines.pop(Timer.MODIFY, None)
    if status in {408, 481}:
        return move(record, Input.DIALOG_LOST, now_ms, EndReason.DIALOG_LOST)
    if status < 300 and response is not None:
        return _modified(record, modify, response, now_ms)
    return _not_modified(record, modify, response, status, now_ms)


def refresh(record: Record, now_ms: int) -> list[Output]:
    """Keep the session alive: any change of ours under way does it too (RFC 4028 §7.4)."""
    if record.modify is not None or record.wanted is not None:
        return []
    return want(record, Modify(is_refresh=True), now_ms)


def give_up_modify(record: Record, now_ms: int) -> list[Output]:
    """Our re-INVITE got no final response: CANCEL it.

    What then still says nothing has lost the dialog.
    """
    modify = record.modify
    if modify is None:
        return []
    if modify.method == "INVITE" and not modify.is_given_up:
        record.modify = msgspec.structs.replace(modify, is_given_up=True)
        record.deadlines[Timer.MODIFY] = now_ms + record.options.give_up_ms
        return [SendCancel(modify.key)]
    return receive_modify_response(record, None, 408, now_ms)


def _modified(record: Record, modify: Modify, response: Response, now_ms: int) -> list[Output]:
    outputs: list[Output] = []
    if record.dialog is not None:
        with suppress(DialogError):  # a 2xx with a Contact that is none: the target stays
            record.dialog = refresh_target(record.dialog, response)
        if modify.method == "INVITE":
            outputs.append(acknowledge(record, record.dialog, response.cseq))
    record.peer_allows_update = allows_update(response, known=record.peer_allows_update)
    record.timer = session_timer.agreed(response)
    start_session_timer(record, now_ms)
    if modify.body:
        if not response.body:
            return outputs + move(record, Input.HANG_UP, now_ms, EndReason.DIALOG_LOST)
        record.local_description = modify.body
        outputs.append(AnswerReceived(response.body, modify.body))
    return outputs + proceed(record, now_ms)


def _not_modified(
    record: Record, modify: Modify, response: Response | None, status: int, now_ms: int
) -> list[Output]:
    again = msgspec.structs.replace(modify, retries=modify.retries + 1)
    delay_ms = _retry_delay_ms(record, modify, response, status)
    if delay_ms is None or modify.retries >= record.options.retries_max:
        failed: list[Output] = [] if modify.is_refresh else [ModifyFailed(status)]
        return failed + proceed(record, now_ms)
    record.wanted = record.wanted or again
    if delay_ms:
        record.deadlines[Timer.RETRY_MODIFY] = now_ms + delay_ms
    return proceed(record, now_ms)


def _retry_delay_ms(
    record: Record, modify: Modify, response: Response | None, status: int
) -> int | None:
    """When a modification that failed is tried again: None never, 0 at once."""
    if status == 491:  # the owner of the Call-ID waits longer (RFC 3261 §14.1)
        return 10 * (draw(record, 210, 400) if record.is_uac else draw(record, 0, 200))
    if status == 422 and response is not None:
        record.min_se_s = max(record.min_se_s, session_timer.read_min_se(response))
        return 0
    if modify.method == "UPDATE" and status in {405, 420, 501}:
        record.peer_allows_update = False
        return 0
    retry_after = _retry_after_s(response)
    if status == 500 and retry_after is not None:
        return retry_after * 1_000
    return (retry_after or REFRESH_RETRY_S) * 1_000 if modify.is_refresh else None


def _retry_after_s(response: Response | None) -> int | None:
    text = (response.header("Retry-After") or "") if response is not None else ""
    digits = text.partition(";")[0].partition("(")[0].strip()
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
        return None
    return min(int(digits), RETRY_AFTER_S_MAX)


def _is_free(record: Record) -> bool:
    return (
        record.state is State.CONFIRMED
        and record.modify is None
        and record.waiting is None
        and record.unacknowledged is None
        and Timer.RETRY_MODIFY not in record.deadlines
    )


def _busy(record: Record) -> Busy:
    if record.waiting is not None:
        return Busy.REMOTE
    modify = record.modify
    ours = modify is not None and (modify.method == "INVITE" or bool(modify.body))
    offered = record.unacknowledged is not None and record.unacknowledged.has_offer
    return Busy.LOCAL if ours or offered else Busy.NOTHING
