"""Scripted phones on real sockets and in real time, with a network that loses datagrams."""

import select
import socket
import time
from collections.abc import Callable
from random import Random
from typing import Final, Self

from sipfarm.testing.clock import VirtualClock
from sipfarm.testing.net import Endpoint, Receiver

DATAGRAM_BYTES_MAX: Final = 65_535
BUFFER_BYTES: Final = 4 << 20
LOOK_S: Final = 0.05


class SocketNet:
    """A UDP socket for each phone. It loses what is sent and what is received, as the seed has it;
    `clock` runs as the real one while `run_until` is in.
    """

    def __init__(self, seed: int, loss: float = 0.0) -> None:
        self.clock = VirtualClock()
        self.lost = 0
        self._loss = loss
        self._random = Random(seed)
        self._sockets: dict[Endpoint, socket.socket] = {}
        self._receivers: dict[int, tuple[socket.socket, Receiver]] = {}
        self._poll = select.epoll()
        self._begun_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._poll.close()
        for bound in self._sockets.values():
            bound.close()

    # What a phone stands on.

    def listen(self, endpoint: Endpoint, receiver: Receiver) -> None:
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        bound.bind(endpoint)
        self._sockets[endpoint] = bound
        self._receivers[bound.fileno()] = bound, receiver
        self._poll.register(bound.fileno(), select.EPOLLIN)

    def send(self, source: Endpoint, destination: Endpoint, data: bytes) -> None:
        if not self._is_lost():
            self._sockets[source].sendto(data, destination)

    # What a test does.

    def run_until(self, holds: Callable[[], bool], within_s: float) -> bool:
        """Let the phones act until it holds; whether it does within the time."""
        until_s = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > until_s:
                return False
            self.clock.run_until(self._elapsed_ms())
            next_ms = self.clock.next_ms()
            wait_s = LOOK_S
            if next_ms is not None:
                wait_s = min(max((next_ms - self._elapsed_ms()) / 1_000, 0.0), LOOK_S)
            for descriptor, _ in self._poll.poll(wait_s):
                self._receive(*self._receivers[descriptor])
        return True

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._begun_s) * 1_000)

    def _receive(self, bound: socket.socket, receiver: Receiver) -> None:
        while True:
            try:
                data, source = bound.recvfrom(DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                return
            if not self._is_lost():
                receiver(data, source)

    def _is_lost(self) -> bool:
        if self._random.random() >= self._loss:
            return False
        self.lost += 1
        return True
