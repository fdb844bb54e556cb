"""`sipfarm domain` and `sipfarm account`: what is provisioned in a farm."""

from typing import Annotated
from urllib.parse import quote

import typer

from sipfarm.admin.views import AccountView, DomainView
from sipfarm.cli.admin_options import (
    AdminUrl,
    AsJson,
    ConfigFile,
    Limit,
    Token,
    client_of,
    print_json,
    print_table,
)

domain = typer.Typer(no_args_is_help=True)
account = typer.Typer(no_args_is_help=True)


@domain.callback()
def _domain() -> None:
    """Look at the domains of a farm."""


@account.callback()
def _account() -> None:
    """Look at the accounts of a farm."""


@domain.command("list")
def list_domains(
    admin: AdminUrl = "", token: Token = "", config: ConfigFile = None, json: AsJson = False
) -> None:
    """Show the domains of a farm."""
    found = client_of(admin, token, config).get("/api/v1/domains", list[DomainView])
    if json:
        print_json(found)
        return
    rows = ((row.name, row.accounts, " ".join(row.applications)) for row in found)
    print_table("Domains", ("name", "accounts", "applications"), rows)


@account.command("list")
def list_accounts(
    of: Annotated[str, typer.Argument(metavar="DOMAIN", show_default=False)],
    admin: AdminUrl = "",
    token: Token = "",
    config: ConfigFile = None,
    limit: Limit = 1_000,
    json: AsJson = False,
) -> None:
    """Show the accounts of a domain; nothing that a password could be guessed from."""
    path = f"/api/v1/domains/{quote(of, safe='')}/accounts?limit={limit}"
    found = client_of(admin, token, config).get(path, list[AccountView])
    if json:
        print_json(found)
        return
    rows = (
        (row.aor, " ".join(row.numbers), " ".join(row.aliases), "yes" if row.voicemail else "")
        for row in found
    )
    print_table(f"Accounts of {of}", ("aor", "numbers", "aliases", "voicemail"), rows)
