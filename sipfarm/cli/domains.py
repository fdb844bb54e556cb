"""`sipfarm domain`: the domains of a farm, looked at and set."""

from typing import Annotated
from urllib.parse import quote

import typer

from sipfarm.admin.bodies import DomainBody
from sipfarm.admin.views import ChangeView, DomainView
from sipfarm.cli.admin_options import (
    AdminUrl,
    AsJson,
    ConfigFile,
    Token,
    client_of,
    print_change,
    print_json,
    print_table,
)

PATH = "/api/v1/domains"
REMOVED_WITHIN_S = 60.0
"""A large domain is removed step by step."""

DomainName = Annotated[str, typer.Argument(metavar="DOMAIN", show_default=False)]
Certificate = Annotated[str, typer.Option(help="PEM file on each member's machine")]
Key = Annotated[str, typer.Option(help="its key")]
MediaAddress = Annotated[str, typer.Option(help="IP address that stands in SDP")]

domain = typer.Typer(no_args_is_help=True, help="Look at the domains of a farm, and set them.")


@domain.command("list")
def list_domains(
    admin: AdminUrl = "", token: Token = "", config: ConfigFile = None, json: AsJson = False
) -> None:
    """Show the domains of a farm."""
    _show(client_of(admin, token, config).get(PATH, list[DomainView]), json)


@domain.command()
def show(
    name: DomainName,
    admin: AdminUrl = "",
    token: Token = "",
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Show one domain."""
    _show([client_of(admin, token, config).get(path_of(name), DomainView)], json)


@domain.command()
def add(
    name: DomainName,
    certificate: Certificate = "",
    key: Key = "",
    media_address: MediaAddress = "",
    admin: AdminUrl = "",
    token: Token = "",
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Add a domain; all members heed it within about a second."""
    told = {
        "name": name,
        "certificate": certificate or None,
        "key": key or None,
        "media_address": media_address or None,
    }
    print_change(client_of(admin, token, config).post(PATH, ChangeView, told), json)


@domain.command("set")
def set_domain(
    name: DomainName,
    certificate: Certificate = "",
    key: Key = "",
    media_address: MediaAddress = "",
    admin: AdminUrl = "",
    token: Token = "",
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Set what a domain has of its own; what is not given it has no more. Its names stay."""
    client = client_of(admin, token, config)
    client.get(path_of(name), DomainView)
    told = DomainBody(
        certificate=certificate or None, key=key or None, media_address=media_address or None
    )
    print_change(client.put(path_of(name), ChangeView, told), json)


@domain.command()
def remove(
    name: DomainName,
    admin: AdminUrl = "",
    token: Token = "",
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Remove a domain with all that is in it."""
    client = client_of(admin, token, config, REMOVED_WITHIN_S)
    print_change(client.delete(path_of(name), ChangeView), json)


def path_of(name: str) -> str:
    return f"{PATH}/{quote(name, safe='')}"


def _show(found: list[DomainView], json: bool) -> None:
    if json:
        print_json(found)
        return
    rows = ((row.name, row.accounts, " ".join(row.applications)) for row in found)
    print_table("Domains", ("name", "accounts", "applications"), rows)
