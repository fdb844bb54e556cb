"""Bringing a provisioning file into the store. A second time changes nothing."""

import asyncio
from collections.abc import Sequence
from typing import Final

from sipfarm.base.records import Account, Application, Domain, DomainChange
from sipfarm.cluster.io.store import Names, StoreUnavailable
from sipfarm.cluster.provision import contents_of
from sipfarm.provisioning import ProvisionDomain, ProvisionFile

TOGETHER_MAX: Final = 500
"""Names written in one step: it holds the lock of a SQLite store, and the farm's members wait."""
PAUSES_S: Final = (0.2, 0.5, 1.0)
"""Before a step that a busy store has not done is tried again."""


async def apply(file: ProvisionFile, store: Names) -> tuple[DomainChange, ...]:
    """Add or replace what the file names, and leave the rest; what changed, by domain.

    NameConflict if a number belongs to somebody else in the store; the steps before it are done
    then.
    """
    return tuple([await _apply_domain(domain, store) for domain in file.domains])


async def _apply_domain(provisioned: ProvisionDomain, store: Names) -> DomainChange:
    contents = contents_of(provisioned)
    names = (*contents.accounts, *contents.applications)
    total = DomainChange(contents.domain.name, 0)
    for start in range(0, max(len(names), 1), TOGETHER_MAX):
        step = names[start : start + TOGETHER_MAX]
        accounts = [named for named in step if isinstance(named, Account)]
        applications = [named for named in step if isinstance(named, Application)]
        total = _sum(total, await _step(store, contents.domain, accounts, applications))
    return total


async def _step(
    store: Names, domain: Domain, accounts: Sequence[Account], applications: Sequence[Application]
) -> DomainChange:
    for pause_s in PAUSES_S:
        try:
            return await store.put_domain(domain, accounts, applications)
        except StoreUnavailable:
            await asyncio.sleep(pause_s)
    return await store.put_domain(domain, accounts, applications)


def _sum(earlier: DomainChange, later: DomainChange) -> DomainChange:
    return DomainChange(
        later.domain,
        later.revision,
        earlier.added + later.added,
        earlier.changed + later.changed,
        earlier.removed + later.removed,
    )
