"""The connections of a member: accepted, opened, found by flow or by address, and bounded."""

import asyncio
import ipaddress
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Final

import msgspec
from structlog.typing import FilteringBoundLogger

from sipfarm.base.net import Transport
from sipfarm.native import Hop, sent_by
from sipfarm.signaling.io.acceptor import Acceptor
from sipfarm.signaling.io.connection import (
    Connection,
    ConnectionLimits,
    Framing,
    Place,
    StreamFraming,
)
from sipfarm.signaling.io.resolver import Resolver
from sipfarm.signaling.io.tls import Certificates, client_context
from sipfarm.signaling.io.websocket import WebSocketFraming

CONNECT_TIMEOUT_S: Final = 5.0  # TLS handshake included
BY_NAME_S: Final = 10.0  # in which another address is tried for responses that found nobody
CLOSE_ALL_S: Final = 30.0  # in which a draining member closes its connections
CLOSE_PAUSE_S_MAX: Final = 0.5
CLOSING_S: Final = 5.0  # for what is queued to a peer that we close; then it is thrown away
OPENING_MAX: Final = 1_024

OPENED_BY_US: Final = frozenset({"tcp", "tls"})
"""A WebSocket is opened by its client only (RFC 7118 §5)."""

Receive = Callable[[Iterable[tuple[bytes, Hop]]], None]
Failed = Callable[[int], None]
Remote = tuple[str, str, int, str]
"""Transport, host, port, and the name that its certificate must have."""


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the pool. A source is one address; behind a balancer that rewrites addresses all
    phones are one source.
    """

    connections_max: int = 50_000
    per_source_max: int = 1_000
    handshakes_max: int = 1_024
    handshakes_per_source_max: int = 128
    handshake_s: float = 10.0
    look_s: float = 2.0  # how often connections are looked at for being overdue
    verify_names: bool = True
    """Whether a TLS server that was found by its name must prove it (RFC 5922 §7)."""
    origins: frozenset[str] = frozenset()
    """Of pages that may open a WebSocket; none named: any may."""
    connection: ConnectionLimits = ConnectionLimits()

    def __post_init__(self) -> None:
        if not 0 < self.per_source_max <= self.connections_max:
            raise ValueError("per_source_max must be in 1..connections_max")
        if not 0 < self.handshakes_per_source_max <= self.handshakes_max:
            raise ValueError("handshakes_per_source_max must be in 1..handshakes_max")


class Streams:
    """The pool; it is asked by the driver, and tells it what came and what could not be sent."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        receive: Receive,
        failed: Failed,
        log: FilteringBoundLogger,
        first_flow: int,
        settings: StreamSettings | None = None,
        certificates: Certificates | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        """`first_flow`: drawn at random, so that a flow of an earlier life means nothing.
        `resolver`: for responses that can be sent to nothing but a name.
        """
        self.receive = receive
        self.settings = settings or StreamSettings()
        self.limits = self.settings.connection
        self.refused: Counter[str] = Counter()
        """How many connections were closed by us, by reason."""
        self._failed = failed
        self._group = group
        self._log = log
        self._certificates = certificates
        self._resolver = resolver
        self._loop = asyncio.get_running_loop()
        self._by_flow: dict[int, Connection] = {}
        self._by_remote: dict[Remote, Connection] = {}
        self._per_source: Counter[str] = Counter()
        self._remotes: dict[int, Remote] = {}
        self._opening = 0
        self._acceptors: list[Acceptor] = []
        self._next_flow = first_flow % 0xFFFF_FFFF + 1
        self._closing: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def count(self) -> int:
        return len(self._by_flow)

    @property
    def handshakes(self) -> int:
        """Connections that are not yet through TLS."""
        return sum(acceptor.handshakes for acceptor in self._acceptors)

    def now_s(self) -> float:
        return self._loop.time()

    def has(self, flow: int) -> bool:
        """Whether a connection of this member is still there."""
        return flow in self._by_flow

    async def listen(
        self, listener: socket.socket, local: int, transport: Transport = Transport.TCP
    ) -> None:
        """Accept connections on a bound socket."""
        certificates = self._certificates if transport.is_secure else None
        if transport.is_secure and certificates is None:
            raise ValueError(f"{transport} needs certificates")

        def make() -> Connection:
            framing = (
                WebSocketFraming(self.settings.origins)
                if transport in {Transport.WS, Transport.WSS}
                else StreamFraming()
            )
            return self._connection(transport.value, local, framing, accepted=True)

        handshake_s = self.settings.handshake_s
        context = None if certificates is None else lambda: certificates.context
        acceptor = Acceptor(listener, make, self._admits, self._group, context, handshake_s)
        self._acceptors.append(acceptor)

    def send(self, hop: Hop, message: bytes, transaction: int, server: str = "") -> None:
        """Write to the hop's connection, or to one with its address, which is opened if need be.

        `server`: the name by which it was found; a TLS server there must prove it (RFC 5922 §7).
        """
        connection = self._by_flow.get(hop.flow) if hop.flow else None
        # The connection is gone: a response may take another one (RFC 3261 §18.2.2), a request
        # within a flow may not (RFC 5626 §5.3).
        if connection is None and not (hop.flow and transaction):
            connection = self._reached(hop, server)
            elsewhere = sent_by(message, hop) if connection is None and hop.flow else None
            if elsewhere is not None:
                connection = self._reached(*elsewhere[:2])
        if connection is not None:
            connection.send(message, transaction)
        elif transaction:
            self.failed(transaction)

    def failed(self, transaction: int) -> None:
        """Told after this turn: the engine may be at work."""
        self._loop.call_soon(self._failed, transaction)

    def opened(self, connection: Connection) -> None:
        hop = connection.hop
        assert hop is not None
        if len(self._by_flow) >= self.settings.connections_max or self._is_closed:
            self.refuse(connection, "too many connections")
            return
        self._by_flow[connection.flow] = connection
        self._per_source[source_of(hop.host)] += 1
        if connection.place.accepted:
            self._remember((hop.transport, hop.host, hop.port, ""), connection)
        if self._looking is None:
            self._looking = self._loop.call_later(self.settings.look_s, self._look)

    def closed(self, connection: Connection) -> None:
        self._forget(connection)
        known = self._by_flow.pop(connection.flow, None)
        hop = connection.hop
        if known is None or hop is None:
            return
        source = source_of(hop.host)
        self._per_source[source] -= 1
        if not self._per_source[source]:
            del self._per_source[source]

    def refuse(self, connection: Connection, reason: str) -> None:
        """Close a connection for what its peer did."""
        self.refused[reason] += 1
        self._log.warning("connection_closed", remote=repr(connection.hop), reason=reason)
        self._close(connection)

    def stop_listening(self) -> None:
        """Accept what waits, and nothing after it."""
        while self._acceptors:
            self._acceptors.pop().close()

    def close_idle(self) -> None:
        """Close connections one after the other, so that phones come back elsewhere."""
        self.keep_idle()
        connection = next(iter(self._by_flow.values()), None)
        if connection is None:
            return
        self._close(connection)
        pause_s = CLOSE_ALL_S / max(len(self._by_flow), 1)
        self._closing = self._loop.call_later(min(pause_s, CLOSE_PAUSE_S_MAX), self.close_idle)

    def keep_idle(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    def close(self) -> None:
        self._is_closed = True
        self.keep_idle()
        self.stop_listening()
        if self._looking is not None:
            self._looking.cancel()
        for connection in tuple(self._by_flow.values()):
            connection.close()

    def _admits(self, source: str, handshakes_of_source: int, handshakes: int) -> bool:
        settings = self.settings
        held = self._per_source[source_of(source)] + handshakes_of_source
        reason = ""
        if len(self._by_flow) + handshakes >= settings.connections_max:
            reason = "too many connections"
        elif held >= settings.per_source_max:
            reason = "too many connections of one source"
        elif handshakes_of_source >= settings.handshakes_per_source_max:
            reason = "too many handshakes of one source"
        elif handshakes >= settings.handshakes_max:
            reason = "too many handshakes"
        if reason:
            self.refused[reason] += 1
        return not reason

    def _look(self) -> None:
        """Close what is overdue."""
        now_s = self.now_s()
        for connection in tuple(self._by_flow.values()):
            reason = connection.overdue(now_s)
            if reason:
                self.refuse(connection, reason)
        look_s = self.settings.look_s
        self._looking = self._loop.call_later(look_s, self._look) if self._by_flow else None

    def _close(self, connection: Connection) -> None:
        """It is no flow any more; what is queued has some time to leave."""
        self.closed(connection)
        connection.close()
        self._loop.call_later(CLOSING_S, connection.abort)

    def _remember(self, remote: Remote, connection: Connection) -> None:
        if self._by_remote.setdefault(remote, connection) is connection:
            self._remotes[connection.flow] = remote

    def _forget(self, connection: Connection) -> None:
        remote = self._remotes.pop(connection.flow, None)
        if remote is not None:
            del self._by_remote[remote]

    def _reached(self, hop: Hop, server: str) -> Connection | None:
        """A connection to the hop's address, opened if it has to be and may be."""
        remote = (hop.transport, hop.host, hop.port, server)
        connection = self._by_remote.get(remote)
        may_open = hop.transport in OPENED_BY_US and not hop.flow and not self._is_closed
        if connection is not None or not may_open:
            return connection
        held = len(self._by_flow) + self._opening
        if self._opening >= OPENING_MAX or held >= self.settings.connections_max:
            return None
        connection = self._new(hop, server)
        self._opening += 1
        self._group.create_task(self._open_or_answer(connection, hop, server))
        return connection

    def _new(self, hop: Hop, server: str) -> Connection:
        connection = self._connection(hop.transport, hop.local, StreamFraming(), accepted=False)
        self._remember((hop.transport, hop.host, hop.port, server), connection)
        return connection

    async def _open_or_answer(self, connection: Connection, hop: Hop, server: str) -> None:
        try:
            until_s = self.now_s() + BY_NAME_S
            for response in await self._open(connection, hop, server) or ():
                await self._answer_by_name(response, hop, until_s)
        finally:
            self._opening -= 1

    async def _answer_by_name(self, response: bytes, tried: Hop, until_s: float) -> None:
        """Nobody is where the request came from: the name in sent-by is left (RFC 3261 §18.2.2,
        RFC 3263 §5).
        """
        found = sent_by(response, tried)
        if found is None or self._resolver is None or not found[2]:
            return
        _, server, name, port = found
        for there in await self._resolver.locate(name, port, tried.transport):
            hop = Hop(there.transport, there.host, there.port, tried.local)
            if (hop.host, hop.port) == (tried.host, tried.port):
                continue
            if self.now_s() > until_s or self._is_closed:
                return
            connection = self._by_remote.get((hop.transport, hop.host, hop.port, server))
            if connection is None:
                connection = self._new(hop, server)
                if await self._open(connection, hop, server) is not None:
                    continue
            connection.send(response, 0)
            return

    async def _open(self, connection: Connection, hop: Hop, server: str) -> list[bytes] | None:
        """None where it is open; else what waited for it, and nobody is told of."""
        host = hop.host.strip("[]")
        context, shown = None, None
        if hop.transport == "tls":
            verifies = bool(server) and self.settings.verify_names
            context, shown = self._client_contexts[verifies], server or host
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._loop.create_connection(
                    lambda: connection, host, hop.port, ssl=context, server_hostname=shown
                )
        except (OSError, TimeoutError) as error:
            self._forget(connection)
            self._log.info("connection_failed", remote=repr(hop), reason=str(error) or "timeout")
            return connection.give_up()
        return None

    @cached_property
    def _client_contexts(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        return client_context(verify=False), client_context(verify=True)

    def _connection(
        self, transport: str, local: int, framing: Framing, *, accepted: bool
    ) -> Connection:
        flow = self._next_flow
        self._next_flow = flow % 0xFFFF_FFFF + 1
        return Connection(self, Place(transport, local, flow, accepted), framing)


def source_of(host: str) -> str:
    """What counts as one source: an IPv4 address, or the network of an IPv6 one."""
    host = host.strip("[]").partition("%")[0]
    if ":" not in host:
        return host
    return str(ipaddress.IPv6Network((host, 64), strict=False))
