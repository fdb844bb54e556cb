"""What a load test that listens makes of what each end of a call heard."""

from typing import Any

import pytest

from loadtests.call_ends import (
    BEHIND_MS,
    CodeHeard,
    EndHeard,
    Side,
    behind_ms,
    code_of,
    judge,
    other_side,
)
from loadtests.listen import read_planted
from loadtests.tone_ends import Planted

LISTEN_MS = 20_000
GOOD: dict[str, Any] = {
    "sent": 1_050, "unsent": 0, "packets": 1_000, "bytes": 172_000, "lost": 0, "out_of_order": 0,
    "malformed": 0, "other": 0, "sources": 1, "sounding_frames": 1_000, "silent_frames": 0,
    "gap_count": 0, "other_words": 0, "first_ms": 0, "last_ms": 19_980, "late_ms": 1,
    "behind_ms": 2, "level_dbfs": -20.0, "gaps": (),
}  # fmt: skip
SILENT: dict[str, Any] = {
    "packets": 0, "bytes": 0, "sounding_frames": 0, "first_ms": -1, "last_ms": -1, "codes": (),
    "level_dbfs": -120.0,
}  # fmt: skip


def read(call: int, side: Side, words: int = 55, first_ms: int = 0) -> CodeHeard:
    """That this end of a call was heard."""
    return CodeHeard(code_of(call, side), words, first_ms, 19_400, -20.0)


def end(call: int, side: Side, **what: Any) -> EndHeard:
    own = (read(call, other_side(side)),)
    return EndHeard(call=call, side=side, **{**GOOD, "codes": own, **what})


def kinds(*ends: EndHeard) -> list[tuple[int, str, str, float]]:
    calls = sorted({each.call for each in ends})
    faults = judge(ends, calls, LISTEN_MS)
    return [(fault.call, fault.direction, fault.kind, fault.second) for fault in faults]


def test_nothing_is_wrong_with_good_calls() -> None:
    assert not kinds(*(end(call, side) for call in range(1, 1_001) for side in ("a", "b")))


def test_a_leg_that_falls_silent_is_named_with_its_direction_and_second() -> None:
    broken = end(137, "a", last_ms=3_000, sounding_frames=150, codes=(read(137, "b", 8),))
    assert kinds(end(136, "a"), end(136, "b"), broken, end(137, "b")) == [
        (137, "b→a", "silence", 3.0)
    ]


def test_who_hears_nothing_while_he_is_heard_has_one_way_audio() -> None:
    assert kinds(end(5, "a"), end(5, "b", **SILENT)) == [(5, "a→b", "one-way", 0.0)]


def test_who_hears_nothing_and_is_not_heard_has_no_audio() -> None:
    assert kinds(end(5, "a", **SILENT), end(5, "b", **SILENT)) == [
        (5, "b→a", "silence", 0.0),
        (5, "a→b", "silence", 0.0),
    ]


def test_a_strangers_code_is_cross_talk_and_names_its_call() -> None:
    mixed = end(5, "b", codes=(read(5, "a"), read(51, "b", 12, 4_000)))
    faults = judge([end(5, "a"), mixed], [5], LISTEN_MS)
    assert [(fault.kind, fault.direction, fault.second) for fault in faults] == [
        ("cross-talk", "a→b", 4.0)
    ]
    assert "side b of call 51" in faults[0].detail


def test_two_words_by_chance_are_no_cross_talk() -> None:
    assert not kinds(end(5, "a"), end(5, "b", codes=(read(5, "a"), read(51, "b", 2))))


def test_ones_own_voice_is_an_echo_and_no_answer() -> None:
    echoed = end(5, "a", codes=(read(5, "a"),))
    assert kinds(echoed, end(5, "b")) == [(5, "b→a", "cross-talk", 0.0)]


@pytest.mark.parametrize(
    ("what", "kind", "second"),
    [
        ({"first_ms": 2_500}, "late", 0.0),
        ({"gaps": ((7_000, 400),), "gap_count": 1}, "gap", 7.0),
        ({"codes": (CodeHeard(code_of(5, "b"), 55, 0, 19_400, -26.0),)}, "level", 0.0),
        ({"lost": 30}, "loss", 0.0),
        ({"malformed": 1}, "malformed", 0.0),
        ({"codes": (CodeHeard(code_of(5, "b"), 10, 0, 19_000, -20.0),)}, "garbled", 0.0),
    ],
)
def test_each_thing_that_can_be_wrong_has_a_name(
    what: dict[str, Any], kind: str, second: float
) -> None:
    assert kinds(end(5, "a", **what), end(5, "b")) == [(5, "b→a", kind, second)]


def test_a_short_gap_is_none() -> None:
    assert not kinds(end(5, "a", gaps=((7_000, 60),), gap_count=1), end(5, "b"))


def test_a_call_that_was_not_set_up_is_told() -> None:
    faults = judge([end(1, "a"), end(1, "b")], [1, 2], LISTEN_MS)
    assert [(fault.call, fault.kind) for fault in faults] == [(2, "no call")]


def test_the_judges_own_delay_is_told() -> None:
    assert behind_ms([end(1, "a", behind_ms=7), end(1, "b", behind_ms=900)]) == 900 > BEHIND_MS


def test_bandwidth_is_that_of_the_wire() -> None:
    assert end(1, "a").kbit_per_s == pytest.approx(80.0)
    assert end(1, "a", **SILENT).kbit_per_s == 0.0


def test_a_planted_fault_is_read_from_the_command_line() -> None:
    assert read_planted("137:b:3.0") == Planted(137, "b", 3_000)
    assert read_planted("137:a:2.5:51") == Planted(137, "a", 2_500, code_of(51, "a"))
    assert read_planted("137:a:2.5:51").line == "confuse 137 a 2500 102\n"
    assert read_planted("137:b:3.0").line == "break 137 b 3000\n"
