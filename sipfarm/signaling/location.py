"""What routing asks of the records of the farm, and the cache of bindings (RFC 3261 §10).

The store satisfies both sources as it is; signaling knows only these faces.
"""

from typing import Final, Protocol

import msgspec

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


_decode: Final = msgspec.msgpack.Decoder(tuple[Binding, ...]).decode


class Locations:
    """Bindings as this member knows them; `forget` on each change told over the bus.

    What is told as stored is read when somebody asks for it: most phones register far more often
    than they are called.
    """

    def __init__(
        self, source: BindingSource, settings: CacheSettings, others: Others | None = None
    ) -> None:
        self._source = source
        self._others = others or Nobody()
        self._cache: LookupCache[str, tuple[Binding, ...] | bytes] = LookupCache(settings)

    def peek(self, aor: str, now_ms: int) -> tuple[Binding, ...] | Unknown:
        """The bindings if they are at hand; expired ones may be among them."""
        found = self._cache.peek(aor, now_ms)
        return found if found is UNKNOWN else self._read(aor, found)

    async def fetch(self, aor: str, now_ms: int, wall_ms: int) -> tuple[Binding, ...]:
        """The bindings, from the store; while it is away from a member that knows them."""

        async def ask_others() -> tuple[Binding, ...]:
            return (await self._others.ask(Question("bindings", aor))).bindings

        async def look_up() -> tuple[Binding, ...]:
            return await self._source.bindings(aor, wall_ms)

        return self._read(aor, await self._cache.fill(aor, look_up, now_ms, ask_others))

    def recall(self, aor: str) -> Remembered | None:
        """What this member last knew of them; None if nothing."""
        bindings = self._cache.recall(aor)
        return None if bindings is UNKNOWN else Remembered(bindings=self._read(aor, bindings))

    def put(self, aor: str, bindings: tuple[Binding, ...] | bytes, now_ms: int) -> None:
        """What a register update through this member came to, or its stored form."""
        self._cache.put(aor, bindings, now_ms)

    def forget(self, aor: str) -> None:
        """An address-of-record was changed through another member."""
        self._cache.forget(aor)

    def _read(self, aor: str, bindings: tuple[Binding, ...] | bytes) -> tuple[Binding, ...]:
        if not isinstance(bindings, bytes):
            return bindings
        read = _decode(bindings)
        self._cache.rewrite(aor, read)
        return read

    def doubt(self) -> None:
        """Changes may have been missed: the bus was down."""
        self._cache.doubt()
