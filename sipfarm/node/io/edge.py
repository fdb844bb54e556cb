"""The farm's SIP addresses at one member: bound and read, or given up without losing a packet."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from sipfarm.base.net import Listen, Transport
from sipfarm.native import UdpPort
from sipfarm.node.io.sockets import SipSockets
from sipfarm.signaling.io.driver import Driver
from sipfarm.signaling.io.streams import Streams

HALF_OPEN_S: Final = 0.5
"""For a connection that has begun, or a packet whose socket was chosen before, to be there."""


class Edge:
    """What a member has while it is an edge: sockets, bound first, and read when all is ready."""

    def __init__(self, listens: Sequence[Listen]) -> None:
        """`listens`: where the farm is reached, whether or not this member binds it."""
        self.listens = list(listens)
        self._sockets: SipSockets | None = None
        self._ports: list[UdpPort] = []

    @property
    def is_open(self) -> bool:
        return self._sockets is not None

    def bind(self) -> None:
        """Raises StartError, and binds nothing, where one address cannot be bound. A port of 0
        becomes a real one.
        """
        if self._sockets is None:
            self._sockets = SipSockets(self.listens)
            self.listens = self._sockets.listens

    async def read(self, driver: Driver, streams: Streams) -> None:
        """Take what comes in at the sockets that are bound."""
        for local, listen, bound in self._sockets or ():
            if listen.transport is Transport.UDP:
                port = UdpPort(bound.fileno(), local)
                driver.add_port(port, bound.fileno())
                self._ports.append(port)
            else:
                await streams.listen(bound, local, listen.transport)

    def leave_group(self, driver: Driver) -> None:
        """Get nothing new, and work on what is queued; the sockets can still send."""
        if self._sockets is not None:
            self._sockets.leave_group()
            driver.read_out()

    def hold_back(self) -> None:
        """Begin no new connection; those that have begun can still be accepted."""
        if self._sockets is not None:
            self._sockets.hold_back()

    def stop_accepting(self, streams: Streams) -> None:
        """Accept what waits; the other members get the rest."""
        streams.stop_listening()
        if self._sockets is not None:
            self._sockets.close_listeners()

    async def accept_again(self, streams: Streams) -> None:
        """Take connections again. Raises StartError."""
        for local, listen, bound in self.open_listeners():
            await streams.listen(bound, local, listen.transport)

    def open_listeners(self) -> list[tuple[int, Listen, socket.socket]]:
        """Those that were closed, bound anew. Raises StartError."""
        return [] if self._sockets is None else self._sockets.open_listeners()

    async def give_up(self, driver: Driver, streams: Streams) -> None:
        """Have no socket any more. Connections that phones have opened go on, for a while."""
        self.leave_group(driver)
        self.hold_back()
        await asyncio.sleep(HALF_OPEN_S)
        self.stop_accepting(streams)
        streams.close_idle()
        driver.read_out()
        while self._ports:
            driver.remove_port(self._ports.pop())
        self.close()

    def close(self) -> None:
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None
