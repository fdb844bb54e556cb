"""`sipfarm members`, `drain`, `undrain`, `roles`: the members of a farm, and who does what."""

from typing import Annotated

import typer

from sipfarm.admin.bodies import RolesBody
from sipfarm.admin.views import MemberView
from sipfarm.cli.admin_options import AskedFarm, asks_farm

COLUMNS = (
    *("name", "state", "roles", "revision", "incarnation", "pid", "admin"),
    *("calls", "flows", "transactions", "lag ms", "cpu"),
)
SWITCHED_S = 6.0
MemberName = Annotated[str, typer.Argument(help="such as m1", show_default=False)]


@asks_farm
def members(farm: AskedFarm) -> None:
    """Show the members of a farm: how each stands, how busy it is, and what it owns."""
    _show(farm, farm.client().get("/api/v1/members", list[MemberView]))


@asks_farm
def drain(farm: AskedFarm, name: MemberName) -> None:
    """Let a member take no new work; what runs on it goes on."""
    path = f"/api/v1/members/{_checked(name)}/drain"
    _show(farm, [farm.client().post(path, MemberView)])


@asks_farm
def undrain(farm: AskedFarm, name: MemberName) -> None:
    """Let a drained member take new work again."""
    path = f"/api/v1/members/{_checked(name)}/undrain"
    _show(farm, [farm.client().post(path, MemberView)])


@asks_farm
def roles(
    farm: AskedFarm,
    name: MemberName,
    wanted: Annotated[str, typer.Argument(help="such as edge or edge,pbx,media", metavar="ROLES")],
) -> None:
    """Let a running member be something else; what runs on it goes on. Its file says what it is
    when it is started again.
    """
    path = f"/api/v1/members/{_checked(name)}/roles"
    told = RolesBody(roles=tuple([role for role in wanted.split(",") if role]))
    _show(farm, [farm.client(SWITCHED_S).post(path, MemberView, told)])


def _checked(name: str) -> str:
    if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
        raise typer.BadParameter(f"{name!r} is no name of a member.")
    return name


def _show(farm: AskedFarm, found: list[MemberView]) -> None:
    farm.show("Members", COLUMNS, found, _row)


def _row(member: MemberView) -> tuple[object, ...]:
    owns, load = member.owns, member.load
    return (
        member.name,
        member.state,
        ",".join(member.roles),
        "" if member.revision is None else member.revision,
        member.incarnation,
        member.pid,
        member.admin,
        *((owns.calls, owns.flows, owns.transactions) if owns else ("", "", "")),
        *((f"{load.loop_lag_ms:.1f}", f"{load.cpu:.2f}") if load else ("", "")),
    )
