"""The program `sipfarm`: a table of its commands, of which only the one called is imported."""

import importlib
import sys
from collections.abc import Callable, Sequence

import msgspec
import typer

from sipfarm import __version__
from sipfarm.base.errors import ConfigError, SipfarmError, StartError

FAILED = 1
INTERRUPTED = 130


class Command(msgspec.Struct, frozen=True):
    """A command and where it lives: a function, or a `typer.Typer` with commands of its own."""

    name: str
    target: str
    text: str


COMMANDS = (
    Command("run", "sipfarm.cli.run:run", "run a farm on this machine"),
    Command("member", "sipfarm.cli.member:member", "run one member"),
    Command("demo", "sipfarm.cli.demo:demo", "let two softphones call through a farm"),
    Command("phone", "sipfarm.cli.phone:phone", "be a softphone that tells what it heard"),
    Command("members", "sipfarm.cli.members:members", "show the members of a farm"),
    Command("drain", "sipfarm.cli.members:drain", "let a member take no new work"),
    Command("undrain", "sipfarm.cli.members:undrain", "let it take new work again"),
    Command("roles", "sipfarm.cli.members:roles", "let a member be something else"),
    Command("calls", "sipfarm.cli.calls:calls", "show the calls of a farm"),
    Command(
        "registrations", "sipfarm.cli.registrations:registrations", "show where phones are reached"
    ),
    Command("bans", "sipfarm.cli.bans:bans", "show the sources that are banned"),
    Command("unban", "sipfarm.cli.bans:unban", "end the ban of an address"),
    Command("domain", "sipfarm.cli.domains:domain", "look at domains, and set them"),
    Command("account", "sipfarm.cli.accounts:account", "look at accounts, and set them"),
    Command("provision", "sipfarm.cli.provision:provision", "load domains and accounts"),
    Command("check-config", "sipfarm.cli.check_config:check_config", "say what is wrong in a file"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit; what an operator got wrong ends in a sentence, not a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.exit(build(given)(given, prog_name="sipfarm", standalone_mode=True))
    except ConfigError as error:
        print(error, file=sys.stderr)  # one line for each fault, each with its place in the file
        sys.exit(FAILED)
    except SipfarmError as error:
        print(f"sipfarm: {error}", file=sys.stderr)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def build(arguments: Sequence[str]) -> typer.Typer:
    """The command line as far as these arguments need it: other commands are there by name only."""
    app = typer.Typer(
        help="A SIP farm: several equal members act as one telephone system.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    called = next((word for word in arguments if not word.startswith("-")), "")
    for command in COMMANDS:
        target = _load(command) if command.name == called else _absent
        if isinstance(target, typer.Typer):
            app.add_typer(target, name=command.name, help=command.text)
        else:
            text = command.text if target is _absent else None  # called, its docstring speaks
            app.command(command.name, help=text)(target)
    return app


def _load(command: Command) -> typer.Typer | Callable[..., None]:
    module, _, attribute = command.target.partition(":")
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        raise StartError(f"something is not installed or not built: {error}") from error
    target: typer.Typer | Callable[..., None] = getattr(imported, attribute)
    return target


def _absent() -> None:
    """Stands in the help for a command that was not called."""


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"sipfarm {__version__}")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="show the version"
    ),
) -> None:
    """Options that stand before any command."""


if __name__ == "__main__":
    main()
