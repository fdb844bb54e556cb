"""What nobody received fails at once, and the socket is read on (RFC 3261 §17.1.4, §18.4)."""

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop

from sipfarm.base.io.clock import SystemClock
from sipfarm.native import Engine, Event, EventKind, Hop, UdpPort
from sipfarm.signaling.io.driver import Driver
from sipfarm.testing.fake_plane import FakePlane

PATIENCE_S = 10.0
HERE = "127.0.0.1"
T1_MS = 60_000
"""Nothing is sent again, and no timer runs out, while a test lasts."""

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


class Stage:
    """An engine with a socket, and a neighbour that is there or not."""

    def __init__(self, here: socket.socket, neighbour: socket.socket) -> None:
        self.neighbour = neighbour
        self.address: tuple[str, int] = here.getsockname()
        self.far: tuple[str, int] = neighbour.getsockname()
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        clock = SystemClock()
        self.engine = Engine(
            FakePlane(HERE, 4).pool,
            listens=[(Hop("udp", HERE, self.address[1]), HERE, self.address[1])],
            member=1,
            epoch=1,
            mark_key=bytes(16),
            transaction_key=bytes(16),
            media=HERE,
            now_ms=clock.now_ms(),
            t1_ms=T1_MS,
        )
        loop = asyncio.get_running_loop()
        self.driver = Driver(
            loop, clock, self.engine, self.events.put_nowait, lambda out: None, lambda: True
        )
        self.driver.add_port(UdpPort(here.fileno(), 0), here.fileno())

    def ask(self, key: int) -> None:
        """Send OPTIONS to the neighbour."""
        uri = f"sip:{self.far[0]}:{self.far[1]}"
        lines = (
            ("From", "<sip:a@example.test>;tag=a"),
            ("To", f"<{uri}>"),
            ("Call-ID", "c"),
            ("CSeq", f"{key} OPTIONS"),
        )
        sent = self.engine.request(
            key, "OPTIONS", uri, "", lines, b"", "c", None, self.driver.now_ms(), self.driver.out
        )
        assert sent
        self.driver.wake()

    async def told(self) -> Event:
        async with asyncio.timeout(PATIENCE_S):
            return await self.events.get()


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_request_that_nobody_received_fails_at_once_and_the_socket_is_read_on(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def play() -> None:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as neighbour,
        ):
            here.bind((HERE, 0))
            neighbour.bind((HERE, 0))
            here.setblocking(False)
            stage = Stage(here, neighbour)
            neighbour.close()
            for key in range(1, 4):
                stage.ask(key)
                event = await stage.told()
                assert (event.kind, event.id, event.status) == (EventKind.RESPONSE, key, 503)
            assert stage.engine.counters()["undelivered"] == 3
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
                late.bind(stage.far)
                late.settimeout(PATIENCE_S)
                stage.ask(4)
                loop = asyncio.get_running_loop()
                wire = await loop.run_in_executor(None, late.recv, 65_535)
                head = wire.split(b"\r\n", 1)[1].replace(b"Max-Forwards: 70\r\n", b"")
                late.sendto(b"SIP/2.0 200 OK\r\n" + head, stage.address)
                event = await stage.told()
                assert (event.kind, event.id, event.status) == (EventKind.RESPONSE, 4, 200)
            stage.driver.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(play())
