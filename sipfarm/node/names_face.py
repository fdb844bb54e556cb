"""The face of the farm's names: domains, accounts and applications, looked at and set."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import PurePosixPath
from typing import Final, Protocol, TypeVar

from sipfarm.admin.bodies import AccountBody, ApplicationBody, DomainBody
from sipfarm.admin.face import Conflicts, NotThere, Unfit
from sipfarm.admin.views import AccountView, ApplicationView, ChangeView, DomainView
from sipfarm.base.records import Account, Application, Domain, DomainChange
from sipfarm.base.toml_values import function_name
from sipfarm.cluster.io.store import NameConflict, Names, NoDomain, PasswordNeeded, Store
from sipfarm.cluster.provision import ha1
from sipfarm.cluster.registration import closing
from sipfarm.provisioning import (
    domain_name,
    phone_address,
    phone_number,
    srtp_policy,
    taskless,
    user_name,
)
from sipfarm.signaling.registration import aor_of

T = TypeVar("T")
ACCOUNTS_TOGETHER: Final = 256


class Told(Protocol):
    """Who is told of changes."""

    def names_changed(self) -> None:
        """The farm's names are of a new revision."""
        ...

    def unbound(self, aor: str) -> None:
        """An address-of-record has no binding any more."""
        ...


class NamesOfFarm:
    """A NamesFace over the store."""

    def __init__(self, store: Store, wall_ms: Callable[[], int], told: Told) -> None:
        self._store = store
        self._wall_ms = wall_ms
        self._told = told

    # --- domains

    async def domains(self) -> Sequence[DomainView]:
        return [await self._shown(domain) for domain in await self._store.domains()]

    async def domain(self, name: str) -> DomainView:
        return await self._shown(await self._known(name))

    async def put_domain(self, name: str, body: DomainBody, *, new: bool) -> ChangeView:
        domain = Domain(
            _fit("name", domain_name, name),
            certificate=_file("certificate", body.certificate),
            key=_file("key", body.key),
            media_address=body.media_address
            and _fit("media_address", phone_address, body.media_address),
            srtp=_fit("srtp", srtp_policy, body.srtp),
        )
        if (domain.certificate is None) != (domain.key is None):
            raise Unfit("certificate and key go together: one is missing")
        put = self._store.add_domain(domain) if new else self._store.put_domain(domain)
        return await self._changed(put)

    async def remove_domain(self, name: str) -> ChangeView:
        name = _canonical(name)
        bound = [aor_of(account) async for account in accounts_of(self._store, name)]
        change = await self._changed(self._store.remove_domain(name))
        if not change.removed:
            raise NotThere(f"there is no domain {name}")
        for start in range(0, len(bound), ACCOUNTS_TOGETHER):
            together = bound[start : start + ACCOUNTS_TOGETHER]
            await asyncio.gather(*[self._unbind(aor) for aor in together])
        return change

    # --- accounts

    async def accounts(self, domain: str, limit: int) -> Sequence[AccountView]:
        name = (await self._known(domain)).name
        found = [_account(account) async for account in accounts_of(self._store, name, limit)]
        return sorted(found, key=lambda account: account.aor)

    async def account(self, domain: str, name: str) -> AccountView:
        known = await self._known(domain)
        account = await self._store.account(known.name, name)
        if account is None:
            raise NotThere(f"there is no account {name} in {known.name}")
        return _account(account)

    async def put_account(
        self, domain: str, name: str, body: AccountBody, *, new: bool
    ) -> ChangeView:
        domain, name = _canonical(domain), _fit("name", user_name, name)
        if body.password == "":
            raise Unfit("password: an empty one is none")
        digests = ("", "") if body.password is None else ha1(name, domain, body.password)
        account = Account(
            domain,
            name,
            *digests,
            aliases=tuple([_fit("aliases", user_name, alias) for alias in body.aliases]),
            numbers=tuple([_fit("numbers", phone_number, number) for number in body.numbers]),
            voicemail=body.voicemail,
        )
        if await self._store.account(domain, name) is None:
            await self._unbind_left_over(aor_of(account))
        return await self._changed(self._store.put_names(domain, [account], new=new))

    async def remove_account(self, domain: str, name: str) -> ChangeView:
        known = await self._known(domain)
        change = await self._changed(self._store.remove_names(known.name, [name]))
        if not change.removed:
            raise NotThere(f"there is no account {name} in {known.name}")
        await self._unbind(aor_of(Account(known.name, name, "", "")))
        return change

    # --- applications

    async def applications(self, domain: str) -> Sequence[ApplicationView]:
        known = await self._known(domain)
        return [_application(found) for found in await self._store.applications(known.name)]

    async def application(self, domain: str, name: str) -> ApplicationView:
        known = await self._known(domain)
        application = await self._store.application(known.name, name)
        if application is None:
            raise NotThere(f"there is no application {name} in {known.name}")
        return _application(application)

    async def put_application(
        self, domain: str, name: str, body: ApplicationBody, *, new: bool
    ) -> ChangeView:
        domain, name = _canonical(domain), _fit("name", user_name, name)
        if not body.task and (fault := taskless(name)):
            raise Unfit(f"task: {fault}")
        application = Application(
            domain,
            name,
            task=body.task and _fit("task", function_name, body.task),
            numbers=tuple([_fit("numbers", phone_number, number) for number in body.numbers]),
        )
        return await self._changed(self._store.put_names(domain, [application], new=new))

    async def remove_application(self, domain: str, name: str) -> ChangeView:
        known = await self._known(domain)
        change = await self._changed(self._store.remove_names(known.name, (), [name]))
        if not change.removed:
            raise NotThere(f"there is no application {name} in {known.name}")
        return change

    async def _known(self, name: str) -> Domain:
        domain = await self._store.domain(_canonical(name))
        if domain is None:
            raise NotThere(f"there is no domain {name}")
        return domain

    async def _changed(self, changing: Awaitable[DomainChange]) -> ChangeView:
        try:
            change = await changing
        except NameConflict as error:
            raise Conflicts(str(error)) from error
        except NoDomain as error:
            raise NotThere(str(error)) from error
        except PasswordNeeded as error:
            raise Unfit(f"password: {error}") from error
        self._told.names_changed()
        return ChangeView(
            revision=await self._store.names_revision(),
            added=change.added,
            changed=change.changed,
            removed=change.removed,
        )

    async def _unbind(self, aor: str) -> None:
        """Who gets the name later must not inherit the phones of who had it."""
        await self._store.register(closing(aor), self._wall_ms())
        self._told.unbound(aor)

    async def _unbind_left_over(self, aor: str) -> None:
        """A removal may have broken off before its last step."""
        if await self._store.bindings(aor, self._wall_ms()):
            await self._unbind(aor)

    async def _shown(self, domain: Domain) -> DomainView:
        store = self._store
        applications = await store.applications(domain.name)
        return DomainView(
            name=domain.name,
            accounts=await store.account_count(domain.name),
            applications=tuple(application.name for application in applications),
            media_address=domain.media_address,
            has_certificate=domain.certificate is not None,
            srtp=domain.srtp,
        )


async def accounts_of(
    store: Names, domain: str, limit: int | None = None
) -> AsyncIterator[Account]:
    """Up to `limit` accounts, read page by page, so that the loop turns in between."""
    cursor, left = "", limit
    while left is None or left > 0:
        wanted = ACCOUNTS_TOGETHER if left is None else min(left, ACCOUNTS_TOGETHER)
        accounts, cursor = await store.account_page(domain, cursor, wanted)
        for account in accounts[:left]:
            yield account
        left = None if left is None else left - len(accounts)
        if not cursor:
            return


def _canonical(name: str) -> str:
    """As it is stored; a name that none can have is of no domain."""
    try:
        return domain_name(name)
    except ValueError:
        raise NotThere(f"there is no domain {name}") from None


def _fit(key: str, check: Callable[[str], T], value: str) -> T:
    try:
        return check(value)
    except ValueError as error:
        raise Unfit(f"{key}: {error}") from None


def _file(key: str, path: str | None) -> str | None:
    if path is not None and not PurePosixPath(path).is_absolute():
        raise Unfit(f'{key}: "{path}" is not an absolute path')
    return path


def _account(account: Account) -> AccountView:
    return AccountView(
        aor=aor_of(account),
        domain=account.domain,
        name=account.name,
        numbers=account.numbers,
        aliases=account.aliases,
        voicemail=account.voicemail,
    )


def _application(application: Application) -> ApplicationView:
    return ApplicationView(
        domain=application.domain,
        name=application.name,
        task=application.task,
        numbers=application.numbers,
    )
