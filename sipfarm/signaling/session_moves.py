"""Carrying out the moves of the session table (RFC 3261 §13 to §15)."""

from typing import Final

from sipfarm.signaling.session_messages import in_dialog_request, respond
from sipfarm.signaling.session_state import TABLE, Do, Input, Record, Timer, Unacknowledged
from sipfarm.signaling.session_timer import Refresher
from sipfarm.signaling.ua import (
    Confirmed,
    Ended,
    EndReason,
    Headers,
    Output,
    Released,
    SendCancel,
)

_ENDED_TIMERS: Final = (
    Timer.INVITE_EXPIRES,
    Timer.PROVISIONAL,
    Timer.REFRESH,
    Timer.EXPIRY,
    Timer.RETRY_MODIFY,
    Timer.MODIFY,
)
_REASONS: Final = {  # what the peer is told with our BYE (RFC 3326)
    EndReason.NOT_ACKNOWLEDGED: 'SIP ;cause=408 ;text="ACK missing"',
    EndReason.SESSION_EXPIRED: 'SIP ;cause=408 ;text="session timer expired"',
    EndReason.DIALOG_LOST: 'SIP ;cause=481 ;text="no answer within the dialog"',
}


def move(
    record: Record, what: Input, now_ms: int, reason: EndReason | None = None, status: int = 0
) -> list[Output]:
    """Make the move the table has for this input; what it has nothing for changes nothing."""
    found = TABLE.get((record.state, what))
    if found is None:
        return []
    record.state, todo = found
    if reason is not None and Do.END in todo:
        record.reason = reason
        record.final_status = status or record.final_status
    outputs: list[Output] = []
    for do in todo:
        outputs += _perform(record, do, now_ms)
    return outputs


def await_ack(record: Record, awaited: Unacknowledged, now_ms: int) -> None:
    """Start repeating a 2xx until its ACK comes (RFC 3261 §13.3.1.4)."""
    record.unacknowledged = awaited
    record.deadlines[Timer.RETRANSMIT_2XX] = now_ms + awaited.interval_ms
    record.deadlines[Timer.ACK] = now_ms + record.options.give_up_ms


def stop_awaiting_ack(record: Record) -> None:
    record.unacknowledged = None
    record.deadlines.pop(Timer.RETRANSMIT_2XX, None)
    record.deadlines.pop(Timer.ACK, None)


def start_session_timer(record: Record, now_ms: int) -> None:
    """Count the session interval from now (RFC 4028 §7.2, §9)."""
    record.deadlines.pop(Timer.REFRESH, None)
    record.deadlines.pop(Timer.EXPIRY, None)
    if record.timer is None:
        return
    record.deadlines[Timer.EXPIRY] = record.timer.expires_at_ms(now_ms)
    if record.timer.refresher is Refresher.LOCAL:
        record.deadlines[Timer.REFRESH] = record.timer.refresh_at_ms(now_ms)


def _perform(record: Record, do: Do, now_ms: int) -> list[Output]:
    match do:
        case Do.REFUSE_INVITE:
            return _refuse_waiting(record, record.final_status, record.final_headers)
        case Do.REFUSE_MODIFY:
            return _refuse_waiting(record, 487, ())
        case Do.SEND_CANCEL:
            record.deadlines[Timer.INVITE_EXPIRES] = now_ms + record.options.give_up_ms
            return [SendCancel(record.invite_key)]
        case Do.SEND_BYE:
            return _send_bye(record, now_ms)
        case Do.CONFIRM:
            return [Confirmed()]
        case Do.END:
            return _end(record)
        case Do.RELEASE:
            record.deadlines.clear()
            return [Released()]


def _refuse_waiting(record: Record, status: int, headers: Headers) -> list[Output]:
    if record.waiting is None:
        return []
    refused = respond(record, record.waiting.transaction, status, headers)
    record.waiting = None
    record.provisional = None
    return [refused]


def _send_bye(record: Record, now_ms: int) -> list[Output]:
    stop_awaiting_ack(record)
    assert record.dialog is not None, "the table lets only a dialog end with BYE"
    reason = _REASONS.get(record.reason)
    headers: Headers = (("Reason", reason),) if reason else ()
    record.dialog, bye = in_dialog_request(record, record.dialog, "BYE", headers)
    record.bye_key = bye.key
    record.deadlines[Timer.BYE] = now_ms + record.options.give_up_ms + record.options.t2_ms
    return [bye]


def _end(record: Record) -> list[Output]:
    for timer in _ENDED_TIMERS:
        record.deadlines.pop(timer, None)
    record.modify = None
    record.wanted = None
    return [Ended(record.reason, record.final_status)]
