"""`sipfarm demo`: a farm, two softphones, and a table of what they heard."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from sipfarm.phone.io.demo import Demonstration, Direction

COLUMNS: Final = ("codec", "s", "packets", "lost", "dBFS", "> 4 kHz", "gaps", "members")


def demo(
    members: Annotated[int, typer.Option(help="how many members the farm has", min=1)] = 3,
    seconds: Annotated[float, typer.Option(help="length of each call", min=2.0, max=600.0)] = 5.0,
    json: Annotated[bool, typer.Option("--json", help="one JSON object and no table")] = False,
) -> None:
    """Start a farm on free ports, let two softphones call each other and `echo`, and listen.

    Exits with 0 only if every direction was heard as it was sent.
    """
    try:
        from sipfarm.phone.io.demo import demonstrate
        from sipfarm.phone.io.process import PhoneError
    except ImportError:
        typer.echo("numpy is not installed: pip install sipfarm[phone]", err=True)
        raise typer.Exit(1) from None

    def told(sentence: str) -> None:
        if not json:
            typer.echo(sentence)

    try:
        seen = asyncio.run(demonstrate(members, seconds, told))
    except PhoneError as error:
        typer.echo(f"sipfarm: {error}", err=True)
        raise typer.Exit(1) from None
    if json:
        sys.stdout.write(msgspec.json.encode(seen).decode() + "\n")
    else:
        _print(seen)
    for fault in seen.faults:
        typer.echo(f"sipfarm: {fault}", err=True)
    raise typer.Exit(1 if seen.faults else 0)


def _print(seen: "Demonstration") -> None:
    console = Console()
    for registration in seen.registrations:
        console.print(f"registered: {registration}", markup=False, highlight=False)
    table = Table(box=SIMPLE, title=f"What was heard through {seen.server}")
    table.add_column("heard", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column)
    for direction in seen.directions:
        table.add_row(*_cells(direction))
    console.print(table)
    if not seen.faults:
        console.print("Every direction was heard as it was sent.")


def _cells(direction: "Direction") -> tuple[str, ...]:
    return (
        f"{direction.speaker} → {direction.listener}",
        direction.codec,
        f"{direction.seconds:.1f}",
        str(direction.packets),
        str(direction.lost),
        f"{direction.level_dbfs:.1f}",
        f"{direction.wideband_db:.1f} dB",
        str(direction.gaps),
        ", ".join(direction.members),
    )
