"""Scripted phones: user agents in plain Python that place, take, change and end calls as told."""

from random import Random
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from sipfarm.testing.clock import VirtualClock
from sipfarm.testing.net import Endpoint, Receiver
from sipfarm.testing.phone_calls import AnswerPlan, IncomingCall, OutgoingCall
from sipfarm.testing.phone_transactions import Client, Server, Told
from sipfarm.testing.wire_text import Line, WireText, request_bytes, response_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from sipfarm.testing.phone_dialogs import Dialog

DialogKey = tuple[str, str, str]
"""Call-ID, our tag, the other's tag."""


class Net(Protocol):
    """What carries a phone's datagrams."""

    def listen(self, endpoint: Endpoint, receiver: Receiver) -> None: ...
    def send(self, source: Endpoint, destination: Endpoint, data: bytes) -> None: ...


class PhoneEvent(msgspec.Struct, frozen=True):
    """What came to a phone: a final response (each time it comes), or a request (once)."""

    kind: Literal["final", "request", "ack", "timeout"]
    phone: str
    message: WireText


class Phone:
    """A user agent at one address, which sends everything through the farm."""

    def __init__(
        self, name: str, address: Endpoint, farm: Endpoint, net: Net, clock: VirtualClock
    ) -> None:
        self.name = name
        self.address = address
        self.farm = farm
        self.clock = clock
        self.answer: Callable[[WireText], AnswerPlan] = lambda invite: AnswerPlan()
        self.watchers: list[Callable[[PhoneEvent], None]] = []
        self.outgoing: list[OutgoingCall] = []
        self.incoming: list[IncomingCall] = []
        self.dialogs: dict[DialogKey, Dialog] = {}
        self.registered: list[int] = []
        """Final answers to REGISTER; 0 for none."""
        self._random = Random(name)
        self._net = net
        self._clients: dict[tuple[str, str], Client] = {}
        self._servers: dict[tuple[str, str, str], Server] = {}
        self._numbers = 0
        net.listen(address, self.receive)

    @property
    def contact(self) -> str:
        return f"sip:{self.name}@{self.address[0]}:{self.address[1]}"

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is under way."""
        return not self._clients and not self._servers

    def token(self) -> str:
        self._numbers += 1
        return f"{self.name}{self._numbers:x}"

    # What scripts ask for.

    def call(self, call: OutgoingCall) -> OutgoingCall:
        self.outgoing.append(call)
        call.start(self)
        return call

    def register(
        self,
        aor: str,
        domain: str,
        expires_s: int = 3_600,
        q: str = "1.0",
        *,
        outbound: bool = False,
    ) -> None:
        """One REGISTER; its answer is noted in `registered`. `outbound`: by its flow alone it is to
        be reached (RFC 5626).
        """
        flow = f';reg-id=1;+sip.instance="<urn:uuid:{self.name}>"' if outbound else ""
        lines: list[Line] = [
            ("Contact", f"<{self.contact}>;q={q};expires={expires_s}{flow}"),
            ("To", f"<{aor}>"),
            ("Supported", "outbound, path"),
        ]
        self.request(
            "REGISTER",
            f"sip:{domain}",
            f"<{aor}>;tag={self.token()}",
            (f"reg@{self.name}", len(self.registered) + 1),
            lines,
            lambda response: self.registered.append(response.status if response else 0),
            settled_only=True,
        )

    def request(
        self,
        method: str,
        uri: str,
        caller: str,
        number: tuple[str, int],
        lines: list[Line],
        told: Told,
        body: bytes = b"",
        *,
        destination: Endpoint | None = None,
        settled_only: bool = False,
    ) -> Client:
        """Start a client transaction; `number` is Call-ID and CSeq."""
        head: list[Line] = [
            ("Via", self.via()),
            ("Max-Forwards", "70"),
            ("From", caller),
            ("Call-ID", number[0]),
            ("CSeq", f"{number[1]} {method}"),
        ]

        def hear(response: WireText | None) -> None:
            if response is None:
                self._tell("timeout", client.request)
            if not settled_only or response is None or response.status >= 200:
                told(response)

        data = request_bytes(method, uri, head + lines, body)
        client = Client(self, data, destination or self.farm, hear)
        self._clients[client.key] = client
        client.start()
        return client

    def via(self) -> str:
        host, port = self.address
        return f"SIP/2.0/UDP {host}:{port};rport;branch=z9hG4bK{self.token()}"

    def start_client(self, data: bytes, destination: Endpoint, told: Told) -> Client:
        """A transaction of a request that stands already."""
        client = Client(self, data, destination, told)
        self._clients[client.key] = client
        client.start()
        return client

    # Port of the transactions.

    def send(self, destination: Endpoint, data: bytes) -> None:
        self._net.send(self.address, destination, data)

    def ended(self, transaction: Client | Server) -> None:
        if isinstance(transaction, Client):
            self._clients.pop(transaction.key, None)
        else:
            self._servers.pop(transaction.key, None)

    # What comes.

    def receive(self, data: bytes, source: Endpoint) -> None:
        message = WireText(data)
        if not message.is_request:
            if message.status >= 200:
                self._tell("final", message)
            client = self._clients.get((message.branch, message.method))
            if client is not None:
                client.receive(message)
            return
        method = message.method
        key = (message.branch, message.value("Via").partition(";")[0])
        if method == "ACK":
            failed = self._servers.get((*key, "INVITE"))
            if failed is not None and failed.state in {"failed", "confirmed"}:
                failed.acknowledged()
                return
            self._tell("ack", message)
            dialog = self.dialogs.get((message.call_id, message.to_tag, message.from_tag))
            if dialog is not None:
                dialog.acknowledged(message.cseq)
            return
        server = self._servers.get((*key, method))
        if server is not None:
            server.receive()
            return
        server = Server(self, message, source)
        self._servers[server.key] = server
        self._tell("request", message)
        self._request(server, message, key)

    def _request(self, server: Server, request: WireText, key: tuple[str, str]) -> None:
        if request.method == "CANCEL":
            self._cancel(server, key)
        elif request.to_tag:
            dialog = self.dialogs.get((request.call_id, request.to_tag, request.from_tag))
            if dialog is None:
                self.respond(server, 481)
            else:
                dialog.receive(server, request)
        elif request.method != "INVITE":
            self.respond(server, 200)
        elif any(call.merges(request) for call in self.incoming):
            self.respond(server, 482)  # RFC 3261 §8.2.2.2
        else:
            call = IncomingCall(self, server, self.answer(request))
            self.incoming.append(call)
            call.start()

    def _cancel(self, cancel: Server, key: tuple[str, str]) -> None:
        invite = self._servers.get((*key, "INVITE"))
        self.respond(cancel, 200 if invite is not None else 481)
        if invite is None:
            return
        for call in self.incoming:
            if call.server is invite:
                call.cancelled()

    def respond(
        self,
        server: Server,
        status: int,
        to_tag: str = "",
        more: tuple[Line, ...] = (),
        body: bytes = b"",
    ) -> None:
        tag = to_tag or (f"t{self.token()}" if status > 100 else "")
        server.respond(status, response_bytes(server.request, status, tag, more, body))

    def _tell(self, kind: Literal["final", "request", "ack", "timeout"], message: WireText) -> None:
        event = PhoneEvent(kind, self.name, message)
        for watcher in self.watchers:
            watcher(event)
