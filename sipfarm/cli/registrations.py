"""`sipfarm registrations`: where the phones of a farm are reached."""

from typing import Annotated
from urllib.parse import quote

import typer

from sipfarm.admin.views import RegistrationView
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

COLUMNS = ("aor", "contact", "expires in s", "received", "member", "user agent")


def registrations(
    admin: AdminUrl = "",
    token: Token = "",
    config: ConfigFile = None,
    domain: Annotated[str, typer.Option(help="of this domain only", show_default=False)] = "",
    limit: Limit = 1_000,
    json: AsJson = False,
) -> None:
    """Show the bindings of a farm's accounts."""
    path = f"/api/v1/registrations?limit={limit}"
    if domain:
        path += f"&domain={quote(domain, safe='')}"
    found = client_of(admin, token, config).get(path, list[RegistrationView])
    if json:
        print_json(found)
    else:
        print_table("Registrations", COLUMNS, (_row(row) for row in found))


def _row(row: RegistrationView) -> tuple[object, ...]:
    return (row.aor, row.contact, row.expires_s, row.received, row.member or "", row.user_agent)
