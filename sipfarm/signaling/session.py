"""An INVITE session at a user agent (RFC 3261 §13 to §15): what peer, clock and owner bring in.

The session knows nothing of SDP: it says when an offer or an answer has come and is told what to
send. Every method returns what it caused. `session_state` holds the table; the acts stand in
`session_invite`, `session_call` and `session_modify`.
"""

from sipfarm.signaling import session_call, session_invite, session_modify
from sipfarm.signaling.dialog import DialogError, matches, receive_request
from sipfarm.signaling.session_call import Invitation
from sipfarm.signaling.session_messages import (
    ACCEPT,
    ALLOW,
    KNOWN_METHODS,
    SUPPORTED,
    acknowledge,
    respond,
)
from sipfarm.signaling.session_moves import move
from sipfarm.signaling.session_state import Input, Modify, Record, State, Timer
from sipfarm.signaling.ua import (
    EndReason,
    Headers,
    InfoReceived,
    Output,
    Request,
    Response,
    Retransmit,
)

_STANDING = frozenset({State.INVITED, State.CALLING, State.MORATORIUM, State.CONFIRMED})


class Session:
    """One session and its dialog; its owner carries out what each method returns."""

    def __init__(self, record: Record) -> None:
        self._record = record

    @property
    def record(self) -> Record:
        """The session as plain values, to be read or kept, not to be changed."""
        return self._record

    @property
    def state(self) -> State:
        return self._record.state

    # What the engine hands in.

    def receive(self, request: Request, now_ms: int) -> list[Output]:
        """A request of the peer: the INVITE that begins the session, or one within its dialog."""
        record = self._record
        if record.state is State.IDLE and request.method == "INVITE":
            return session_invite.receive_invite(record, request, now_ms)
        dialog = record.dialog
        if dialog is None or not matches(dialog, request) or record.state is State.TERMINATED:
            return [respond(record, request.transaction, 481)]
        try:
            record.dialog = receive_request(dialog, request)
        except DialogError as error:
            return [respond(record, request.transaction, error.status)]
        record.hop = request.hop
        if request.method == "BYE":
            return self._receive_bye(request, now_ms)
        if record.state not in _STANDING:
            return [respond(record, request.transaction, 481)]
        if request.method in {"INVITE", "UPDATE"}:
            return session_modify.receive_modify(record, request, now_ms)
        return self._receive_other(request)

    def ack(self, request: Request, now_ms: int) -> list[Output]:
        """An ACK to a 2xx of ours."""
        record = self._record
        if record.dialog is None or not matches(record.dialog, request):
            return []
        outputs = session_invite.receive_ack(record, request, now_ms)
        return outputs + session_modify.proceed(record, now_ms)

    def cancel(self, transaction: int, now_ms: int) -> list[Output]:
        """The peer cancelled an INVITE; one that we answered already is not affected.

        RFC 3261 §9.2.
        """
        record = self._record
        if record.waiting is None or record.waiting.transaction != transaction:
            return []
        if record.state is not State.INVITED:
            return session_modify.withdraw(record, now_ms)
        return session_invite.refuse_invite(
            record, 487, (), now_ms, Input.CANCEL, EndReason.CANCELLED
        )

    def response(
        self, key: int, response: Response | None, now_ms: int, status: int = 408
    ) -> list[Output]:
        """A response to a request of ours; None: it timed out (408) or could not be sent (503).

        RFC 3261 §8.1.3.1.
        """
        record = self._record
        if response is not None:
            status = response.status
        if key == record.invite_key:
            return session_call.receive_invite_response(record, response, status, now_ms)
        if key == record.bye_key:
            return [] if status < 200 else move(record, Input.BYE_DONE, now_ms)
        if record.modify is not None and key == record.modify.key:
            return session_modify.receive_modify_response(record, response, status, now_ms)
        is_late_success = response is not None and response.method == "INVITE" and status < 300
        if is_late_success and status >= 200 and response is not None and record.dialog is not None:
            return [acknowledge(record, record.dialog, response.cseq)]
        return []

    def next_deadline_ms(self) -> int | None:
        return min(self._record.deadlines.values(), default=None)

    def expire(self, now_ms: int) -> list[Output]:
        """Do what is due, in the order in which it fell due."""
        record = self._record
        outputs: list[Output] = []
        due = sorted((at_ms, t) for t, at_ms in record.deadlines.items() if at_ms <= now_ms)
        for at_ms, timer in due:
            if record.deadlines.get(timer) == at_ms:
                del record.deadlines[timer]
                outputs += self._expired(timer, now_ms)
        return outputs

    # What the owner wants.

    def call(self, invitation: Invitation, now_ms: int) -> list[Output]:
        """Begin a session of our own."""
        if self._record.state is not State.IDLE:
            return []
        return session_call.call(self._record, invitation, now_ms)

    def ring(
        self, now_ms: int, status: int = 180, headers: Headers = (), body: bytes = b""
    ) -> list[Output]:
        if self._record.state is not State.INVITED:
            return []
        return session_invite.ring(self._record, status, headers, body, now_ms)

    def answer(self, body: bytes, now_ms: int, headers: Headers = ()) -> list[Output]:
        """Take the call with our answer, or with our offer where the INVITE had none."""
        if self._record.state is not State.INVITED:
            return []
        return session_invite.answer_invite(self._record, headers, body, now_ms)

    def reject(self, status: int, now_ms: int, headers: Headers = ()) -> list[Output]:
        return session_invite.refuse_invite(self._record, status, headers, now_ms)

    def accept(self, body: bytes, now_ms: int, headers: Headers = ()) -> list[Output]:
        """Take the peer's change with our answer.

        Or with our offer where its re-INVITE had none.
        """
        if self._record.state not in {State.MORATORIUM, State.CONFIRMED}:
            return []
        return session_modify.accept(self._record, headers, body, now_ms)

    def refuse(self, status: int, now_ms: int, headers: Headers = ()) -> list[Output]:
        """Turn the peer's change down."""
        if self._record.state not in {State.MORATORIUM, State.CONFIRMED}:
            return []
        return session_modify.refuse(self._record, status, headers, now_ms)

    def modify(self, now_ms: int) -> list[Output]:
        """Ask to change the session; OfferDue says when `offer` may be called."""
        if self._record.state not in {State.MORATORIUM, State.CONFIRMED}:
            return []
        return session_modify.want(self._record, Modify(), now_ms)

    def offer(self, body: bytes, now_ms: int) -> list[Output]:
        """Send the offer that is due by a re-INVITE."""
        return session_modify.send_modify(self._record, body, now_ms)

    def hang_up(
        self, now_ms: int, status: int = 480, reason: EndReason = EndReason.BYE_SENT
    ) -> list[Output]:
        """End the session by whatever its state asks for: `status`, CANCEL, or BYE.

        RFC 3261 §15.
        """
        record = self._record
        if record.state is State.INVITED:
            return self.reject(status, now_ms)
        return move(record, Input.HANG_UP, now_ms, reason)

    def _receive_bye(self, bye: Request, now_ms: int) -> list[Output]:
        record = self._record
        done = respond(record, bye.transaction, 200)
        record.final_headers = ()
        status = 487 if record.state is State.INVITED else 0
        return [done, *move(record, Input.BYE, now_ms, EndReason.BYE_RECEIVED, status)]

    def _receive_other(self, request: Request) -> list[Output]:
        """A request that leaves the session as it is.

        RFC 3261 §11.2, §8.2.1; RFC 6086; RFC 3262 §3.
        """
        record = self._record
        match request.method:
            case "OPTIONS":
                return [respond(record, request.transaction, 200, (ALLOW, ACCEPT, SUPPORTED))]
            case "INFO" if request.header("Info-Package") is None:
                content_type = request.header("Content-Type") or ""
                return [
                    respond(record, request.transaction, 200),
                    InfoReceived(content_type, request.body),
                ]
            case "INFO":
                return [respond(record, request.transaction, 469, (("Recv-Info", ""),))]
            case "PRACK" | "NOTIFY":
                return [respond(record, request.transaction, 481)]
            case method if method in KNOWN_METHODS:
                return [respond(record, request.transaction, 405, (ALLOW,))]
            case _:
                return [respond(record, request.transaction, 501, (ALLOW,))]

    def _expired(self, timer: Timer, now_ms: int) -> list[Output]:
        record = self._record
        match timer:
            case Timer.RETRANSMIT_2XX:
                return self._retransmit(now_ms)
            case Timer.ACK:
                record.deadlines.pop(Timer.RETRANSMIT_2XX, None)
                record.unacknowledged = None
                return move(record, Input.ACK_TIMEOUT, now_ms, EndReason.NOT_ACKNOWLEDGED)
            case Timer.INVITE_EXPIRES:
                record.final_headers = ()
                return move(record, Input.INVITE_EXPIRED, now_ms, EndReason.INVITE_EXPIRED, 487)
            case Timer.PROVISIONAL:
                return session_invite.ring_on(record, now_ms)
            case Timer.BYE:
                return move(record, Input.BYE_DONE, now_ms)
            case Timer.REFRESH:
                return session_modify.refresh(record, now_ms)
            case Timer.EXPIRY:
                return move(record, Input.SESSION_EXPIRED, now_ms, EndReason.SESSION_EXPIRED)
            case Timer.RETRY_MODIFY:
                return session_modify.proceed(record, now_ms)
            case Timer.MODIFY:
                return session_modify.give_up_modify(record, now_ms)

    def _retransmit(self, now_ms: int) -> list[Output]:
        """The 2xx again; the interval doubles from T1 up to T2 (RFC 3261 §13.3.1.4)."""
        record = self._record
        awaited = record.unacknowledged
        if awaited is None:
            return []
        interval_ms = min(2 * awaited.interval_ms, record.options.t2_ms)
        record.unacknowledged = type(awaited)(
            awaited.transaction, awaited.cseq, awaited.has_offer, interval_ms
        )
        record.deadlines[Timer.RETRANSMIT_2XX] = now_ms + interval_ms
        return [Retransmit(awaited.transaction)]
