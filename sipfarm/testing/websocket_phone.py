"""A scripted phone on any link, at home on a WebSocket: registers, calls, and is called.

It does one thing at a time, waits for what comes of it, and passes over what it did not ask for.
"""

import os
import time
from types import TracebackType
from typing import Final, Self

from sipfarm.testing.plain_phone import authorization
from sipfarm.testing.sip_link import SipLink
from sipfarm.testing.wire_text import (
    Line,
    WireText,
    request_bytes,
    response_bytes,
    uri_of,
)

WITHIN_S: Final = 10.0
T1_S: Final = 0.5
SDP: Final = (
    b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 6000 RTP/AVP 9 0\r\na=rtpmap:9 G722/8000\r\n"
)
_CONTENT: Final = ("Content-Type", "application/sdp")


class WebSocketPhone:
    """An account on a link."""

    def __init__(self, link: SipLink, user: str, domain: str, password: str = "") -> None:
        self.link = link
        self.aor = f"sip:{user}@{domain}"
        self._user = user
        self._domain = domain
        self._password = password or f"{user}-secret"
        self._tag = os.urandom(4).hex()
        self._contact = ("Contact", f"<sip:{user}@{link.contact}>")
        self._cseq = 0
        self._last = b""
        self._instance = os.urandom(6).hex()
        self._registration = f"{os.urandom(8).hex()}@phone.invalid"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.link.close()

    def register(self, expires_s: int = 300, *, instance: str = "", reg_id: int = 0) -> WireText:
        """The answer to a REGISTER, digest included."""
        contact = self._contact[1] + (
            f';+sip.instance="<urn:uuid:{instance}>";reg-id={reg_id}' if reg_id else ""
        )
        lines = (("Contact", contact), ("Expires", str(expires_s)), ("Supported", "outbound, path"))
        return self.ask("REGISTER", f"sip:{self._domain}", self.aor, self._registration, lines)

    def options(self, uri: str = "") -> WireText:
        uri = uri or f"sip:{self._domain}"
        return self.ask("OPTIONS", uri, uri, f"{os.urandom(8).hex()}@phone.invalid")

    def ask(
        self,
        method: str,
        uri: str,
        to: str,
        call_id: str,
        more: tuple[Line, ...] = (),
        body: bytes = b"",
    ) -> WireText:
        """The final response to a request, after it was challenged once at most."""
        lines = more
        answer = self._ask_once(method, uri, to, call_id, lines, body)
        if answer.status in (401, 407):
            proxy = answer.status == 407
            asked = answer.value("Proxy-Authenticate" if proxy else "WWW-Authenticate")
            line = authorization(asked, method, uri, self._user, self._password, proxy=proxy)
            name, _, value = line.partition(": ")
            answer = self._ask_once(method, uri, to, call_id, (*more, (name, value)), body)
        return answer

    def call(self, uri: str, body: bytes = SDP) -> "PhoneCall":
        """Place a call; AssertionError unless it is answered."""
        call_id = f"{os.urandom(8).hex()}@phone.invalid"
        answer = self.ask("INVITE", uri, uri, call_id, (self._contact, _CONTENT), body)
        if answer.status != 200:
            raise AssertionError(f"{uri} was not called: {answer.data.decode()}")
        call = PhoneCall(
            self,
            call_id,
            ours=answer.value("From"),
            theirs=answer.value("To"),
            target=uri_of(answer.value("Contact")),
            routes=tuple(reversed(answer.values("Record-Route"))),
            body=answer.body,
        )
        call.acknowledge(self._cseq)
        return call

    def refused_call(self, uri: str) -> WireText:
        """The final answer to an INVITE that is not to succeed; it is acknowledged."""
        call_id = f"{os.urandom(8).hex()}@phone.invalid"
        return self.ask("INVITE", uri, uri, call_id, (self._contact, _CONTENT), SDP)

    def answer_call(self, within_s: float = WITHIN_S, body: bytes = SDP) -> "PhoneCall":
        """Wait for an INVITE, ring, answer it, and wait for the ACK."""
        invite = self.wait_request("INVITE", within_s)
        to_tag = os.urandom(4).hex()
        self.link.send(response_bytes(invite, 180, to_tag, (self._contact,)))
        answer = response_bytes(invite, 200, to_tag, (self._contact, _CONTENT), body)
        self.link.send(answer)
        ack = self.wait_request("ACK", within_s)
        return PhoneCall(
            self,
            invite.call_id,
            ours=ack.value("To"),
            theirs=ack.value("From"),
            target=uri_of(invite.value("Contact")),
            routes=tuple(invite.values("Record-Route")),
            body=invite.body,
        )

    def answer(self, request: WireText, status: int) -> None:
        self.link.send(response_bytes(request, status, self._tag))

    def wait_request(self, method: str, within_s: float = WITHIN_S) -> WireText:
        """The next request of that method."""
        until_s = time.monotonic() + within_s
        while True:
            message = WireText(self.link.receive(max(until_s - time.monotonic(), 0.001)))
            if message.is_request and message.method == method:
                return message

    def send_request(
        self, method: str, uri: str, lines: tuple[Line, ...], body: bytes = b""
    ) -> str:
        """Send it with a Via of ours; its branch."""
        branch = f"z9hG4bK{os.urandom(6).hex()}"
        via = ("Via", f"SIP/2.0/{self.link.transport} {self.link.sent_by};branch={branch};rport")
        self._last = request_bytes(method, uri, [via, ("Max-Forwards", "70"), *lines], body)
        self.link.send(self._last)
        return branch

    def wait_final(self, branch: str, within_s: float = WITHIN_S) -> WireText:
        """The final response to the last request, which is sent again over UDP until it is heard
        of (RFC 3261 §17.1).
        """
        until_s = time.monotonic() + within_s
        again_s, pause_s = time.monotonic() + T1_S, T1_S
        is_heard = self.link.transport != "UDP"
        while True:
            next_s = until_s if is_heard else min(until_s, again_s)
            try:
                message = WireText(self.link.receive(max(next_s - time.monotonic(), 0.001)))
            except TimeoutError:
                if next_s == until_s:
                    raise
                self.link.send(self._last)
                pause_s *= 2
                again_s += pause_s
                continue
            if message.branch == branch and message.status:
                is_heard = True
                if message.status >= 200:
                    return message

    def _ask_once(
        self, method: str, uri: str, to: str, call_id: str, more: tuple[Line, ...], body: bytes
    ) -> WireText:
        self._cseq += 1
        dialog = (
            ("From", f"<{self.aor}>;tag={self._tag}"),
            ("To", f"<{to}>"),
            ("Call-ID", call_id),
            ("CSeq", f"{self._cseq} {method}"),
        )
        branch = self.send_request(method, uri, (*dialog, *more), body)
        answer = self.wait_final(branch)
        if method == "INVITE" and answer.status >= 300:
            lines = [
                ("Via", f"SIP/2.0/{self.link.transport} {self.link.sent_by};branch={branch};rport"),
                ("Max-Forwards", "70"),
                ("From", f"<{self.aor}>;tag={self._tag}"),
                ("To", answer.value("To")),
                ("Call-ID", call_id),
                ("CSeq", f"{self._cseq} ACK"),
            ]
            self.link.send(request_bytes("ACK", uri, lines))
        return answer


class PhoneCall:
    """A dialog that is up."""

    def __init__(
        self,
        phone: WebSocketPhone,
        call_id: str,
        *,
        ours: str,
        theirs: str,
        target: str,
        routes: tuple[str, ...],
        body: bytes,
    ) -> None:
        self.call_id = call_id
        self.routes = routes
        self.body = body
        """The other side's SDP."""
        self._phone = phone
        self.ours = ours
        self.theirs = theirs
        self.target = target
        self._cseq = 100

    def acknowledge(self, cseq: int) -> None:
        self._phone.send_request("ACK", self.target, self._lines("ACK", cseq))

    def bye(self) -> WireText:
        """Hang up; the answer."""
        self._cseq += 1
        lines = self._lines("BYE", self._cseq)
        return self._phone.wait_final(self._phone.send_request("BYE", self.target, lines))

    def wait_bye(self, within_s: float = WITHIN_S) -> WireText:
        """Wait until the other side hangs up."""
        bye = self._phone.wait_request("BYE", within_s)
        self._phone.answer(bye, 200)
        return bye

    def _lines(self, method: str, cseq: int) -> tuple[Line, ...]:
        return (
            *(("Route", route) for route in self.routes),
            ("From", self.ours),
            ("To", self.theirs),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
        )
