"""Refused links are counted each, and logged once in a while."""

from structlog.testing import capture_logs

from sipfarm.base.io.logs import get_log
from sipfarm.cluster.handshake import Refused, RefusedFor
from sipfarm.cluster.io.refusals import LOG_EVERY_MS, Refusals


class ByHand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ms = 5

    def now_ms(self) -> int:
        return self.ms

    def wall_ms(self) -> int:
        return self.ms


def test_a_flood_of_strangers_is_a_few_lines_and_one_number() -> None:
    clock = ByHand()
    with capture_logs() as lines:
        refusals = Refusals(clock, get_log())
        for _ in range(1_000):
            refusals.note(Refused(RefusedFor.WRONG_SECRET), "10.0.0.1")
        refusals.note(Refused(RefusedFor.LATE), "10.0.0.2")
        clock.ms += LOG_EVERY_MS
        refusals.note(Refused(RefusedFor.WRONG_SECRET), "10.0.0.3")
    told = [(line["reason"], line["remote"], line["others"]) for line in lines]
    assert told == [
        ("wrong_secret", "10.0.0.1", 0),
        ("late", "10.0.0.2", 0),
        ("wrong_secret", "10.0.0.3", 999),
    ]
    assert refusals.counts[RefusedFor.WRONG_SECRET] == 1_001
