"""The bus between simulated members: links that keep order and lose nothing, until they break."""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Final, Protocol

import msgspec

from sipfarm.base.farm_view import Incarnation
from sipfarm.testing.clock import VirtualClock

QUEUE_MAX: Final = 1_000  # frames that wait for a link that is cut
BREAKS_AFTER_MS: Final = 2_000  # a link cut for so long is closed, and what waited is lost
REDIAL_MS: Final = 100

Frame = tuple[str, bytes]
"""("engine", payload), ("heartbeat", packed) or ("binding", address-of-record)."""
Rewrite = Callable[[int, int, Frame], list[tuple[int, Frame]]]
"""(from, to, frame) → what is sent instead, and to whom: how a fault is planted."""
Pair = frozenset[Incarnation]


class Party(Protocol):
    """A member, as the bus knows it."""

    def accepts(self, incarnation: Incarnation) -> bool: ...
    def receive_frame(self, sender: Incarnation, frame: Frame) -> None: ...
    def link_up(self, other: Incarnation) -> None: ...
    def link_down(self, other: Incarnation) -> None: ...


class BusOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How long a frame takes, and how long it takes to make a link."""

    delay_ms: tuple[int, int] = (0, 1)
    dial_ms: tuple[int, int] = (0, 0)


class _Link(msgspec.Struct):
    waiting: deque[tuple[Incarnation, Incarnation, Frame]]
    latest_ms: dict[Incarnation, int]


class SimBus:
    """Carries frames between incarnations; a partition cuts single links, in both directions."""

    def __init__(self, clock: VirtualClock, random: Random, options: BusOptions) -> None:
        self.rewrite: Rewrite | None = None
        self.frames = 0
        self.lost = 0
        self.is_frozen = False
        """Nobody dials any more."""
        self._clock = clock
        self._random = random
        self._options = options
        self._cuts: dict[frozenset[int], int] = {}
        self._parties: dict[Incarnation, Party] = {}
        self._links: dict[Pair, _Link] = {}
        self._wanted: set[Pair] = set()

    def connect(self, incarnation: Incarnation, party: Party) -> None:
        self._parties[incarnation] = party

    def disconnect(self, incarnation: Incarnation) -> None:
        """The process is gone: what is on its way to it is lost."""
        self._parties.pop(incarnation, None)
        for pair in [pair for pair in self._links if incarnation in pair]:
            self._break(pair)
        self._wanted = {pair for pair in self._wanted if incarnation not in pair}

    def incarnation_of(self, number: int) -> Incarnation | None:
        """Who has this number now."""
        return next((known for known in self._parties if known[0] == number), None)

    # Links.

    def dial(self, own: Incarnation, other: Incarnation) -> None:
        """Keep a link between the two."""
        pair = frozenset((own, other))
        if pair not in self._wanted:
            self._wanted.add(pair)
            self._dial_later(pair, self._options.dial_ms)

    def hang_up(self, own: Incarnation, other: Incarnation) -> None:
        pair = frozenset((own, other))
        self._wanted.discard(pair)
        if pair in self._links:
            self._break(pair)

    def linked(self, own: Incarnation, number: int) -> Incarnation | None:
        """The other end of the link with the member of that number."""
        for pair in self._links:
            if own in pair:
                (other,) = pair - {own}
                if other[0] == number:
                    return other
        return None

    def cut(self, one: int, other: int) -> None:
        """Nothing passes between two members; a link that is cut for long breaks."""
        numbers = frozenset((one, other))
        if numbers not in self._cuts:
            since_ms = self._cuts[numbers] = self._clock.now_ms()
            self._clock.call_later(BREAKS_AFTER_MS, lambda: self._wear_out(numbers, since_ms))

    def heal(self, one: int, other: int) -> None:
        """What waited arrives, if the link is still there."""
        numbers = frozenset((one, other))
        if self._cuts.pop(numbers, None) is None:
            return
        for pair, link in tuple(self._links.items()):
            if _numbers(pair) == numbers:
                waiting, link.waiting = link.waiting, deque()
                for sender, receiver, frame in waiting:
                    self._carry(link, sender, receiver, frame)

    def is_cut(self, one: int, other: int) -> bool:
        return frozenset((one, other)) in self._cuts

    def _wear_out(self, numbers: frozenset[int], since_ms: int) -> None:
        if self._cuts.get(numbers) != since_ms:
            return
        for pair in [pair for pair in self._links if _numbers(pair) == numbers]:
            self._break(pair)
            self._dial_later(pair, (REDIAL_MS, REDIAL_MS))

    def _dial_later(self, pair: Pair, delay_ms: tuple[int, int]) -> None:
        low, high = delay_ms
        if high == 0:
            self._try(pair)
        else:
            self._clock.call_later(self._random.randint(low, high), lambda: self._try(pair))

    def _try(self, pair: Pair) -> None:
        if pair not in self._wanted or pair in self._links or self.is_frozen:
            return
        one, other = sorted(pair)
        first, second = self._parties.get(one), self._parties.get(other)
        if first is None or second is None:
            self._wanted.discard(pair)
        elif _numbers(pair) in self._cuts or not first.accepts(other) or not second.accepts(one):
            self._dial_later(pair, (REDIAL_MS, REDIAL_MS))
        else:
            self._links[pair] = _Link(deque(), {})
            first.link_up(other)
            second.link_up(one)

    def _break(self, pair: Pair) -> None:
        link = self._links.pop(pair)
        self.lost += len(link.waiting)
        for own in pair:
            party = self._parties.get(own)
            if party is not None:
                (other,) = pair - {own}
                party.link_down(other)

    # Frames.

    def send(self, sender: Incarnation, number: int, frame: Frame) -> None:
        """Over the link with that member, if there is one."""
        if self.rewrite is None:
            self._send(sender, number, frame)
            return
        for to, instead in self.rewrite(sender[0], number, frame):
            self._send(sender, to, instead)

    def _send(self, sender: Incarnation, number: int, frame: Frame) -> None:
        self.frames += 1
        receiver = self.linked(sender, number)
        if receiver is None:
            self.lost += 1
            return
        link = self._links[frozenset((sender, receiver))]
        if frozenset((sender[0], number)) not in self._cuts:
            self._carry(link, sender, receiver, frame)
        elif len(link.waiting) < QUEUE_MAX:
            link.waiting.append((sender, receiver, frame))
        else:
            self.lost += 1

    def _carry(self, link: _Link, sender: Incarnation, receiver: Incarnation, frame: Frame) -> None:
        low, high = self._options.delay_ms
        at_ms = self._clock.now_ms() + (low if low == high else self._random.randint(low, high))
        at_ms = max(at_ms, link.latest_ms.get(sender, 0))
        link.latest_ms[sender] = at_ms
        pair = frozenset((sender, receiver))
        self._clock.call_at(at_ms, lambda: self._deliver(pair, link, sender, receiver, frame))

    def _deliver(
        self, pair: Pair, link: _Link, sender: Incarnation, receiver: Incarnation, frame: Frame
    ) -> None:
        party = self._parties.get(receiver)
        if party is None or self._links.get(pair) is not link:
            self.lost += 1
            return
        party.receive_frame(sender, frame)


def _numbers(pair: Pair) -> frozenset[int]:
    return frozenset([number for number, _ in pair])
