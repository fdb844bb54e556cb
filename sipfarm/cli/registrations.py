"""`sipfarm registrations`: where the phones of a farm are reached."""

from typing import Annotated

import typer

from sipfarm.admin.views import RegistrationView
from sipfarm.cli.admin_options import LIMIT_OF_ALL, AskedFarm, LimitOfAll, asks_farm

COLUMNS = ("aor", "contact", "expires in s", "received", "member", "user agent")


@asks_farm
def registrations(
    farm: AskedFarm,
    domain: Annotated[str, typer.Option(help="of this domain only", show_default=False)] = "",
    limit: LimitOfAll = LIMIT_OF_ALL,
) -> None:
    """Show the bindings of a farm's accounts."""
    of = {"domain": domain} if domain else {}
    found = farm.client().pages("/api/v1/registrations", of, list[RegistrationView], limit)
    farm.show("Registrations", COLUMNS, found, _row)


def _row(row: RegistrationView) -> tuple[object, ...]:
    return (row.aor, row.contact, row.expires_s, row.received, row.member or "", row.user_agent)
