"""Bringing a provisioning file into the store. A second time changes nothing."""

from typing import Final

from sipfarm.base.records import Account, Application, DomainChange
from sipfarm.cluster.io.store import Names
from sipfarm.cluster.provision import contents_of
from sipfarm.provisioning import ProvisionDomain, ProvisionFile

TOGETHER_MAX: Final = 1_000  # names written in one step


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
        total = _sum(total, await store.put_domain(contents.domain, accounts, applications))
    return total


def _sum(earlier: DomainChange, later: DomainChange) -> DomainChange:
    return DomainChange(
        later.domain,
        later.revision,
        earlier.added + later.added,
        earlier.changed + later.changed,
        earlier.removed + later.removed,
    )
