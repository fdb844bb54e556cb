"""`sipfarm bans` and `unban`: the sources that members do no new work for."""

from typing import Annotated
from urllib.parse import quote

import typer

from sipfarm.admin.views import BanView
from sipfarm.cli.admin_options import AskedFarm, asks_farm

COLUMNS = ("address", "member", "fault", "s left")
Address = Annotated[str, typer.Argument(help="such as 192.0.2.1", show_default=False)]


@asks_farm
def bans(farm: AskedFarm) -> None:
    """Show the sources that are banned, by which member, and for how long."""
    _show(farm, farm.client().get("/api/v1/bans?farm=1", list[BanView]))


@asks_farm
def unban(farm: AskedFarm, address: Address) -> None:
    """End the ban of an address on all members."""
    path = f"/api/v1/bans/{quote(address, safe='')}/lift?farm=1"
    _show(farm, farm.client().post(path, list[BanView]))


def _show(farm: AskedFarm, found: list[BanView]) -> None:
    farm.show("Bans", COLUMNS, found, _row)


def _row(ban: BanView) -> tuple[object, ...]:
    return (ban.address, ban.member, ban.fault, ban.seconds)
