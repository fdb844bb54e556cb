"""`sipfarm account`: the accounts of a domain, looked at and set."""

import sys
from typing import Annotated
from urllib.parse import quote

import typer

from sipfarm.admin.bodies import AccountBody
from sipfarm.admin.views import AccountView, ChangeView
from sipfarm.base.errors import SipfarmError
from sipfarm.cli.admin_options import AskedFarm, Limit, asks_farm
from sipfarm.cli.domains import path_of

PASSWORD_CHARS_MAX = 256

Aor = Annotated[
    str, typer.Argument(help="such as alice@example.test", metavar="AOR", show_default=False)
]
Password = Annotated[
    str,
    typer.Option(help="others on this machine can see it: better none, and it is asked for"),
]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="the first line of the input")]
Numbers = Annotated[
    list[str] | None, typer.Option("--number", help="that leads there; several may be given")
]
Aliases = Annotated[
    list[str] | None, typer.Option("--alias", help="another name; several may be given")
]

account = typer.Typer(no_args_is_help=True, help="Look at the accounts of a farm, and set them.")


@account.command("list")
@asks_farm
def list_accounts(
    farm: AskedFarm,
    of: Annotated[str, typer.Argument(metavar="DOMAIN", show_default=False)],
    limit: Limit = 1_000,
) -> None:
    """Show the accounts of a domain; nothing that a password could be guessed from."""
    path = f"{path_of(of)}/accounts?limit={limit}"
    _show(farm, of, farm.client().get(path, list[AccountView]))


@account.command()
@asks_farm
def show(farm: AskedFarm, aor: Aor) -> None:
    """Show one account."""
    name, of = _parts(aor)
    _show(farm, of, [farm.client().get(_path(name, of), AccountView)])


@account.command()
@asks_farm
def add(
    farm: AskedFarm,
    aor: Aor,
    password: Password = "",
    password_stdin: FromStdin = False,
    number: Numbers = None,
    alias: Aliases = None,
    voicemail: Annotated[bool, typer.Option(help="has a voice box")] = False,
) -> None:
    """Add an account; it may register through each member within about a second."""
    name, of = _parts(aor)
    client = farm.client()
    told = {
        "name": name,
        "password": _password(password, password_stdin) or _asked_for(aor),
        "numbers": number or [],
        "aliases": alias or [],
        "voicemail": voicemail,
    }
    farm.show_change(client.post(f"{path_of(of)}/accounts", ChangeView, told))


@account.command("set")
@asks_farm
def set_account(
    farm: AskedFarm,
    aor: Aor,
    password: Password = "",
    password_stdin: FromStdin = False,
    ask_password: Annotated[bool, typer.Option("--ask-password", help="ask for a new one")] = False,
    number: Numbers = None,
    no_numbers: Annotated[bool, typer.Option("--no-numbers", help="take all away")] = False,
    alias: Aliases = None,
    no_aliases: Annotated[bool, typer.Option("--no-aliases", help="take all away")] = False,
    voicemail: Annotated[bool | None, typer.Option(help="has a voice box")] = None,
) -> None:
    """Set what is given of an account; the rest stays. Numbers that are given take the place of
    all it had, and so do aliases.
    """
    name, of = _parts(aor)
    client = farm.client()
    there = client.get(_path(name, of), AccountView)
    given = _password(password, password_stdin) or (_asked_for(aor) if ask_password else "")
    told = AccountBody(
        password=given or None,
        numbers=_set(there.numbers, number, cleared=no_numbers),
        aliases=_set(there.aliases, alias, cleared=no_aliases),
        voicemail=there.voicemail if voicemail is None else voicemail,
    )
    farm.show_change(client.put(_path(name, of), ChangeView, told))


@account.command()
@asks_farm
def remove(farm: AskedFarm, aor: Aor) -> None:
    """Remove an account with its numbers, and forget its phones."""
    farm.show_change(farm.client().delete(_path(*_parts(aor)), ChangeView))


def _parts(aor: str) -> tuple[str, str]:
    name, _, of = aor.removeprefix("sip:").rpartition("@")
    if not name or not of:
        raise typer.BadParameter(f"{aor} is no address such as alice@example.test.")
    return name, of


def _path(name: str, of: str) -> str:
    return f"{path_of(of)}/accounts/{quote(name, safe='')}"


def _set(there: tuple[str, ...], given: list[str] | None, *, cleared: bool) -> tuple[str, ...]:
    return () if cleared else there if given is None else tuple(given)


def _password(given: str, from_stdin: bool) -> str:
    """What was given by option or input; empty if nothing was."""
    if given and from_stdin:
        raise typer.BadParameter("--password and --password-stdin: only one of the two.")
    if not from_stdin:
        return given
    line = sys.stdin.readline(PASSWORD_CHARS_MAX + 1).rstrip("\r\n")
    if not line or len(line) > PASSWORD_CHARS_MAX:
        raise SipfarmError(f"a password has 1 to {PASSWORD_CHARS_MAX} characters, on one line")
    return line


def _asked_for(aor: str) -> str:
    """Typed twice at the terminal, and shown by none."""
    if not sys.stdin.isatty():
        raise SipfarmError("no password: --password-stdin takes it from the input")
    asked: str = typer.prompt(f"Password of {aor}", hide_input=True, confirmation_prompt=True)
    return asked


def _show(farm: AskedFarm, of: str, found: list[AccountView]) -> None:
    farm.show(f"Accounts of {of}", ("aor", "numbers", "aliases", "voicemail"), found, _row)


def _row(shown: AccountView) -> tuple[object, ...]:
    voicemail = "yes" if shown.voicemail else ""
    return (shown.aor, " ".join(shown.numbers), " ".join(shown.aliases), voicemail)
