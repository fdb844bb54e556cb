"""SIP over WebSocket, the server's side (RFC 7118): a SIP message in each WebSocket message.

Nothing here asks the machine: bytes come in, and what they mean goes out.
"""

from typing import Final

from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from sipfarm.base.limits import MESSAGE_BYTES_MAX
from sipfarm.signaling.io.connection import PONG, Kind

SUBPROTOCOL: Final = "sip"
PING: Final = b"\r\n\r\n"
UPGRADE_BYTES_MAX: Final = 16_384
FRAGMENTS_MAX: Final = 1_024  # of one message

Found = list[tuple[Kind, bytes]]


class WebSocketFraming:
    """One WebSocket, from its HTTP upgrade to its close. No extension is agreed to."""

    def __init__(self, origins: frozenset[str] = frozenset()) -> None:
        """`origins`: of pages that may open it, in lower case; none named: any may. What tells no
        origin is no browser, and does as it likes (RFC 6455 §10.2).
        """
        self._origins = origins
        self._websocket = WSConnection(ConnectionType.SERVER)
        self._is_open = False
        self._is_over = False
        self._upgrade_bytes = 0
        self._parts: list[bytes] = []
        self._parts_bytes = 0

    @property
    def is_open(self) -> bool:
        return self._is_open

    def feed(self, data: bytes) -> Found:
        if self._is_over:
            return []
        found: Found = []
        if not self._is_open:
            self._upgrade_bytes += len(data)
            if self._upgrade_bytes > UPGRADE_BYTES_MAX:
                return self._refuse(431, "The request is too large.")
        try:
            self._websocket.receive_data(data)
            for event in self._websocket.events():
                self._take(event, found)
                if self._is_over:
                    break
        except RemoteProtocolError as error:
            found += self._broken(error)
        except UnicodeError:  # of the host, which is no name then
            found += self._refuse(400, "The request is malformed.")
        return found

    def wrap(self, message: bytes) -> bytes:
        """Text where it is UTF-8, which SIP mostly is (RFC 7118 §4.2), else binary."""
        try:
            return self._send(TextMessage(data=message.decode()))
        except UnicodeDecodeError:
            return self._send(BytesMessage(data=message))

    def goodbye(self) -> bytes:
        if not self._is_open or self._is_over:
            return b""
        self._is_over = True
        return self._send(CloseConnection(code=CloseReason.GOING_AWAY))

    def _take(self, event: Event, found: Found) -> None:
        match event:
            case Request():
                found += self._upgrade(event)
            case TextMessage():
                found += self._message(event.data.encode(), whole=event.message_finished)
            case BytesMessage():
                found += self._message(bytes(event.data), whole=event.message_finished)
            case Ping():
                found.append(("answer", self._send(event.response())))
            case CloseConnection():
                found += self._close(event)
            case _:
                found.append(("alive", b""))  # a pong

    def _upgrade(self, request: Request) -> Found:
        if SUBPROTOCOL not in request.subprotocols:
            return self._refuse(400, "This WebSocket carries SIP: ask for the subprotocol sip.")
        if self._origins and not _origins_of(request) <= self._origins:
            return self._refuse(403, "Pages of this origin may not call here.")
        self._is_open = True
        accept = self._websocket.send(AcceptConnection(subprotocol=SUBPROTOCOL))
        return [("answer", accept), ("opened", b"")]

    def _message(self, part: bytes, *, whole: bool) -> Found:
        self._parts.append(part)
        self._parts_bytes += len(part)
        if self._parts_bytes > MESSAGE_BYTES_MAX:
            return self._end(CloseReason.MESSAGE_TOO_BIG, "message too large")
        if not whole:
            if len(self._parts) > FRAGMENTS_MAX:
                return self._end(CloseReason.POLICY_VIOLATION, "too many fragments")
            return []
        message = b"".join(self._parts)
        self._parts.clear()
        self._parts_bytes = 0
        if message == PING:  # RFC 5626 §4.4.1, for phones that keep alive as over TCP
            return [("alive", b""), ("answer", self.wrap(PONG))]
        if not message.strip():
            return [("alive", b"")]
        return [("message", message)]

    def _close(self, event: CloseConnection) -> Found:
        if self._websocket.state is ConnectionState.OPEN:  # it is wsproto that gives up
            return self._end(CloseReason(event.code), "malformed frame")
        self._is_over = True
        return [("answer", self._send(event.response())), ("closed", b"")]

    def _end(self, code: CloseReason, reason: str) -> Found:
        self._is_over = True
        goodbye = self._send(CloseConnection(code=code, reason=reason))
        return [("answer", goodbye), ("error", reason.encode())]

    def _broken(self, error: RemoteProtocolError) -> Found:
        if self._is_open:
            hint = error.event_hint
            code = hint.code if isinstance(hint, CloseConnection) else CloseReason.PROTOCOL_ERROR
            return self._end(CloseReason(code), "malformed frame")
        told = str(error)
        if "Upgrade" in told:
            return self._refuse(426, "Here is SIP over WebSocket: upgrade.")
        if "method" in told:
            return self._refuse(405, "The method is GET.")
        hint = error.event_hint
        status = hint.status_code if isinstance(hint, RejectConnection) else 400
        return self._refuse(status, f"{told}.")

    def _refuse(self, status: int, sentence: str) -> Found:
        """Answer the HTTP request, and be done with it."""
        self._is_over = True
        body = f"{sentence}\n".encode()
        headers = [
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Content-Length", str(len(body)).encode()),
            (b"Connection", b"close"),
        ]
        if status == 405:
            headers.append((b"Allow", b"GET"))
        if status == 426:
            headers += [(b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13")]
        reject = RejectConnection(status_code=status, headers=headers, has_body=True)
        answer = self._send(reject) + self._send(RejectData(data=body, body_finished=True))
        return [("answer", answer), ("error", f"upgrade refused with {status}".encode())]

    def _send(self, event: Event) -> bytes:
        """Nothing where the state does not allow it any more."""
        try:
            return self._websocket.send(event)
        except LocalProtocolError:
            return b""


def _origins_of(request: Request) -> set[str]:
    return {
        value.decode("latin-1").strip().lower()
        for name, value in request.extra_headers
        if name.lower() == b"origin"
    }
