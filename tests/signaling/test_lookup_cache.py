"""The cache of look-ups: bounded, and never older than what it was told."""

from collections.abc import Awaitable, Callable, Generator

import pytest

from sipfarm.base.errors import CapacityError
from sipfarm.signaling.lookup_cache import UNKNOWN, CacheSettings, LookupCache
from tests.signaling.plain_sip import NOW_MS, Member, example_records, now

SETTINGS = CacheSettings(
    entries_max=3, lifetime_ms=100, absent_lifetime_ms=10, outage_lifetime_ms=20, fills_max=2
)


class Source:
    """Answers each look-up when it is told to, or fails it."""

    def __init__(self) -> None:
        self.is_away = False

    async def ask(self, value: str | None) -> str | None:
        await Turn()
        if self.is_away:
            raise CapacityError("away")
        return value


class Turn:
    """One await that its driver ends."""

    def __await__(self) -> Generator[None]:
        yield


def cache() -> LookupCache[str, str | None]:
    return LookupCache(SETTINGS)


def begin(
    held: LookupCache[str, str | None],
    key: str,
    value: str | None,
    source: Source | None = None,
    others: Callable[[], Awaitable[str | None]] | None = None,
) -> Generator[None, None, str | None]:
    """A fill that waits for its source."""
    asked = source or Source()
    filling = held.fill(key, lambda: asked.ask(value), NOW_MS, others).__await__()
    next(filling)
    return filling


def end(filling: Generator[None, None, str | None]) -> str | None:
    try:
        next(filling)
    except StopIteration as done:
        return done.value
    raise AssertionError("it still waits")


def test_an_answer_lives_for_its_lifetime() -> None:
    held = cache()
    end(begin(held, "a", "1"))
    assert held.peek("a", NOW_MS + 99) == "1"
    assert held.peek("a", NOW_MS + 100) is UNKNOWN


def test_that_there_is_none_lives_shortly() -> None:
    held = cache()
    end(begin(held, "a", None))
    assert held.peek("a", NOW_MS + 9) is None
    assert held.peek("a", NOW_MS + 10) is UNKNOWN


def test_the_least_recently_used_goes_first() -> None:
    held = cache()
    for key in "abc":
        held.put(key, key, NOW_MS)
    held.peek("a", NOW_MS)
    held.put("d", "d", NOW_MS)
    assert len(held) == 3
    assert held.peek("a", NOW_MS) == "a"
    assert held.peek("b", NOW_MS) is UNKNOWN


@pytest.mark.parametrize("forget", ["forget", "doubt"])
def test_an_answer_forgotten_while_it_was_under_way_is_not_kept(forget: str) -> None:
    held = cache()
    filling = begin(held, "a", "old")
    if forget == "forget":
        held.forget("a")
    else:
        held.doubt()
    assert end(filling) == "old"
    assert held.peek("a", NOW_MS) is UNKNOWN


def test_an_answer_put_meanwhile_is_not_overwritten() -> None:
    held = cache()
    filling = begin(held, "a", "old")
    held.put("a", "new", NOW_MS)
    end(filling)
    assert held.peek("a", NOW_MS) == "new"


def test_look_ups_under_way_are_bounded() -> None:
    held = cache()
    fillings = [begin(held, key, "1") for key in "ab"]
    with pytest.raises(CapacityError):
        begin(held, "c", "1")
    for filling in fillings:
        end(filling)
    end(begin(held, "c", "1"))


def test_a_cancelled_look_up_leaves_nothing_behind() -> None:
    held = cache()
    for _ in range(5):
        begin(held, "a", "1").close()
    assert held.peek("a", NOW_MS) is UNKNOWN
    end(begin(held, "b", "1"))


def test_an_old_answer_goes_on_while_the_source_is_away() -> None:
    held = cache()
    held.put("a", "old", NOW_MS - 1_000)
    source = Source()
    source.is_away = True
    assert end(begin(held, "a", "new", source)) == "old"
    assert held.peek("a", NOW_MS + 19) == "old"
    assert held.peek("a", NOW_MS + 20) is UNKNOWN


def test_what_is_in_doubt_is_asked_for_again_and_goes_on_while_the_source_is_away() -> None:
    held = cache()
    held.put("a", "old", NOW_MS)
    held.doubt()
    assert held.peek("a", NOW_MS) is UNKNOWN
    source = Source()
    source.is_away = True
    assert end(begin(held, "a", "new", source)) == "old"
    assert end(begin(held, "a", "new")) == "new"


def test_what_others_remember_goes_on_while_the_source_is_away() -> None:
    held = cache()
    source, others = Source(), Source()
    source.is_away = True
    filling = begin(held, "a", "new", source, lambda: others.ask("theirs"))
    next(filling)
    assert end(filling) == "theirs"
    assert held.peek("a", NOW_MS + 19) == "theirs"
    assert held.peek("a", NOW_MS + 20) is UNKNOWN


def test_what_was_put_while_others_were_asked_stays() -> None:
    held = cache()
    source, others = Source(), Source()
    source.is_away = True
    filling = begin(held, "a", "new", source, lambda: others.ask("theirs"))
    next(filling)
    held.put("a", "put", NOW_MS)
    assert end(filling) == "theirs"
    assert held.peek("a", NOW_MS) == "put"


def test_without_an_old_answer_the_outage_is_told() -> None:
    held = cache()
    source = Source()
    source.is_away = True
    filling = begin(held, "a", "new", source)
    with pytest.raises(CapacityError):
        end(filling)
    assert held.peek("a", NOW_MS) is UNKNOWN


@pytest.mark.parametrize("user", ["alice", "al", "1001"])
def test_a_name_an_alias_and_a_number_lead_to_the_account(user: str) -> None:
    member = Member(example_records())
    found = now(member.tenants.fetch_addressee("example.test", user, NOW_MS))
    assert found is not None
    assert found.name == "alice"
    assert member.tenants.peek_addressee("example.test", user, NOW_MS) == found
