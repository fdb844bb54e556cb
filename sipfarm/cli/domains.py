"""`sipfarm domain`: the domains of a farm, looked at and set."""

from typing import Annotated
from urllib.parse import quote

import typer

from sipfarm.admin.bodies import DomainBody
from sipfarm.admin.views import ChangeView, DomainView
from sipfarm.cli.admin_options import AskedFarm, asks_farm

PATH = "/api/v1/domains"
REMOVED_WITHIN_S = 60.0
"""A large domain is removed step by step."""

DomainName = Annotated[str, typer.Argument(metavar="DOMAIN", show_default=False)]
Certificate = Annotated[str, typer.Option(help="PEM file on each member's machine")]
Key = Annotated[str, typer.Option(help="its key")]
Srtp = Annotated[str, typer.Option(help="off, offer or require: calls that a task answers")]
MediaAddress = Annotated[str, typer.Option(help="IP address that stands in SDP")]

domain = typer.Typer(no_args_is_help=True, help="Look at the domains of a farm, and set them.")


@domain.command("list")
@asks_farm
def list_domains(farm: AskedFarm) -> None:
    """Show the domains of a farm."""
    _show(farm, farm.client().get(PATH, list[DomainView]))


@domain.command()
@asks_farm
def show(farm: AskedFarm, name: DomainName) -> None:
    """Show one domain."""
    _show(farm, [farm.client().get(path_of(name), DomainView)])


@domain.command()
@asks_farm
def add(
    farm: AskedFarm,
    name: DomainName,
    certificate: Certificate = "",
    key: Key = "",
    media_address: MediaAddress = "",
    srtp: Srtp = "off",
) -> None:
    """Add a domain; all members heed it within about a second."""
    told = {
        "name": name,
        "certificate": certificate or None,
        "key": key or None,
        "media_address": media_address or None,
        "srtp": srtp,
    }
    farm.show_change(farm.client().post(PATH, ChangeView, told))


@domain.command("set")
@asks_farm
def set_domain(
    farm: AskedFarm,
    name: DomainName,
    certificate: Certificate = "",
    key: Key = "",
    media_address: MediaAddress = "",
    srtp: Srtp = "off",
) -> None:
    """Set what a domain has of its own; what is not given it has no more. Its names stay."""
    client = farm.client()
    client.get(path_of(name), DomainView)
    told = DomainBody(
        certificate=certificate or None,
        key=key or None,
        media_address=media_address or None,
        srtp=srtp,
    )
    farm.show_change(client.put(path_of(name), ChangeView, told))


@domain.command()
@asks_farm
def remove(farm: AskedFarm, name: DomainName) -> None:
    """Remove a domain with all that is in it."""
    client = farm.client(REMOVED_WITHIN_S)
    farm.show_change(client.delete(path_of(name), ChangeView))


def path_of(name: str) -> str:
    return f"{PATH}/{quote(name, safe='')}"


def _show(farm: AskedFarm, found: list[DomainView]) -> None:
    farm.show("Domains", ("name", "accounts", "applications"), found, _row)


def _row(shown: DomainView) -> tuple[object, ...]:
    return (shown.name, shown.accounts, " ".join(shown.applications))
