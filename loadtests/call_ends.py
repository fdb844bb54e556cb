"""What both ends of a call heard of each other, and what is wrong with it.

Times are seconds of the call: from when both its ends knew where to send. A direction is named by
who is heard and who hears: `b→a` is what a hears of b.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

Side = Literal["a", "b"]

WORD_MS: Final = 360
FRAME_MS: Final = 20
LEVEL_DBFS: Final = -20.0
UDP_BYTES: Final = 28  # with IPv4
START_WITHIN_MS: Final = 1_000
END_WITHIN_MS: Final = 500
GAP_MS: Final = 100
BEHIND_MS: Final = 400
LOSS: Final = 0.01
LEVEL_DB: Final = 3.0
STRANGER_WORDS: Final = 3
OWN_WORDS: Final = 0.8
"""Of those that fit into the time that sounded."""


class CodeHeard(msgspec.Struct, frozen=True):
    """A number that an end read, and when."""

    number: int
    words: int
    first_ms: int
    last_ms: int
    level_dbfs: float

    @property
    def call(self) -> int:
        return self.number // 2

    @property
    def side(self) -> Side:
        return "b" if self.number % 2 else "a"


class EndHeard(msgspec.Struct, frozen=True, kw_only=True):
    """What one end of a call sent and heard, as `tone_ends` tells it."""

    call: int
    side: Side
    sent: int
    unsent: int
    packets: int
    bytes: int
    """Of RTP headers and payloads."""
    lost: int
    out_of_order: int
    malformed: int
    other: int
    sources: int
    sounding_frames: int
    silent_frames: int
    gap_count: int
    other_words: int
    """Of numbers beyond the first sixteen."""
    first_ms: int
    """When sound began and ended; -1 where there was none."""
    last_ms: int
    late_ms: int
    behind_ms: int
    """How far the program that talks and listens was behind its own time table, at its worst."""
    level_dbfs: float
    """Of all that sounded, a codec's own noises too."""
    gaps: tuple[tuple[int, int], ...]
    """Start and length in ms."""
    codes: tuple[CodeHeard, ...]

    @property
    def direction(self) -> str:
        return f"{other_side(self.side)}→{self.side}"

    @property
    def own_code(self) -> int:
        """What this end is to hear."""
        return code_of(self.call, other_side(self.side))

    @property
    def own(self) -> CodeHeard | None:
        return next((code for code in self.codes if code.number == self.own_code), None)

    @property
    def strangers(self) -> tuple[CodeHeard, ...]:
        """Who else was heard; less than three words are chance."""
        return tuple(
            code
            for code in self.codes
            if code.number != self.own_code and code.words >= STRANGER_WORDS
        )

    @property
    def kbit_per_s(self) -> float:
        """On the wire, while it sounded."""
        if self.last_ms <= self.first_ms:
            return 0.0
        bits = (self.bytes + UDP_BYTES * self.packets) * 8
        return round(bits / (self.last_ms - self.first_ms + FRAME_MS), 1)


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong with a call in one direction."""

    call: int
    direction: str
    kind: str
    second: float
    """When it began."""
    detail: str

    def __str__(self) -> str:
        return f"call {self.call}, {self.direction}: {self.detail}"


def other_side(side: Side) -> Side:
    return "b" if side == "a" else "a"


def code_of(call: int, side: Side) -> int:
    """The number that an end says."""
    return 2 * call + (side == "b")


def behind_ms(ends: Sequence[EndHeard]) -> int:
    """How far those who judge were behind: beyond BEHIND_MS what they say of silence is of them."""
    return max((end.behind_ms for end in ends), default=0)


def judge(ends: Sequence[EndHeard], calls: Sequence[int], listen_ms: int) -> list[Fault]:
    """What is wrong with the calls that were to be; ordered by call."""
    by_end: Mapping[tuple[int, Side], EndHeard] = {(end.call, end.side): end for end in ends}
    faults: list[Fault] = []
    for call in calls:
        a, b = by_end.get((call, "a")), by_end.get((call, "b"))
        if a is None or b is None:
            faults.append(Fault(call, "a↔b", "no call", 0.0, "the call was not set up"))
            continue
        faults += _judge_end(a, b, listen_ms) + _judge_end(b, a, listen_ms)
    return faults


def _judge_end(end: EndHeard, other: EndHeard, listen_ms: int) -> list[Fault]:
    found: list[Fault] = []

    def fault(kind: str, at_ms: int, detail: str) -> None:
        found.append(Fault(end.call, end.direction, kind, round(at_ms / 1_000, 1), detail))

    if end.first_ms < 0:
        one_way = "one-way audio: " if other.first_ms >= 0 else ""
        fault("one-way" if one_way else "silence", 0, f"{one_way}nothing was heard")
        return found
    if end.first_ms > START_WITHIN_MS:
        fault("late", 0, f"silent until second {end.first_ms / 1_000:.1f}")
    if end.last_ms < listen_ms - END_WITHIN_MS:
        fault("silence", end.last_ms, f"silent from second {end.last_ms / 1_000:.1f} on")
    long_gaps = [gap for gap in end.gaps if gap[1] >= GAP_MS]
    if long_gaps:
        start_ms, length_ms = max(long_gaps, key=lambda gap: gap[1])
        longest = f"{len(long_gaps)} gaps, the longest of {length_ms} ms"
        fault("gap", long_gaps[0][0], f"{longest} at second {start_ms / 1_000:.1f}")
    for code in end.strangers:
        fault(
            "cross-talk",
            code.first_ms,
            f"side {code.side} of call {code.call} was heard from second "
            f"{code.first_ms / 1_000:.1f} to {(code.last_ms + WORD_MS) / 1_000:.1f} "
            f"at {code.level_dbfs:.0f} dBFS",
        )
    words = end.own.words if end.own else 0
    expected = int(OWN_WORDS * (end.sounding_frames * FRAME_MS / WORD_MS - 1))
    if words < expected and not end.strangers:
        detail = f"its own code was read {words} times instead of {expected} at least"
        fault("garbled", end.first_ms, detail)
    if end.own and abs(end.own.level_dbfs - LEVEL_DBFS) > LEVEL_DB:
        level_db = end.own.level_dbfs - LEVEL_DBFS
        fault("level", end.first_ms, f"{level_db:+.1f} dB against what was sent")
    if end.lost > LOSS * (end.packets + end.lost):
        share = 100 * end.lost / (end.packets + end.lost)
        fault("loss", end.first_ms, f"{share:.1f} % of the packets were lost")
    if end.malformed:
        fault("malformed", end.first_ms, f"{end.malformed} packets were not what was agreed")
    return found
