"""The packet logs of a farm's members held against what a SIPp has written of its own packets."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from sipfarm.signaling.packet_lines import PacketLine, digest_of
from sipfarm.testing.eventually import eventually
from sipfarm.testing.real_farm import RealFarm
from sipfarm.testing.sipp import Sipp

WRITTEN_WITHIN_S = 5.0
WORKED_ON = ("worked_on", "absorbed")


class Arrivals(msgspec.Struct, frozen=True):
    """How many packets came, and to how many a member was not the owner that it came to."""

    all: int
    owned: int
    """Without those that begin a call: nobody owns them yet."""
    elsewhere: int
    owned_elsewhere: int


class PacketLogs:
    """What the members wrote of the packets of some SIPps' calls."""

    def __init__(self, farm: RealFarm, sipps: Sequence[Sipp]) -> None:
        self.sent = Counter(_digests(sipps, received=False))
        """What the SIPps sent: the digests, and how often."""
        self.received = Counter(_digests(sipps, received=True))
        self._initial = {
            digest_of(wire)
            for sipp in sipps
            for received, wire in sipp.packets
            if not received and wire.startswith(b"INVITE ") and ";tag=" not in _value(wire, b"To")
        }
        self._calls = {_value(wire, b"Call-ID") for sipp in sipps for _, wire in sipp.packets}
        self.lines: Mapping[str, list[PacketLine]] = {}
        eventually(
            lambda: self._read(farm) >= self.sent.total(),
            "the members have written down what came",
            WRITTEN_WITHIN_S,
            lambda: f"{self._arrived().total()} of {self.sent.total()}",
        )

    def check(self) -> Arrivals:
        """AssertionError unless each packet came to one member, was worked on by one, the owner of
        its call, and what the members sent is what the SIPps received.
        """
        assert self._arrived() == self.sent, _differ(self._arrived(), self.sent)
        worked_on = Counter(line.digest for _, line in self._all() if line.what in WORKED_ON)
        assert worked_on == self.sent, _differ(worked_on, self.sent)
        owners: dict[str, set[str]] = {}
        for name, line in self._all():
            if line.what in WORKED_ON:
                owners.setdefault(line.call_id, set()).add(name)
        divided = {call_id: names for call_id, names in owners.items() if len(names) > 1}
        assert not divided, divided
        left = Counter(line.digest for _, line in self._all() if _left(line))
        assert left == self.received, _differ(left, self.received)
        return self.arrivals()

    def arrivals(self) -> Arrivals:
        came = [line for _, line in self._all() if _came(line)]
        owned = [line for line in came if line.digest not in self._initial]
        return Arrivals(len(came), len(owned), _elsewhere(came), _elsewhere(owned))

    def _read(self, farm: RealFarm) -> int:
        """How many packets of the SIPps the members know of."""
        self.lines = {
            name: [line for line in farm.packet_lines(name) if self._is_meant(line)]
            for name in farm.names
        }
        return self._arrived().total()

    def _is_meant(self, line: PacketLine) -> bool:
        return line.call_id in self._calls

    def _arrived(self) -> Counter[str]:
        return Counter(line.digest for _, line in self._all() if _came(line))

    def _all(self) -> Iterable[tuple[str, PacketLine]]:
        return ((name, line) for name, lines in self.lines.items() for line in lines)


def _came(line: PacketLine) -> bool:
    """Off the wire."""
    return line.what != "sent" and not line.from_member


def _left(line: PacketLine) -> bool:
    """To the wire, and not through another member."""
    return line.what == "sent" and not line.to_member


def _elsewhere(lines: Iterable[PacketLine]) -> int:
    return sum(line.what == "passed_on" for line in lines)


def _digests(sipps: Iterable[Sipp], *, received: bool) -> Iterable[str]:
    return (digest_of(wire) for sipp in sipps for came, wire in sipp.packets if came is received)


def _value(wire: bytes, name: bytes) -> str:
    return wire.partition(b"\r\n" + name + b":")[2].partition(b"\r\n")[0].strip().decode()


def _differ(one: Counter[str], other: Counter[str]) -> str:
    return f"too many: {dict(one - other)}, missing: {dict(other - one)}"[:2_000]
