"""`sipfarm bans` and `unban`: the sources that members do no new work for."""

from typing import Annotated
from urllib.parse import quote

import typer

from sipfarm.admin.views import BanView
from sipfarm.cli.admin_options import (
    AdminUrl,
    AsJson,
    ConfigFile,
    Token,
    client_of,
    print_json,
    print_table,
)

COLUMNS = ("address", "member", "fault", "s left")
Address = Annotated[str, typer.Argument(help="such as 192.0.2.1", show_default=False)]


def bans(
    admin: AdminUrl = "", token: Token = "", config: ConfigFile = None, json: AsJson = False
) -> None:
    """Show the sources that are banned, by which member, and for how long."""
    _show(client_of(admin, token, config).get("/api/v1/bans?farm=1", list[BanView]), json)


def unban(
    address: Address,
    admin: AdminUrl = "",
    token: Token = "",
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """End the ban of an address on all members."""
    path = f"/api/v1/bans/{quote(address, safe='')}/lift?farm=1"
    _show(client_of(admin, token, config).post(path, list[BanView]), json)


def _show(found: list[BanView], json: bool) -> None:
    if json:
        print_json(found)
    else:
        rows = ((ban.address, ban.member, ban.fault, ban.seconds) for ban in found)
        print_table("Bans", COLUMNS, rows)
