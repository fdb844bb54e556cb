"""The dialogs of a scripted phone (RFC 3261 §12): what is said in them, and BYE."""

from typing import TYPE_CHECKING, Final

from sipfarm.testing.phone_transactions import (
    T1_MS,
    T2_MS,
    TRANSACTION_MS,
    Client,
    Server,
    Told,
)
from sipfarm.testing.wire_text import Line, WireText, endpoint_of, request_bytes, uri_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipfarm.testing.phone import Phone

SDP: Final = (
    "v=0\r\no=- {number} 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
    "m=audio {port} RTP/AVP 9 0\r\na={direction}\r\n"
)
OFFER_MS_MAX: Final = 40_000  # of a re-INVITE


def sdp_of(phone: "Phone", direction: str = "sendrecv") -> bytes:
    host, port = phone.address
    return SDP.format(
        number=port, host=host, port=30_000 + port % 1_000, direction=direction
    ).encode()


class Dialog:
    """A dialog, and what goes on in it."""

    def __init__(self, phone: "Phone", message: WireText, own_tag: str, *, caller: bool) -> None:
        self.phone = phone
        self.call_id = message.call_id
        self.local_tag = own_tag
        self.is_caller = caller
        self.is_over = False
        self.confirmed = False
        self.byes: list[int] = []
        """Final answers to our BYE; 0 for none."""
        self.bye_received = False
        self.reinvites: list[int] = []
        self.refused = 0
        """re-INVITEs that came before the ACK to the INVITE before."""
        self.cseq = message.cseq if caller else 0
        self.remote_cseq = 0 if caller else message.cseq
        local, remote = ("From", "To") if caller else ("To", "From")
        self._local = message.value(local) if caller else f"{message.value(local)};tag={own_tag}"
        self.remote = message.value(remote)
        routes = message.values("Record-Route")
        self.routes = routes[::-1] if caller else routes
        self.target = uri_of(message.value("Contact"))
        self.acks: dict[int, bytes] = {}
        self._offering = False
        self._hang_up_then = False
        self.heard: Callable[[str], None] = lambda method: None
        """Told of each request but INVITE and BYE."""
        self._unacknowledged: dict[int, tuple[Server, int]] = {}
        remote_tag = message.to_tag if caller else message.from_tag
        phone.dialogs[self.call_id, own_tag, remote_tag] = self

    @property
    def next_hop(self) -> tuple[str, int]:
        return endpoint_of(uri_of(self.routes[0]) if self.routes else self.target)

    # What we do.

    def request(
        self, method: str, told: Told, body: bytes = b"", more: tuple[Line, ...] = ()
    ) -> Client:
        self.cseq += 1
        routes: list[Line] = [("Route", route) for route in self.routes]
        lines: list[Line] = [("To", self.remote), *routes, *more]
        if method == "INVITE":
            lines.append(("Contact", f"<{self.phone.contact}>"))
        if body:
            lines.append(("Content-Type", "application/sdp"))
        return self.phone.request(
            method,
            self.target,
            self._local,
            (self.call_id, self.cseq),
            lines,
            told,
            body,
            destination=self.next_hop,
        )

    def acknowledge(self, cseq: int) -> None:
        """ACK to a 2xx (RFC 3261 §13.2.2.4): the same one each time."""
        known = self.acks.get(cseq)
        if known is None:
            lines: list[Line] = [
                ("Via", self.phone.via()),
                ("Max-Forwards", "70"),
                ("From", self._local),
                ("To", self.remote),
                ("Call-ID", self.call_id),
                ("CSeq", f"{cseq} ACK"),
                *[("Route", route) for route in self.routes],
            ]
            known = self.acks[cseq] = request_bytes("ACK", self.target, lines)
        self.phone.send(self.next_hop, known)

    def hang_up(self) -> None:
        if self.is_over:
            return
        if self._offering:
            self._hang_up_then = True
            return
        self.is_over = True

        def hear(response: WireText | None) -> None:
            if response is None or response.status >= 200:
                self.byes.append(response.status if response else 0)

        self.request("BYE", hear)

    def offer_again(self) -> None:
        """re-INVITE (RFC 3261 §14.1): hold."""
        if self.is_over or self._offering:
            return
        self._offering = True

        def hear(response: WireText | None) -> None:
            if response is not None and response.status < 200:
                return
            if self._offering:
                self.reinvites.append(response.status if response else 0)
            self._offering = False
            if response is not None and response.status < 300:
                self._refresh_target(response)
                self.acknowledge(response.cseq)
            if self._hang_up_then or response is None or response.status in {408, 481}:
                self.hang_up()

        offer = self.request("INVITE", hear, sdp_of(self.phone, "sendonly"))
        self.phone.clock.call_later(OFFER_MS_MAX, lambda: offer.give_up(0))

    # What comes.

    def _refresh_target(self, message: WireText) -> None:
        """Follow the Contact of a re-INVITE, or of its 2xx (RFC 3261 §12.2)."""
        self.target = uri_of(message.value("Contact")) or self.target

    def receive(self, server: Server, request: WireText) -> None:
        phone = self.phone
        if request.cseq < self.remote_cseq:
            phone.respond(server, 500, self.local_tag)  # RFC 3261 §12.2.2
            return
        self.remote_cseq = request.cseq
        if request.method == "BYE":
            self.bye_received = True
            self.is_over = True
            self._stop_successes()
            phone.respond(server, 200, self.local_tag)
        elif self.is_over:
            phone.respond(server, 481, self.local_tag)
        elif request.method == "INVITE" and self._offering:
            phone.respond(server, 491, self.local_tag)  # RFC 3261 §14.2
        elif request.method == "INVITE" and self._unacknowledged:
            self.refused += 1
            phone.respond(server, 500, self.local_tag, (("Retry-After", "3"),))
        elif request.method == "INVITE":
            self._refresh_target(request)
            self.succeed(server)
        else:
            phone.respond(server, 200, self.local_tag)
            self.heard(request.method)

    def succeed(self, server: Server) -> None:
        """2xx to an INVITE, until its ACK comes (RFC 3261 §13.3.1.4)."""
        more: tuple[Line, ...] = (
            ("Contact", f"<{self.phone.contact}>"),
            ("Content-Type", "application/sdp"),
        )
        body = sdp_of(self.phone, "recvonly" if server.request.to_tag else "sendrecv")
        self.phone.respond(server, 200, self.local_tag, more, body)
        cseq = server.request.cseq
        self._unacknowledged[cseq] = (server, self.phone.clock.now_ms())
        self._send_success_again(cseq, T1_MS)

    def _send_success_again(self, cseq: int, interval_ms: int) -> None:
        def again() -> None:
            known = self._unacknowledged.get(cseq)
            if known is None:
                return
            server, since_ms = known
            if self.phone.clock.now_ms() - since_ms >= TRANSACTION_MS:
                del self._unacknowledged[cseq]
                self.hang_up()
                return
            server.send_response_again()
            self._send_success_again(cseq, min(2 * interval_ms, T2_MS))

        self.phone.clock.call_later(interval_ms, again)

    def acknowledged(self, cseq: int) -> None:
        if self._unacknowledged.pop(cseq, None) is None or self.confirmed:
            return
        self.confirmed = True
        for call in self.phone.incoming:
            if call.dialog is self:
                call.confirmed()

    def _stop_successes(self) -> None:
        self._unacknowledged.clear()
