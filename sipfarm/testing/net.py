"""A network from a seed: datagrams that get lost, come twice, late, and out of order."""

from collections.abc import Callable
from random import Random

import msgspec

from sipfarm.testing.clock import VirtualClock

Endpoint = tuple[str, int]
Receiver = Callable[[bytes, Endpoint], None]


class NetOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the network does to datagrams. Each has a delay of its own, so they overtake another."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay_ms: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        low, high = self.delay_ms
        if not 0 <= self.loss <= 1 or not 0 <= self.duplicate <= 1 or not 0 <= low <= high:
            raise ValueError(f"not a network: {self}")


class Passage(msgspec.Struct, frozen=True):
    """One datagram as it was sent, and when its copies arrive (never: it was lost)."""

    at_ms: int
    source: Endpoint
    destination: Endpoint
    data: bytes
    arrivals_ms: tuple[int, ...]


class SimNet:
    """Carries datagrams between the endpoints that listen."""

    def __init__(self, clock: VirtualClock, random: Random, options: NetOptions) -> None:
        self.options = options
        self.lose_next: Callable[[Passage], bool] = lambda passage: False
        """A scenario's own losses, beside those by chance."""
        self._clock = clock
        self._random = random
        self._receivers: dict[Endpoint, Receiver] = {}
        self._watchers: list[Callable[[Passage], None]] = []

    def listen(self, endpoint: Endpoint, receiver: Receiver) -> None:
        self._receivers[endpoint] = receiver

    def watch(self, watcher: Callable[[Passage], None]) -> None:
        """Have each datagram shown that is sent."""
        self._watchers.append(watcher)

    def send(self, source: Endpoint, destination: Endpoint, data: bytes) -> None:
        now_ms = self._clock.now_ms()
        arrivals = self._arrivals(now_ms)
        passage = Passage(now_ms, source, destination, data, arrivals)
        if self.lose_next(passage):
            passage = msgspec.structs.replace(passage, arrivals_ms=())
        for watcher in self._watchers:
            watcher(passage)
        for at_ms in passage.arrivals_ms:
            self._clock.call_at(at_ms, lambda: self._deliver(source, destination, data))

    def _arrivals(self, now_ms: int) -> tuple[int, ...]:
        options, random = self.options, self._random
        copies = 1
        if options.loss and random.random() < options.loss:
            copies = 0
        if options.duplicate and random.random() < options.duplicate:
            copies += 1
        low, high = options.delay_ms
        if low == high:
            return (now_ms + low,) * copies
        return tuple([now_ms + random.randint(low, high) for _ in range(copies)])

    def _deliver(self, source: Endpoint, destination: Endpoint, data: bytes) -> None:
        receiver = self._receivers.get(destination)
        if receiver is not None:
            receiver(data, source)
