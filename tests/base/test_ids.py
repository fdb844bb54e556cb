from sipfarm.base.ids import Ids, base32_lower
from sipfarm.base.io.clock import SystemClock
from sipfarm.base.io.entropy import SystemEntropy


class Counting:
    """Entropy that counts."""

    def __init__(self) -> None:
        self.drawn = 0

    def token_bytes(self, count: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(count, "big")


def test_ids_come_from_the_entropy_alone() -> None:
    assert Ids(Counting()).call_id() == Ids(Counting()).call_id()


def test_ids_survive_the_folding_of_case() -> None:
    ids = Ids(SystemEntropy())
    for text in (ids.tag(), ids.call_id()):
        assert text == text.lower()
        assert text.isalnum()


def test_a_tag_carries_more_than_32_bits() -> None:
    assert len(base32_lower(bytes(10))) == 16
    assert len({Ids(SystemEntropy()).tag() for _ in range(1_000)}) == 1_000


def test_the_clock_goes_forward() -> None:
    clock = SystemClock()
    assert clock.now_ms() <= clock.now_ms()
    assert clock.wall_ms() > 1_600_000_000_000
