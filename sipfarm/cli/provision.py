"""`sipfarm provision`: a file of domains, accounts and numbers goes into the store."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from sipfarm.base.errors import SipfarmError
from sipfarm.base.records import DomainChange
from sipfarm.cli.admin_options import print_json
from sipfarm.cluster.io.provision import apply
from sipfarm.cluster.io.store import StoreUnavailable, open_store
from sipfarm.config import FarmConfig, load
from sipfarm.provisioning import ProvisionFile
from sipfarm.provisioning import load as load_provisioning

ACTS = ("added", "changed", "removed")
STORE_TIMEOUT_S = 30.0
"""Nobody waits for this command as a call waits: a busy machine may take its time."""


def provision(
    file: Annotated[Path, typer.Argument(help="provision.toml", show_default=False)],
    config: Annotated[
        Path, typer.Option(help="a member's file, which names the store", show_default=False)
    ],
    json: Annotated[bool, typer.Option("--json", help="JSON and no sentences")] = False,
) -> None:
    """Load domains, accounts and numbers into a farm's store, and say what changed.

    What the file does not name stays as it is; a second time changes nothing.
    """
    provisioned = load_provisioning(file)
    try:
        changes = asyncio.run(_apply(provisioned, load(config).farm))
    except StoreUnavailable as error:
        raise SipfarmError(
            f"{error.reason}; try again, what is done already is not done twice"
        ) from error
    if json:
        print_json([_named(change) for change in changes])
        return
    for change in changes:
        for line in _sentences(change):
            print(line)


async def _apply(provisioned: ProvisionFile, farm: FarmConfig) -> tuple[DomainChange, ...]:
    async with open_store(farm.store, farm=farm.name, timeout_s=STORE_TIMEOUT_S) as store:
        return await apply(provisioned, store)


def _named(change: DomainChange) -> dict[str, object]:
    """The record is stored as an array; people want the names of its fields."""
    return {
        "domain": change.domain,
        "revision": change.revision,
        "added": change.added,
        "changed": change.changed,
        "removed": change.removed,
    }


def _sentences(change: DomainChange) -> list[str]:
    told = {"added": change.added, "changed": change.changed, "removed": change.removed}
    lines = [f"{change.domain}: {act} {name}" for act in ACTS for name in told[act]]
    return lines or [f"{change.domain}: nothing changed"]
