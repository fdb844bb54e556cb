"""When a socket is read at once, and when by the clock."""

import asyncio
import socket
from collections.abc import Callable, Generator

import pytest

from sipfarm.signaling.io.udp_reader import WAKES_LOOKED_AT, UdpReader
from sipfarm.testing.eventually import turn

MANY = 100
"""More than one read takes."""


class Sockets:
    """A datagram socket that is read by a UdpReader, and its far end."""

    def __init__(self) -> None:
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.near.setblocking(False)
        self.received: list[bytes] = []
        self.on_read: Callable[[], None] = lambda: None

    def read(self) -> int:
        """One datagram at most, so that each wake-up takes one."""
        try:
            self.received.append(self.near.recv(100))
        except BlockingIOError:
            return 0
        self.on_read()
        return 1

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.fixture
def sockets() -> Generator[Sockets, None, None]:
    made = Sockets()
    yield made
    made.close()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await turn()


def test_a_single_packet_is_read_at_once(sockets: Sockets) -> None:
    async def run() -> None:
        reader = UdpReader(asyncio.get_running_loop(), sockets.near.fileno(), sockets.read, MANY)
        sockets.far.send(b"1")
        await _until(lambda: sockets.received == [b"1"])
        assert not reader.is_polling
        reader.stop()

    asyncio.run(run())


def test_a_stream_of_wake_ups_is_read_by_the_clock_until_it_ends(sockets: Sockets) -> None:
    async def run() -> None:
        reader = UdpReader(asyncio.get_running_loop(), sockets.near.fileno(), sockets.read, MANY)
        left = WAKES_LOOKED_AT

        def send_next() -> None:
            nonlocal left
            left -= 1
            if left > 0:
                sockets.far.send(b"more")

        sockets.on_read = send_next
        sockets.far.send(b"first")
        await _until(lambda: reader.is_polling)
        sockets.far.send(b"while polling")
        await _until(lambda: sockets.received[-1] == b"while polling")
        await _until(lambda: not reader.is_polling)
        sockets.far.send(b"afterwards")
        await _until(lambda: sockets.received[-1] == b"afterwards")
        reader.stop()

    asyncio.run(run())


def test_what_one_read_leaves_under_load_is_read_at_once(sockets: Sockets) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        reader = UdpReader(loop, sockets.near.fileno(), sockets.read, 1)

        def send_next() -> None:
            sockets.far.send(b"more")

        sockets.on_read = send_next
        sockets.far.send(b"first")
        await _until(lambda: reader.is_polling)
        woken = len(sockets.received)
        await _until(lambda: len(sockets.received) > woken)
        for _ in range(MANY):
            await turn()
        assert len(sockets.received) >= woken + MANY
        reader.stop()

    asyncio.run(run())


def test_nothing_is_read_after_stop(sockets: Sockets) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(WAKES_LOOKED_AT):
            sockets.far.send(b"load")
        reader = UdpReader(loop, sockets.near.fileno(), sockets.read, MANY)
        await _until(lambda: reader.is_polling)
        reader.stop()
        sockets.far.send(b"late")
        turns = iter(range(50))
        await _until(lambda: next(turns, None) is None)
        assert b"late" not in sockets.received
        assert not loop.remove_reader(sockets.near.fileno())

    asyncio.run(run())


def test_a_reader_that_its_own_read_stops_under_load_stays_stopped(sockets: Sockets) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        faults: list[object] = []
        loop.set_exception_handler(lambda _, context: faults.append(context))
        for _ in range(WAKES_LOOKED_AT + 1):
            sockets.far.send(b"load")
        reader = UdpReader(loop, sockets.near.fileno(), sockets.read, MANY)

        def stop_at_last() -> None:
            if len(sockets.received) == WAKES_LOOKED_AT:
                reader.stop()

        sockets.on_read = stop_at_last
        turns = iter(range(2 * WAKES_LOOKED_AT))
        await _until(lambda: next(turns, None) is None)
        assert len(sockets.received) == WAKES_LOOKED_AT
        assert not reader.is_polling
        assert not faults

    asyncio.run(run())
