"""The transactions of a scripted phone (RFC 3261 §17, over UDP), apart from the engine's own.

They are the second implementation that the farm's is held against, so they share nothing with it.
"""

from collections.abc import Callable
from typing import Final, Protocol

from sipfarm.testing.clock import Appointment, VirtualClock
from sipfarm.testing.net import Endpoint
from sipfarm.testing.wire_text import Line, WireText, request_bytes

T1_MS: Final = 500
T2_MS: Final = 4_000
T4_MS: Final = 5_000
TRANSACTION_MS: Final = 64 * T1_MS

Told = Callable[[WireText | None], None]
"""Each response that the transaction user is to see; None: timeout."""


class Port(Protocol):
    """What a transaction stands on."""

    @property
    def clock(self) -> VirtualClock: ...
    def send(self, destination: Endpoint, data: bytes) -> None: ...
    def ended(self, transaction: "Client | Server") -> None: ...


class Client:
    """A client transaction: INVITE (§17.1.1, RFC 6026) or not (§17.1.2)."""

    def __init__(self, port: Port, request: bytes, destination: Endpoint, told: Told) -> None:
        self.request = WireText(request)
        self.key = (self.request.branch, self.request.method)
        self.state = "calling"
        self.destination = destination
        self._port = port
        self._told = told
        self._interval_ms = T1_MS
        self._again: Appointment | None = None
        self._bound: Appointment | None = None
        self._ack = b""
        self._gives_up = False

    @property
    def is_invite(self) -> bool:
        return self.key[1] == "INVITE"

    def start(self) -> None:
        self._port.send(self.destination, self.request.data)
        self._again = self._port.clock.call_later(T1_MS, self._send_again)  # timers A, E
        self._end_after(TRANSACTION_MS, self._time_out)  # timers B, F

    def receive(self, response: WireText) -> None:
        status = response.status
        if self.state == "accepted":
            if 200 <= status < 300:
                self._told(response)
            return
        if self.state == "completed":
            if self.is_invite and status >= 300:
                self._port.send(self.destination, self._ack)
            return
        if status < 200:
            self.state = "proceeding"
            if self.is_invite:
                self._stop(self._again)
                if not self._gives_up:
                    self._stop(self._bound)
            else:
                self._interval_ms = T2_MS
            self._told(response)
            return
        self._stop(self._again)
        if self.is_invite and status < 300:
            self.state = "accepted"
            self._end_after(TRANSACTION_MS, self.end)  # timer M
        else:
            self.state = "completed"
            if self.is_invite:
                self._ack = _failure_ack(self.request, response)
                self._port.send(self.destination, self._ack)
            self._end_after(TRANSACTION_MS if self.is_invite else T4_MS, self.end)  # timers D, K
        self._told(response)

    def give_up(self, after_ms: int) -> None:
        """A cancelled INVITE whose answer does not come (RFC 3261 §9.1)."""
        if self.state == "proceeding":
            self._gives_up = True
            self._end_after(after_ms, self._time_out)

    def end(self) -> None:
        self.state = "over"
        self._stop(self._again)
        self._stop(self._bound)
        self._port.ended(self)

    def _send_again(self) -> None:
        self._port.send(self.destination, self.request.data)
        if self.state == "proceeding":
            self._interval_ms = T2_MS
        elif self.is_invite:
            self._interval_ms *= 2
        else:
            self._interval_ms = min(2 * self._interval_ms, T2_MS)
        self._again = self._port.clock.call_later(self._interval_ms, self._send_again)

    def _time_out(self) -> None:
        self.end()
        self._told(None)

    def _end_after(self, delay_ms: int, act: Callable[[], None]) -> None:
        self._stop(self._bound)
        self._bound = self._port.clock.call_later(delay_ms, act)

    @staticmethod
    def _stop(appointment: Appointment | None) -> None:
        if appointment is not None:
            appointment.cancel()


class Server:
    """A server transaction: INVITE (§17.2.1, RFC 6026) or not (§17.2.2)."""

    def __init__(self, port: Port, request: WireText, source: Endpoint) -> None:
        self.request = request
        self.key = (request.branch, request.value("Via").partition(";")[0], request.method)
        self.state = "proceeding"
        self.response = b""
        self._port = port
        self._source = source
        self._interval_ms = T1_MS
        self._again: Appointment | None = None
        self._bound: Appointment | None = None

    @property
    def is_invite(self) -> bool:
        return self.request.method == "INVITE"

    def respond(self, status: int, response: bytes) -> None:
        if self.state != "proceeding":
            return
        self.response = response
        self._port.send(self._source, response)
        if status < 200:
            return
        if not self.is_invite or status < 300:
            self.state = "completed"
            self._bound = self._port.clock.call_later(TRANSACTION_MS, self.end)  # timers J, L
            return
        self.state = "failed"
        self._again = self._port.clock.call_later(T1_MS, self._send_again)  # timer G
        self._bound = self._port.clock.call_later(TRANSACTION_MS, self.end)  # timer H

    def send_response_again(self) -> None:
        """What a UA core repeats: a 2xx (RFC 3261 §13.3.1.4), a reliable 1xx (RFC 3262 §3)."""
        self._port.send(self._source, self.response)

    def receive(self) -> None:
        """The request came again."""
        if self.is_invite and self.state == "completed":
            return  # the user agent core repeats a 2xx by itself
        if self.response:
            self._port.send(self._source, self.response)

    def acknowledged(self) -> None:
        """ACK to a failure."""
        if self.state == "failed":
            self.state = "confirmed"
            self._stop_all()
            self._bound = self._port.clock.call_later(T4_MS, self.end)  # timer I

    def end(self) -> None:
        self.state = "over"
        self._stop_all()
        self._port.ended(self)

    def _send_again(self) -> None:
        self._port.send(self._source, self.response)
        self._interval_ms = min(2 * self._interval_ms, T2_MS)
        self._again = self._port.clock.call_later(self._interval_ms, self._send_again)

    def _stop_all(self) -> None:
        for appointment in (self._again, self._bound):
            if appointment is not None:
                appointment.cancel()


def cancel_of(invite: WireText) -> bytes:
    """CANCEL for an INVITE (RFC 3261 §9.1)."""
    return _same_branch("CANCEL", invite, invite.value("To"))


def _failure_ack(invite: WireText, response: WireText) -> bytes:
    """ACK to a failure (RFC 3261 §17.1.1.3)."""
    return _same_branch("ACK", invite, response.value("To"))


def _same_branch(method: str, invite: WireText, to: str) -> bytes:
    lines: list[Line] = [
        ("Via", invite.value("Via")),
        ("Max-Forwards", "70"),
        ("From", invite.value("From")),
        ("To", to),
        ("Call-ID", invite.call_id),
        ("CSeq", f"{invite.cseq} {method}"),
        *[("Route", route) for route in invite.values("Route")],
    ]
    return request_bytes(method, invite.request_uri, lines)
