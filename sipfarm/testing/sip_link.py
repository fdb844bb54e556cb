"""The way from a scripted phone to the farm: UDP, a stream, or a WebSocket; blocking, for tests."""

import os
import socket
import ssl
import time
from collections import deque
from pathlib import Path
from typing import Final, Protocol

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)

from sipfarm.base.net import HostPort
from sipfarm.native import StreamFramer

READ_BYTES: Final = 65_536
CONNECT_WITHIN_S: Final = 10.0


class LinkClosed(AssertionError):
    """The farm has closed the connection."""


class SipLink(Protocol):
    """Whole messages, there and back."""

    @property
    def transport(self) -> str: ...
    @property
    def contact(self) -> str:
        """Host, port and parameters of a Contact that is reached by this link."""
        ...

    @property
    def sent_by(self) -> str: ...
    def send(self, message: bytes) -> None: ...
    def receive(self, timeout_s: float) -> bytes:
        """The next message. Raises TimeoutError, and LinkClosed where none will come."""
        ...

    def close(self) -> None: ...


def connected(
    server: HostPort,
    local: HostPort | None = None,
    *,
    trust: Path | None = None,
    name: str | None = None,
) -> socket.socket:
    """A TCP connection, through TLS where there is a file of what to trust."""
    source = (local.host, local.port) if local else None
    plain = socket.create_connection((server.host, server.port), CONNECT_WITHIN_S, source)
    if trust is None:
        return plain
    context = ssl.create_default_context(cafile=str(trust))
    return context.wrap_socket(plain, server_hostname=name or server.host)


class UdpLink:
    """Datagrams."""

    transport = "UDP"

    def __init__(self, local: HostPort, server: HostPort) -> None:
        family = socket.AF_INET6 if ":" in local.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((local.host, local.port))
        self._server = (server.host, server.port)
        self.sent_by = str(HostPort(local.host, self._socket.getsockname()[1]))
        self.contact = self.sent_by

    def send(self, message: bytes) -> None:
        self._socket.sendto(message, self._server)

    def receive(self, timeout_s: float) -> bytes:
        self._socket.settimeout(timeout_s)
        return self._socket.recv(READ_BYTES)

    def close(self) -> None:
        self._socket.close()


class StreamLink:
    """TCP or TLS, on a connection that is there."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.transport = "TLS" if isinstance(stream, ssl.SSLSocket) else "TCP"
        host, port = stream.getsockname()[:2]
        self.sent_by = str(HostPort(host, port))
        self.contact = f"{self.sent_by};transport={self.transport.lower()}"
        self._framer = StreamFramer()
        self._messages: deque[bytes] = deque()

    def send(self, message: bytes) -> None:
        self.stream.sendall(message)

    def receive(self, timeout_s: float) -> bytes:
        until_s = time.monotonic() + timeout_s
        while not self._messages:
            for kind, frame in self._framer.feed(read(self.stream, until_s)):
                if kind == "message":
                    self._messages.append(frame)
        return self._messages.popleft()

    def close(self) -> None:
        self.stream.close()


class WebSocketLink:
    """The client's side of RFC 7118, as a browser has it: it cannot be reached but by this link."""

    def __init__(
        self, stream: socket.socket, subprotocols: tuple[str, ...] = ("sip",), origin: str = ""
    ) -> None:
        """`origin`: of the page; without one it is no browser."""
        self.stream = stream
        self.transport = "WSS" if isinstance(stream, ssl.SSLSocket) else "WS"
        self.sent_by = f"{os.urandom(5).hex()}.invalid"
        self.contact = f"{self.sent_by};transport=ws"
        self.pings = 0
        self.close_code = 0
        self._client = WSConnection(ConnectionType.CLIENT)
        self._messages: deque[bytes] = deque()
        self._part = b""
        self._is_accepted = False
        self.refused_with = 0
        host, port = stream.getpeername()[:2]
        request = Request(
            host=str(HostPort(host, port)),
            target="/",
            subprotocols=list(subprotocols),
            extra_headers=[(b"Origin", origin.encode())] if origin else [],
        )
        stream.sendall(self._client.send(request))
        while not self._is_accepted and not self.refused_with:
            self._take(read(stream, time.monotonic() + CONNECT_WITHIN_S))

    def send(self, message: bytes) -> None:
        self.stream.sendall(self._client.send(TextMessage(data=message.decode())))

    def send_binary(self, message: bytes) -> None:
        self.stream.sendall(self._client.send(BytesMessage(data=message)))

    def send_raw(self, frame: bytes) -> None:
        """Bytes past the framing."""
        self.stream.sendall(frame)

    def ping(self) -> None:
        self.stream.sendall(self._client.send(Ping()))

    def receive(self, timeout_s: float) -> bytes:
        until_s = time.monotonic() + timeout_s
        while not self._messages:
            if self.close_code:
                raise LinkClosed(f"closed with {self.close_code}")
            self._take(read(self.stream, until_s))
        return self._messages.popleft()

    def close(self) -> None:
        self.stream.close()

    def _take(self, data: bytes) -> None:
        self._client.receive_data(data)
        for event in self._client.events():
            match event:
                case AcceptConnection():
                    self._is_accepted = True
                case RejectConnection():
                    self.refused_with = event.status_code
                case TextMessage() | BytesMessage():
                    part = event.data.encode() if isinstance(event.data, str) else event.data
                    self._part += bytes(part)
                    if event.message_finished:
                        self._messages.append(self._part)
                        self._part = b""
                case Ping():
                    self.pings += 1
                    self.stream.sendall(self._client.send(event.response()))
                case CloseConnection():
                    self.close_code = int(event.code)
                case _:
                    pass


def read(stream: socket.socket, until_s: float) -> bytes:
    """What has come. Raises TimeoutError, and LinkClosed at its end."""
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    stream.settimeout(left_s)
    try:
        data = stream.recv(READ_BYTES)
    except (ConnectionError, ssl.SSLError) as error:
        raise LinkClosed(str(error)) from error
    if not data:
        raise LinkClosed("the farm has closed the connection")
    return data
