"""`sipfarm registrations`: where the phones of a farm are reached."""

from typing import Annotated

import typer

from sipfarm.admin.views import RegistrationView
from sipfarm.cli.admin_options import (
    LIMIT_OF_ALL,
    AdminUrl,
    AsJson,
    ConfigFile,
    LimitOfAll,
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
    limit: LimitOfAll = LIMIT_OF_ALL,
    json: AsJson = False,
) -> None:
    """Show the bindings of a farm's accounts."""
    client = client_of(admin, token, config)
    of = {"domain": domain} if domain else {}
    found = client.pages("/api/v1/registrations", of, list[RegistrationView], limit)
    if json:
        print_json(found)
    else:
        print_table("Registrations", COLUMNS, (_row(row) for row in found))


def _row(row: RegistrationView) -> tuple[object, ...]:
    return (row.aor, row.contact, row.expires_s, row.received, row.member or "", row.user_agent)
