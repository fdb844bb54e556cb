"""The bus: one TCP link to each other member, for packets, calls, events and heartbeats.

Both members of a pair may dial. Where two links come about, the one that the lower number dialed
stays; the other is retired, which loses nothing that is under way on it.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec
from structlog.typing import FilteringBoundLogger

from sipfarm.base.clock import Clock
from sipfarm.base.errors import CapacityError, PeerError, SipfarmError, StartError, UsageError
from sipfarm.base.farm_view import Incarnation
from sipfarm.base.ids import Entropy
from sipfarm.base.net import HostPort
from sipfarm.base.records import epoch_is_newer
from sipfarm.cluster.handshake import Handshake, Identity, Peer, Refused, RefusedFor, Role
from sipfarm.cluster.io.calls import CallFailed, Calls, Unanswered
from sipfarm.cluster.io.link import Link, LinkCounters, LinkLimits
from sipfarm.cluster.io.refusals import Refusals
from sipfarm.cluster.wire import (
    NONCE_BYTES,
    PAYLOAD_BYTES_MAX,
    Event,
    Failure,
    Frame,
    Heartbeat,
    Invalidate,
    Packets,
    Received,
    Reply,
    Request,
)

STRANGERS_MAX: Final = 64
"""Accepted connections that have not shown who they are."""
SERVED_MAX: Final = 1_024
"""Calls of other members that are being worked on."""
REASON_CHARS_MAX: Final = 200


class BusHandlers(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the bus tells what came. None of them may wait, but `rpc`."""

    packets: Callable[[int, Sequence[bytes]], None]
    """(number, payloads): what `send_packets` was given there."""
    heartbeat: Callable[[Incarnation, Heartbeat], None]
    invalidate: Callable[[int, str, str], None]
    """(number, what, key)"""
    event: Callable[[int, str, bytes], None]
    """(number, name, body)"""
    rpc: Callable[[str, bytes, int], Awaitable[bytes]]
    """(method, arguments, number); a SipfarmError it raises is the caller's answer."""
    accepts: Callable[[Incarnation], bool]
    link_up: Callable[[Incarnation], None]
    link_down: Callable[[Incarnation], None]
    """What the other sent since is not known: drop what is cached on its word."""
    refused: Callable[[Refused], None]


class BusTls(msgspec.Struct, frozen=True):
    """Links over TLS, where members do not share a private network."""

    server: ssl.SSLContext
    client: ssl.SSLContext


class DialTimes(msgspec.Struct, frozen=True, kw_only=True):
    """How links are sought."""

    connect_s: float = 2.0
    backoff_first_s: float = 0.05
    backoff_max_s: float = 1.0
    yield_s: float = 0.1
    """The higher number dials so much later: as a rule one link comes about, not two."""


class _Target(msgspec.Struct):
    """A member that is to be linked with."""

    number: int
    epoch: int
    address: HostPort
    unlinked: asyncio.Event
    task: asyncio.Task[None] | None = None


class Bus:
    """The links of one member. `identify` says as whom; before that nobody is let in."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        clock: Clock,
        entropy: Entropy,
        log: FilteringBoundLogger,
        keys: Sequence[bytes],
        handlers: BusHandlers,
        *,
        limits: LinkLimits | None = None,
        times: DialTimes | None = None,
        tls: BusTls | None = None,
    ) -> None:
        """`keys`: FarmKeys.bus of the farm's secret, and of the previous one if there is one."""
        self.counters = LinkCounters()
        self.refusals = Refusals(clock, log)
        self.calls = Calls()
        self._group = group
        self._entropy = entropy
        self._log = log
        self._keys = tuple(keys)
        self._handlers = handlers
        self._limits = limits or LinkLimits()
        self._times = times or DialTimes()
        self._tls = tls
        self._identity: Identity | None = None
        self._server: asyncio.Server | None = None
        self._open: set[Link] = set()
        self._links: dict[int, Link] = {}
        self._targets: dict[int, _Target] = {}
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def linked(self) -> Mapping[int, Link]:
        """The links in use, by number."""
        return self._links

    async def listen(self, address: HostPort) -> HostPort:
        """Let other members in; where they find us (a port of 0 becomes a real one)."""
        loop = asyncio.get_running_loop()
        context = self._tls.server if self._tls else None
        try:
            self._server = await loop.create_server(
                lambda: self._new_link(Role.ACCEPTOR, None), address.host, address.port, ssl=context
            )
        except OSError as error:
            raise StartError(f"the bus cannot listen on {address}: {error.strerror}") from error
        return address.with_port(self._server.sockets[0].getsockname()[1])

    def identify(self, own: Identity) -> None:
        """Go on as this incarnation; what another had is closed."""
        self.hang_up_all()
        self._identity = own

    def dial(self, incarnation: Incarnation, address: HostPort) -> None:
        """Keep a link to this member from now on."""
        number, epoch = incarnation
        target = self._targets.get(number)
        if target is not None and (target.epoch, target.address) == (epoch, address):
            return
        self._forget(number)
        target = self._targets[number] = _Target(number, epoch, address, asyncio.Event())
        if number not in self._links:
            target.unlinked.set()
        target.task = self._group.create_task(self._keep_linked(target))

    def hang_up(self, incarnation: Incarnation) -> None:
        """End the link to an incarnation, and make no other."""
        number, epoch = incarnation
        target = self._targets.get(number)
        if target is not None and target.epoch == epoch:
            self._forget(number)
        for link in tuple(self._open):
            if link.peer is not None and link.peer.identity.incarnation == incarnation:
                link.abort()

    def hang_up_all(self) -> None:
        """Nobody is let in, and nobody dialed, until `identify`."""
        self._identity = None
        for number in tuple(self._targets):
            self._forget(number)
        for task in self._serving:
            task.cancel()
        for link in tuple(self._open):
            link.abort()

    def send_packets(self, number: int, payload: bytes) -> bool:
        """Pass on what the SIP engine made; False: dropped, and counted."""
        link = self._links.get(number)
        if link is None:
            self.counters.packets_dropped += 1
            return False
        return link.send_packets(payload)

    def send(self, number: int, frame: Heartbeat | Invalidate | Event) -> bool:
        """Send one frame; False: there is no link, or there is none any more."""
        link = self._links.get(number)
        return link is not None and link.send(frame)

    def broadcast(self, frame: Heartbeat | Invalidate | Event) -> int:
        """Send a frame to all that are linked; to how many."""
        return sum([link.send(frame) for link in tuple(self._links.values())])

    async def call(self, number: int, method: str, arguments: bytes, timeout_s: float) -> bytes:
        """Ask another member. Raises CallFailed, CallRefused, or CapacityError."""
        if len(arguments) + len(method) > PAYLOAD_BYTES_MAX:
            raise UsageError(f"{method}: {len(arguments)} bytes of arguments")
        link = self._links.get(number)
        if link is None or link.peer is None:
            raise CallFailed(Unanswered.NO_LINK)
        request_id, future = self.calls.begin(link.peer.identity.incarnation)
        try:
            if not link.send(Request(request_id, method, arguments)):
                raise CallFailed(Unanswered.NO_LINK)
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise CallFailed(Unanswered.TIMEOUT) from None
        finally:
            self.calls.end(request_id)

    def flush(self) -> None:
        """Write what was sent during this turn, rather than at its end."""
        for link in self._links.values():
            link.flush()

    def close_silent(self, looks: int) -> None:
        """End links over which nothing came since the last so many looks, this one included."""
        for link in tuple(self._links.values()):
            link.silent_looks += 1
            if link.silent_looks > looks:
                self._log.info("bus_link_silent", remote=link.remote)
                link.abort()

    def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.hang_up_all()

    # What links tell.

    def opened(self, link: Link) -> RefusedFor | None:
        self._open.add(link)
        if self._identity is None:
            return RefusedFor.NOT_READY
        strangers = sum([other.peer is None for other in self._open])
        if link.role is Role.ACCEPTOR and strangers > STRANGERS_MAX:
            return RefusedFor.TOO_MANY
        return None

    def admits(self, peer: Peer) -> RefusedFor | None:
        if not self._handlers.accepts(peer.identity.incarnation):
            return RefusedFor.DEAD_INCARNATION
        link = self._links.get(peer.identity.number)
        if link is not None and link.peer is not None:
            epoch = link.peer.identity.epoch
            if epoch_is_newer(epoch, peer.identity.epoch):
                return RefusedFor.DEAD_INCARNATION
        return None

    def established(self, link: Link) -> None:
        assert link.peer is not None
        identity = link.peer.identity
        other = self._links.get(identity.number)
        if other is not None and other.peer is not None:
            if other.peer.identity.epoch != identity.epoch:
                self._end(other, other.peer)
            elif other.role is not link.role and self._is_preferred(other, identity.number):
                link.retire(say_so=True)
                return
            else:
                other.retire(say_so=link.role is Role.DIALER)
        self._links[identity.number] = link
        self.counters.links_made += 1
        target = self._targets.get(identity.number)
        if target is not None:
            target.unlinked.clear()
        if other is None:
            self._log.info("bus_link_made", peer=identity.name, number=identity.number)
        if other is None or other.peer != link.peer:
            self._handlers.link_up(identity.incarnation)

    def received(self, link: Link, frame: Received) -> None:
        assert link.peer is not None
        number = link.peer.identity.number
        if isinstance(frame, Packets):
            self._handlers.packets(number, frame.payloads)
        elif isinstance(frame, Heartbeat):
            self._handlers.heartbeat(link.peer.identity.incarnation, frame)
        elif isinstance(frame, Request):
            self._serve(link.peer.identity.incarnation, frame)
        elif isinstance(frame, Reply | Failure):
            self.calls.answer(link.peer.identity.incarnation, frame)
        elif isinstance(frame, Invalidate):
            self._handlers.invalidate(number, frame.what, frame.key)
        elif isinstance(frame, Event):
            self._handlers.event(number, frame.name, frame.body)

    def refused(self, refused: Refused, remote: str) -> None:
        self.refusals.note(refused, remote)
        self._handlers.refused(refused)

    def lost(self, link: Link) -> None:
        self._open.discard(link)
        if link.peer is None:
            return
        identity = link.peer.identity
        if self._links.get(identity.number) is not link:
            return
        self._end(link, link.peer)
        target = self._targets.get(identity.number)
        if target is not None:
            target.unlinked.set()

    def _end(self, link: Link, peer: Peer) -> None:
        """The link that was in use with this incarnation is no more."""
        link.abort()
        del self._links[peer.identity.number]
        self.counters.links_lost += 1
        self.calls.lost(peer.identity.incarnation)
        self._log.info("bus_link_lost", peer=peer.identity.name, number=peer.identity.number)
        self._handlers.link_down(peer.identity.incarnation)

    def _is_preferred(self, link: Link, number: int) -> bool:
        """Whether it was dialed by the lower number of the pair."""
        assert self._identity is not None  # links are ended when it is
        return (link.role is Role.DIALER) == (self._identity.number < number)

    def _new_link(self, role: Role, expected: int | None) -> Link:
        own = self._identity or Identity("", 0, 0, "")
        nonce = self._entropy.token_bytes(NONCE_BYTES)
        handshake = Handshake(role, own, self._keys, nonce, expected=expected)
        return Link(self, role, handshake, self._limits, self.counters)

    async def _keep_linked(self, target: _Target) -> None:
        assert self._identity is not None
        pause_s = 0.0 if self._identity.number < target.number else self._times.yield_s
        while True:
            await target.unlinked.wait()
            await asyncio.sleep(pause_s * self._jitter())
            if target.number in self._links:
                continue
            await self._dial(target)
            linked = target.number in self._links
            pause_s = 0.0 if linked else min(2 * pause_s, self._times.backoff_max_s)
            pause_s = max(pause_s, self._times.backoff_first_s)

    async def _dial(self, target: _Target) -> None:
        """Try once, until the handshake is over."""
        loop = asyncio.get_running_loop()
        link = self._new_link(Role.DIALER, target.number)
        context = self._tls.client if self._tls else None
        address = target.address
        try:
            async with asyncio.timeout(self._times.connect_s):
                await loop.create_connection(lambda: link, address.host, address.port, ssl=context)
            await link.settled.wait()
        except (OSError, TimeoutError):
            return  # nobody there: tried again
        finally:
            if link.peer is None:
                link.abort()

    def _jitter(self) -> float:
        """From a half to one."""
        return 0.5 + self._entropy.token_bytes(1)[0] / 510

    def _serve(self, incarnation: Incarnation, request: Request) -> None:
        if len(self._serving) >= SERVED_MAX:
            self._answer(incarnation, Failure(request.id, 503, "too many calls"))
            return
        task = self._group.create_task(self._work(incarnation, request))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _work(self, incarnation: Incarnation, request: Request) -> None:
        try:
            result = await self._handlers.rpc(request.method, request.arguments, incarnation[0])
            self._answer(incarnation, Reply(request.id, result))
        except (SipfarmError, msgspec.MsgspecError) as error:
            status = error.status if isinstance(error, PeerError | CapacityError) else 500
            reason = str(error)[:REASON_CHARS_MAX]
            self._answer(incarnation, Failure(request.id, status, reason))

    def _answer(self, incarnation: Incarnation, frame: Frame) -> None:
        """Over the link that is in use now, if it is still the same incarnation's."""
        link = self._links.get(incarnation[0])
        if link is not None and link.peer and link.peer.identity.incarnation == incarnation:
            link.send(frame)

    def _forget(self, number: int) -> None:
        target = self._targets.pop(number, None)
        if target is not None and target.task is not None:
            target.task.cancel()
