"""`sipfarm run`: a farm of several members on this machine."""

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer

from sipfarm.base.io.logs import configure_logs, get_log
from sipfarm.base.net import HostPort
from sipfarm.cli.event_loop import run_on_uvloop
from sipfarm.config import Config, load
from sipfarm.node.farm_plan import MEMBERS_MAX
from sipfarm.node.io.farm import FarmRequest, run_farm

LISTEN = "127.0.0.1:5060"
ADMIN = "127.0.0.1:8080"


def run(
    config: Annotated[
        Path | None, typer.Option(help="a member's file that all members are made of")
    ] = None,
    members: Annotated[int, typer.Option(help="how many", min=1, max=MEMBERS_MAX)] = 3,
    listen: Annotated[
        str, typer.Option(help=f"SIP address, UDP and TCP; by default {LISTEN}", show_default=False)
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(help="where secret and store are; by default ~/.local/state/sipfarm"),
    ] = None,
    admin: Annotated[
        str,
        typer.Option(
            help=f"HTTP API; member k is at port+k; by default {ADMIN}", show_default=False
        ),
    ] = "",
    no_restart: Annotated[
        bool, typer.Option("--no-restart", help="leave members that are silent or dead as they are")
    ] = False,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="logs as JSON")] = False,
) -> None:
    """Run a farm on this machine until SIGTERM, which drains it; a second one stops it at once.

    Prints a line that begins with `ready` when calls can come in. Without --config it has an
    embedded store, and a demo domain while that is empty.
    """
    configure_logs("json" if json_logs else "text")
    template: Config | None = load(config) if config is not None else None
    request = FarmRequest(
        template=template,
        members=members,
        listen=_address(listen, "--listen") if listen or template is None else None,
        admin=_address(admin, "--admin") if admin or template is None else None,
        data=data or default_directory(),
        restart=not no_restart,
        options=("--json-logs",) if json_logs else (),
    )
    run_on_uvloop(run_farm(request, _tell, get_log()))


def _tell(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever reads has seen enough
        print(line, flush=True)


def default_directory() -> Path:
    """Where a user's programs keep their state (XDG base directories)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state else Path.home() / ".local" / "state") / "sipfarm"


def _address(text: str, option: str) -> HostPort:
    try:
        address = HostPort.parse(text or (LISTEN if option == "--listen" else ADMIN))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
    if address.ip is None:
        raise typer.BadParameter(f'"{text}" is a name: write an IP address.', param_hint=option)
    return address
