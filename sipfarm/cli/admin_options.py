"""How the commands that ask a farm find it, and how they show what it answers."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from sipfarm.admin.io.client import ANSWER_S, AdminClient
from sipfarm.admin.views import ChangeView
from sipfarm.base.secrets import Secret
from sipfarm.config import load

AdminUrl = Annotated[
    str,
    typer.Option(
        envvar="SIPFARM_ADMIN",
        help="admin API; by default http://127.0.0.1:8080",
        show_default=False,
    ),
]
Token = Annotated[
    str, typer.Option(envvar="SIPFARM_TOKEN", help="token of the admin API", show_default=False)
]
ConfigFile = Annotated[
    Path | None, typer.Option(help="a member's file that says both", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON and no table")]
Limit = Annotated[int, typer.Option(help="entries at most", min=1, max=10_000)]
LIMIT_OF_ALL = 100_000
LimitOfAll = Annotated[
    int, typer.Option(help="entries at most, asked for page by page", min=1, max=1_000_000)
]

Found = TypeVar("Found")

PIPED_WIDTH = 240  # where no terminal says how wide a line may be
ADMIN = "http://127.0.0.1:8080"


class AskedFarm(msgspec.Struct, frozen=True):
    """What the options say that all commands have which ask a farm."""

    admin: AdminUrl = ""
    token: Token = ""
    config: ConfigFile = None
    json: AsJson = False

    def client(self, answer_s: float = ANSWER_S) -> AdminClient:
        """To ask it by."""
        return client_of(self.admin, self.token, self.config, answer_s)

    def show(
        self,
        title: str,
        columns: Sequence[str],
        found: Sequence[Found],
        row: Callable[[Found], Sequence[object]],
    ) -> None:
        """As a table, or all of it as JSON."""
        if self.json:
            print_json(found)
        else:
            print_table(title, columns, map(row, found))

    def show_change(self, change: ChangeView) -> None:
        """What was done, and the revision that members show who heed it."""
        if self.json:
            print_json(change)
        else:
            print_change(change)


def asks_farm(command: Callable[..., None]) -> Callable[..., None]:
    """A command that asks a farm: it gets an AskedFarm first, and on the command line has the
    options of one behind its own parameters.
    """
    options = inspect.signature(AskedFarm).parameters
    _, *own = inspect.signature(command).parameters.values()

    @functools.wraps(command)
    def run(
        *, admin: str, token: str, config: Path | None, json: bool, **own_values: object
    ) -> None:
        command(AskedFarm(admin, token, config, json), **own_values)

    keywords = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in (*own, *options.values())
    ]
    vars(run)["__signature__"] = inspect.Signature(keywords)  # what typer reads
    return run


def client_of(
    admin: str, token: str, config: Path | None, answer_s: float = ANSWER_S
) -> AdminClient:
    """By the options or the environment; what they leave open, the member's file says."""
    known = Secret(token) if token else None
    if config is not None:
        section = load(config, os.environ).admin
        admin = admin or str(section.listen)
        known = known or section.token
    return AdminClient(admin or ADMIN, known, answer_s)


def print_json(value: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_change(change: ChangeView) -> None:
    """A line for each name, and the revision."""
    told = {"added": change.added, "changed": change.changed, "removed": change.removed}
    for act, names in told.items():
        for name in names:
            print(f"{act} {name}")
    if not any(told.values()):
        print("nothing changed")
    print(f"revision {change.revision}")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows of plain text: nothing in them is markup."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for column in columns:
        table.add_column(column, overflow="fold")
    count = 0
    for row in rows:
        table.add_row(*[_plain(str(cell)) for cell in row])
        count += 1
    if count:
        width = None if sys.stdout.isatty() else PIPED_WIDTH
        Console(width=width, highlight=False).print(table)
    else:
        print(f"{title}: none")


def _plain(text: str) -> str:
    """Without markup, and without what moves a terminal's cursor: peers write some of it."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return shown.replace("[", r"\[")
