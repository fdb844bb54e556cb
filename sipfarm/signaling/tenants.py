"""Domains and the names in them, cached: whom a user part stands for."""

from sipfarm.base.records import Account, Application, Domain, TargetKind
from sipfarm.signaling.location import TenantSource
from sipfarm.signaling.lookup_cache import UNKNOWN, CacheSettings, LookupCache, Unknown
from sipfarm.signaling.recollection import Nobody, Others, Question, Remembered

Addressee = Account | Application


class Tenants:
    """The provisioned records as this member knows them; domain names in canonical form."""

    def __init__(
        self, source: TenantSource, settings: CacheSettings, others: Others | None = None
    ) -> None:
        self._source = source
        self._others = others or Nobody()
        self._domains: LookupCache[str, Domain | None] = LookupCache(settings)
        self._addressees: LookupCache[tuple[str, str], Addressee | None] = LookupCache(settings)

    def peek_domain(self, name: str, now_ms: int) -> Domain | Unknown | None:
        """A domain of the farm; None where it is not one."""
        return self._domains.peek(name, now_ms)

    def peek_addressee(self, domain: str, user: str, now_ms: int) -> Addressee | Unknown | None:
        """Whom a user part stands for: an account or application by name, alias or number."""
        return self._addressees.peek((domain, user), now_ms)

    @property
    def age(self) -> int:
        """What was known of names at another age must be asked again."""
        return self._addressees.age

    def until_ms(self, domain: str, user: str, now_ms: int) -> int:
        """How long is good what is known of a user part and its domain; 0 where that is nothing."""
        of_domain = self._domains.until_ms(domain, now_ms)
        return min(of_domain, self._addressees.until_ms((domain, user), now_ms))

    async def fetch_domain(self, name: str, now_ms: int) -> Domain | None:
        """A domain of the farm, from the store; while it is away from a member that knows it."""

        async def ask_others() -> Domain | None:
            return (await self._others.ask(Question("domain", name))).domain

        return await self._domains.fill(name, lambda: self._source.domain(name), now_ms, ask_others)

    async def fetch_addressee(self, domain: str, user: str, now_ms: int) -> Addressee | None:
        """Whom a user part stands for, from the store; while it is away from a member that knows
        it.
        """

        async def ask_others() -> Addressee | None:
            remembered = await self._others.ask(Question("addressee", domain, user))
            return remembered.account or remembered.application

        return await self._addressees.fill(
            (domain, user), lambda: self._look_up(domain, user), now_ms, ask_others
        )

    def recall_domain(self, name: str) -> Remembered | None:
        """What this member last knew of a domain; None if nothing."""
        domain = self._domains.recall(name)
        return None if domain is UNKNOWN else Remembered(domain=domain)

    def recall_addressee(self, domain: str, user: str) -> Remembered | None:
        """Whom this member last knew a user part to stand for; None if it knew nothing."""
        addressee = self._addressees.recall((domain, user))
        if addressee is UNKNOWN:
            return None
        if isinstance(addressee, Application):
            return Remembered(application=addressee)
        return Remembered(account=addressee)

    async def _look_up(self, domain: str, user: str) -> Addressee | None:
        source = self._source
        named = await source.account(domain, user) or await source.application(domain, user)
        if named is not None:
            return named
        target = await source.number(domain, user)
        if target is None:
            return None
        if target.kind is TargetKind.ACCOUNT:
            return await source.account(domain, target.name)
        return await source.application(domain, target.name)

    def doubt(self) -> None:
        """Something has changed, or a change may have been missed: the bus was down."""
        self._domains.doubt()
        self._addressees.doubt()
