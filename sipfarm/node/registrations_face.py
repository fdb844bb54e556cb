"""The face of the farm's registrations: the live bindings of its accounts, a page at a time."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sipfarm.admin.pages import BadCursor, Page, RegistrationsCursor
from sipfarm.admin.views import RegistrationView, iso
from sipfarm.base.errors import UsageError
from sipfarm.base.records import Account, Binding
from sipfarm.cluster.io.store import Store
from sipfarm.signaling.registration import aor_of

ACCOUNTS_TOGETHER: Final = 256
ACCOUNTS_LOOKED_AT_MAX: Final = 20_000
"""For one page: a listing is for looking, and must not wear out the store."""

OpenFlow = Callable[[str, str], tuple[int, int, int] | None]


class RegistrationsOfFarm:
    """From the store, and so the same through each member."""

    def __init__(self, store: Store, wall_ms: Callable[[], int], open_flow: OpenFlow) -> None:
        """`open_flow`: whose connection a flow mark names, its number first."""
        self._store = store
        self._wall_ms = wall_ms
        self._open_flow = open_flow

    async def page(self, domain: str | None, limit: int, after: str) -> Page[RegistrationView]:
        """Up to `limit` bindings behind a cursor, fewer where too many accounts have none. Raises
        BadCursor.
        """
        place = RegistrationsCursor.of(after)
        if place is not None and domain and place.domain != domain:
            raise BadCursor
        members = {record.number: record.name for record in await self._store.members()}
        domains = [domain] if domain else sorted(d.name for d in await self._store.domains())
        found: list[RegistrationView] = []
        looked_at = 0
        for name in domains:
            if place is not None and name < place.domain:
                continue
            at = place if place is not None and name == place.domain else RegistrationsCursor(name)
            while True:
                accounts, following = await self._accounts(at)
                looked_at += len(accounts)
                for account, bindings in zip(accounts, await self._bindings(accounts), strict=True):
                    first = at.shown if account.name == at.account else 0
                    for index in range(first, len(bindings)):
                        if len(found) == limit:
                            behind = RegistrationsCursor(name, at.page, account.name, index)
                            return Page(found, behind.text)
                        found.append(self._shown(bindings[index], members))
                if not following:
                    break
                at = RegistrationsCursor(name, following)
                if looked_at >= ACCOUNTS_LOOKED_AT_MAX:
                    return Page(found, at.text)
        return Page(found)

    async def _accounts(self, at: RegistrationsCursor) -> tuple[Sequence[Account], str]:
        """The accounts of a page from the one that is gone on with, by name."""
        try:
            accounts, following = await self._store.account_page(
                at.domain, at.page, ACCOUNTS_TOGETHER
            )
        except UsageError:  # a cursor that none of ours was
            raise BadCursor from None
        left = [account for account in accounts if account.name >= at.account]
        return sorted(left, key=lambda account: account.name), following

    async def _bindings(self, accounts: Sequence[Account]) -> list[tuple[Binding, ...]]:
        """All asked for at once: the store makes one batch of it."""
        wall_ms = self._wall_ms()
        asked = [self._store.bindings(aor_of(account), wall_ms) for account in accounts]
        return await asyncio.gather(*asked)

    def _shown(self, binding: Binding, members: Mapping[int, str]) -> RegistrationView:
        mark = self._open_flow(binding.flow, binding.received)
        left_ms = binding.expires_at_wall_ms - self._wall_ms()
        return RegistrationView(
            aor=binding.aor,
            contact=binding.contact,
            expires=iso(binding.expires_at_wall_ms),
            expires_s=max(left_ms // 1_000, 0),
            q=binding.q / 1_000,
            received=binding.received,
            user_agent=binding.user_agent,
            instance_id=binding.instance_id,
            path=binding.path,
            member=members.get(mark[0]) if mark else None,
        )
