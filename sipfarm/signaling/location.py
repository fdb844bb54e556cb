"""What routing asks of the records of the farm, and the cache of bindings (RFC 3261 §10).

The store satisfies both sources as it is; signaling knows only these faces.
"""

from typing import Protocol

from sipfarm.base.records import Account, Application, Binding, Domain, NumberTarget
from sipfarm.signaling.lookup_cache import UNKNOWN, CacheSettings, LookupCache, Unknown
from sipfarm.signaling.recollection import Nobody, Others, Question, Remembered


class TenantSource(Protocol):
    """Domains and the names in them. Raises CapacityError when it cannot tell now."""

    async def domain(self, name: str) -> Domain | None: ...
    async def account(self, domain: str, name: str) -> Account | None: ...
    async def application(self, domain: str, name: str) -> Application | None: ...
    async def number(self, domain: str, number: str) -> NumberTarget | None:
        """Whom a number or an alias stands for."""
        ...


class BindingSource(Protocol):
    """The bindings of an address-of-record. Raises CapacityError when it cannot tell now."""

    async def bindings(self, aor: str, wall_ms: int) -> tuple[Binding, ...]: ...


class Locations:
    """Bindings as this member knows them; `forget` on each change told over the bus."""

    def __init__(
        self, source: BindingSource, settings: CacheSettings, others: Others | None = None
    ) -> None:
        self._source = source
        self._others = others or Nobody()
        self._cache: LookupCache[str, tuple[Binding, ...]] = LookupCache(settings)

    def peek(self, aor: str, now_ms: int) -> tuple[Binding, ...] | Unknown:
        """The bindings if they are at hand; expired ones may be among them."""
        return self._cache.peek(aor, now_ms)

    async def fetch(self, aor: str, now_ms: int, wall_ms: int) -> tuple[Binding, ...]:
        """The bindings, from the store; while it is away from a member that knows them."""

        async def ask_others() -> tuple[Binding, ...]:
            return (await self._others.ask(Question("bindings", aor))).bindings

        return await self._cache.fill(
            aor, lambda: self._source.bindings(aor, wall_ms), now_ms, ask_others
        )

    def recall(self, aor: str) -> Remembered | None:
        """What this member last knew of them; None if nothing."""
        bindings = self._cache.recall(aor)
        return None if bindings is UNKNOWN else Remembered(bindings=bindings)

    def put(self, aor: str, bindings: tuple[Binding, ...], now_ms: int) -> None:
        """What a register update through this member came to."""
        self._cache.put(aor, bindings, now_ms)

    def forget(self, aor: str) -> None:
        """An address-of-record was changed through another member."""
        self._cache.forget(aor)

    def doubt(self) -> None:
        """Changes may have been missed: the bus was down."""
        self._cache.doubt()
