"""Making a call: INVITE as user agent client (RFC 3261 §13.2)."""

from contextlib import suppress
from typing import Final

import msgspec

from sipfarm.signaling import session_timer
from sipfarm.signaling.dialog import Dialog, DialogError, tagged, uac_dialog
from sipfarm.signaling.session_messages import (
    ALLOW,
    SUPPORTED,
    acknowledge,
    allows_update,
    contact_of,
    in_dialog_request,
)
from sipfarm.signaling.session_moves import move, start_session_timer
from sipfarm.signaling.session_state import Input, Record, State, Timer
from sipfarm.signaling.ua import (
    AnswerReceived,
    EndReason,
    Headers,
    Output,
    Response,
    Ringing,
)

STRAYS_MAX: Final = 8


class Invitation(msgspec.Struct, frozen=True):
    """What a new call needs.

    Parties as From and To values without our tag, an offer, and where it goes first.
    """

    uri: str
    from_party: str
    to_party: str
    call_id: str
    offer: bytes
    hop: object = None
    route: tuple[str, ...] = ()
    headers: Headers = ()


def call(record: Record, invitation: Invitation, now_ms: int) -> list[Output]:
    """Send the INVITE (RFC 3261 §13.2.1)."""
    move(record, Input.CALL, now_ms)
    record.is_uac = True
    record.hop = invitation.hop
    record.local_description = invitation.offer
    half = Dialog(
        call_id=invitation.call_id,
        local_tag=record.local_tag,
        remote_tag="",
        local_party=tagged(invitation.from_party, record.local_tag),
        remote_party=invitation.to_party,
        local_contact=record.local_contact,
        remote_target=invitation.uri,
        route_set=invitation.route,
        local_cseq=0,
        remote_cseq=-1,
    )
    asked = session_timer.request_headers(None, record.options.timer, record.min_se_s)
    headers = (contact_of(record), ALLOW, SUPPORTED, *asked, *invitation.headers)
    record.dialog, request = in_dialog_request(record, half, "INVITE", headers, invitation.offer)
    record.invite_key = request.key
    record.deadlines[Timer.INVITE_EXPIRES] = now_ms + record.options.ring_ms_max
    return [request]


def receive_invite_response(
    record: Record, response: Response | None, status: int, now_ms: int
) -> list[Output]:
    """A response to the INVITE that began the session; None: it timed out or could not be sent."""
    if response is None or status >= 300:
        record.deadlines.pop(Timer.INVITE_EXPIRES, None)
        return move(record, Input.FAILURE, now_ms, EndReason.REJECTED, status)
    if status < 200:
        return _provisional(record, response, status)
    if record.dialog is None:
        return []
    if record.state not in {State.CALLING, State.CANCELLING}:
        return _late_success(record, record.dialog, response, now_ms)
    return _success(record, record.dialog, response, now_ms)


def _provisional(record: Record, response: Response, status: int) -> list[Output]:
    """An early dialog (RFC 3261 §12.1.2); of several branches the last heard is kept."""
    if record.state is not State.CALLING or status == 100:
        return []
    if response.to_tag and record.dialog is not None:
        with suppress(DialogError):
            record.dialog = uac_dialog(record.dialog, response)
    return [Ringing(status, response.body)]


def _success(record: Record, half: Dialog, response: Response, now_ms: int) -> list[Output]:
    with suppress(DialogError):  # a 2xx with a Contact that is none: the INVITE's target stays
        half = uac_dialog(half, response)
    record.dialog = half
    record.deadlines.pop(Timer.INVITE_EXPIRES, None)
    record.peer_allows_update = allows_update(response, known=False)
    acknowledged = acknowledge(record, half, response.cseq)
    if record.state is State.CANCELLING:
        return [acknowledged, *move(record, Input.SUCCESS, now_ms)]
    record.timer = session_timer.agreed(response)
    start_session_timer(record, now_ms)
    answered: list[Output] = []
    if response.body:
        answered.append(AnswerReceived(response.body, record.local_description))
    outputs = [acknowledged, *answered, *move(record, Input.SUCCESS, now_ms)]
    if record.local_description and not answered:
        outputs += move(record, Input.HANG_UP, now_ms, EndReason.NOT_ACKNOWLEDGED)
    return outputs


def _late_success(record: Record, dialog: Dialog, response: Response, now_ms: int) -> list[Output]:
    """A 2xx once more, or one of another branch, which is acknowledged and ended.

    RFC 3261 §13.2.2.4.
    """
    if response.to_tag == dialog.remote_tag:
        return [acknowledge(record, dialog, response.cseq)]
    stray = msgspec.structs.replace(dialog, local_cseq=response.cseq)
    with suppress(DialogError):
        stray = uac_dialog(stray, response)
    acknowledged = acknowledge(record, stray, response.cseq)
    if response.to_tag in record.strays or len(record.strays) >= STRAYS_MAX:
        return [acknowledged]
    record.strays = (*record.strays, response.to_tag)
    _, bye = in_dialog_request(record, stray, "BYE")
    return [acknowledged, bye]
