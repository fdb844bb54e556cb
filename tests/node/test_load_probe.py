"""How late a loop is, as its own timers tell."""

from collections.abc import Callable
from typing import Any, cast

from sipfarm.node.io.load_probe import PROBE_S, PROBES, LoadProbe


class HandMovedLoop:
    """A loop of one timer, which fires as late as the test says."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._due: tuple[float, Callable[[], object]] = (0.0, lambda: None)

    def time(self) -> float:
        return self._now_s

    def call_at(self, when_s: float, fire: Callable[..., object], *args: object) -> None:
        self._due = (when_s, lambda: fire(*args))

    def turn(self, late_s: float) -> None:
        due_s, fire = self._due
        self._now_s = due_s + late_s
        fire()


def test_one_long_turn_makes_the_worst_lag_and_little_of_the_mean() -> None:
    loop = HandMovedLoop()
    probe = LoadProbe(cast("Any", loop))
    probe.start()
    loop.turn(late_s=0.2)
    for _ in range(PROBES - 1):
        loop.turn(late_s=0.0)
    assert round(probe.loop_lag_ms) == 200
    assert round(probe.mean_loop_lag_ms) == 200 // PROBES
    loop.turn(late_s=0.0)
    assert probe.loop_lag_ms < PROBE_S


def test_a_loop_that_is_late_each_time_is_known_as_late() -> None:
    loop = HandMovedLoop()
    probe = LoadProbe(cast("Any", loop))
    probe.start()
    for _ in range(PROBES):
        loop.turn(late_s=0.12)
    assert round(probe.mean_loop_lag_ms) == 120
