"""`sipfarm member`: one member, as a service manager or `sipfarm run` starts it."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sipfarm.base.errors import SipfarmError, StartError
from sipfarm.base.io.logs import configure_logs
from sipfarm.cli.event_loop import run_on_uvloop
from sipfarm.config import Config, load
from sipfarm.node.io.lifeline import Lifeline

if TYPE_CHECKING:
    from sipfarm.node.io.member import Member


def member(
    config: Annotated[Path, typer.Option(help="the member's file", show_default=False)],
    json_logs: Annotated[bool, typer.Option("--json-logs", help="logs as JSON")] = False,
    lifeline: Annotated[int, typer.Option(hidden=True)] = -1,
) -> None:
    """Run one member until SIGTERM, which drains it; a second one stops it at once.

    Prints a line that begins with `ready` when calls can come in.
    """
    configure_logs("json" if json_logs else "text")
    if lifeline < 0:
        _run(load(config), None)
        return
    line = Lifeline(lifeline)
    try:
        _run(load(config), line)
    except SipfarmError as error:
        line.failed(str(error))
        raise typer.Exit(1) from None


def _run(config: Config, lifeline: Lifeline | None) -> None:
    try:
        from sipfarm.node.io.member import Member
    except ImportError as error:
        raise StartError(f"something is not installed or not built: {error}") from error

    def ready(member: Member) -> None:
        if lifeline is None:
            _print_ready(member)
        else:
            lifeline.ready()

    async def run() -> None:
        if lifeline is not None:
            lifeline.beat(asyncio.get_running_loop())
        await Member(config).run(ready)

    run_on_uvloop(run())


def _print_ready(member: "Member") -> None:
    listens = " ".join(str(listen) for listen in member.listens)
    print(f"ready {member.config.member.name} {listens}", flush=True)
