"""A bounded cache of look-ups with a plain fast path and an awaited slow one."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final, Generic, Literal, TypeVar

import msgspec

from sipfarm.base.errors import CapacityError

K = TypeVar("K")
V = TypeVar("V")


class Answer(Enum):
    """What a cache says that does not know; None always means "there is none"."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Answer.UNKNOWN
Unknown = Literal[Answer.UNKNOWN]


class CacheSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a cache.

    What is invalidated over the bus is gone at once; the lifetimes are for a lost message.
    """

    entries_max: int = 65_536
    lifetime_ms: int = 60_000
    absent_lifetime_ms: int = (
        3_000  # of "there is none": what is provisioned now should soon be found
    )
    outage_lifetime_ms: int = 2_000  # how long an old answer goes on when the source is away
    fills_max: int = (
        1_024  # look-ups under way at once; a flood of unknown names must not drown the store
    )


class LookupCache(Generic[K, V]):
    """Answers by key, least recently used first out."""

    def __init__(self, settings: CacheSettings) -> None:
        self._settings = settings
        self._entries: OrderedDict[K, tuple[V, int, int]] = OrderedDict()
        self._age = 0  # of what is written now; what is of an earlier one is in doubt
        self._fills: dict[K, object] = {}  # under way: which fill may still write its key
        self._under_way = 0

    def __len__(self) -> int:
        return len(self._entries)

    def peek(self, key: K, now_ms: int) -> V | Unknown:
        """The answer if it is at hand and not too old."""
        entry = self._entries.get(key)
        if entry is None or entry[1] <= now_ms or entry[2] != self._age:
            return UNKNOWN
        self._entries.move_to_end(key)
        return entry[0]

    @property
    def age(self) -> int:
        """How often everything was put in doubt; what is of an earlier age must be asked again."""
        return self._age

    def until_ms(self, key: K, now_ms: int) -> int:
        """How long the answer at hand is good; 0 where there is none."""
        entry = self._entries.get(key)
        return 0 if entry is None or entry[1] <= now_ms or entry[2] != self._age else entry[1]

    def recall(self, key: K) -> V | Unknown:
        """The last answer, however old: for when the source is away."""
        entry = self._entries.get(key)
        return UNKNOWN if entry is None else entry[0]

    def put(self, key: K, value: V, now_ms: int) -> None:
        """Take in what is known from elsewhere; a fill under way for it writes no more."""
        self._fills.pop(key, None)
        self._write(key, value, now_ms)

    def rewrite(self, key: K, value: V) -> None:
        """Keep the answer at hand in another form."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries[key] = (value, entry[1], entry[2])

    async def fill(
        self,
        key: K,
        look_up: Callable[[], Awaitable[V]],
        now_ms: int,
        ask_others: Callable[[], Awaitable[V]] | None = None,
    ) -> V:
        """Ask the source and keep the answer, unless the key was forgotten meanwhile.

        Where the source is away (CapacityError) an old answer goes on for a while: this cache's,
        else one that others remember.
        """
        if self._under_way >= self._settings.fills_max:
            raise CapacityError("too many look-ups under way")
        fill = self._fills[key] = object()
        self._under_way += 1
        try:
            value = await look_up()
        except CapacityError:
            old = self.recall(key)
            if old is UNKNOWN:
                if ask_others is None:
                    raise
                old = await ask_others()
            if self._fills.get(key) is fill:
                self._write_until(key, old, now_ms + self._settings.outage_lifetime_ms)
            return old
        else:
            if self._fills.get(key) is fill:
                self._write(key, value, now_ms)
            return value
        finally:
            self._under_way -= 1
            if self._fills.get(key) is fill:
                del self._fills[key]

    def forget(self, key: K) -> None:
        """Drop one answer."""
        self._entries.pop(key, None)
        self._fills.pop(key, None)

    def doubt(self) -> None:
        """Ask for everything again: invalidations may have been missed. While the source is away
        the old answers are still better than none.
        """
        self._age += 1
        self._fills.clear()

    def _write(self, key: K, value: V, now_ms: int) -> None:
        settings = self._settings
        lifetime_ms = settings.lifetime_ms if value else settings.absent_lifetime_ms
        self._write_until(key, value, now_ms + lifetime_ms)

    def _write_until(self, key: K, value: V, until_ms: int) -> None:
        self._entries[key] = (value, until_ms, self._age)
        self._entries.move_to_end(key)
        if len(self._entries) > self._settings.entries_max:
            self._entries.popitem(last=False)
