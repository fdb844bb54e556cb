"""`sipfarm account`: the accounts of a domain, looked at and set."""

import sys
from typing import Annotated
from urllib.parse import quote

import typer

from sipfarm.admin.bodies import AccountBody
from sipfarm.admin.views import AccountView, ChangeView
from sipfarm.base.errors import SipfarmError
from sipfarm.cli.admin_options import (
    AdminUrl,
    AsJson,
    ConfigFile,
    Limit,
    Token,
    client_of,
    print_change,
    print_json,
    print_table,
)
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
def list_accounts(
    of: Annotated[str, typer.Argument(metavar="DOMAIN", show_default=False)],
    admin: AdminUrl = "",
    token: Token = "",
    config: ConfigFile = None,
    limit: Limit = 1_000,
    json: AsJson = False,
) -> None:
    """Show the accounts of a domain; nothing that a password could be guessed from."""
    path = f"{path_of(of)}/accounts?limit={limit}"
    _show(of, client_of(admin, token, config).get(path, list[AccountView]), json)


@account.command()
def show(
    aor: Aor,
    admin: AdminUrl = "",
    token: Token = "",
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Show one account."""
    name, of = _parts(aor)
    _show(of, [client_of(admin, token, config).get(_path(name, of), AccountView)], json)


@account.command()
def add(
    aor: Aor,
    password: Password = "",
    password_stdin: FromStdin = False,
    number: Numbers = None,
    alias: Aliases = None,
    voicemail: Annotated[bool, typer.Option(help="has a voice box")] = False,
    admin: AdminUrl = "",
    token: Token = "",
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Add an account; it may register through each member within about a second."""
    name, of = _parts(aor)
    client = client_of(admin, token, config)
    told = {
        "name": name,
        "password": _password(password, password_stdin) or _asked_for(aor),
        "numbers": number or [],
        "aliases": alias or [],
        "voicemail": voicemail,
    }
    print_change(client.post(f"{path_of(of)}/accounts", ChangeView, told), json)


@account.command("set")
def set_account(
    aor: Aor,
    password: Password = "",
    password_stdin: FromStdin = False,
    ask_password: Annotated[bool, typer.Option("--ask-password", help="ask for a new one")] = False,
    number: Numbers = None,
    no_numbers: Annotated[bool, typer.Option("--no-numbers", help="take all away")] = False,
    alias: Aliases = None,
    no_aliases: Annotated[bool, typer.Option("--no-aliases", help="take all away")] = False,
    voicemail: Annotated[bool | None, typer.Option(help="has a voice box")] = None,
    admin: AdminUrl = "",
    token: Token = "",
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Set what is given of an account; the rest stays. Numbers that are given take the place of
    all it had, and so do aliases.
    """
    name, of = _parts(aor)
    client = client_of(admin, token, config)
    there = client.get(_path(name, of), AccountView)
    given = _password(password, password_stdin) or (_asked_for(aor) if ask_password else "")
    told = AccountBody(
        password=given or None,
        numbers=_set(there.numbers, number, cleared=no_numbers),
        aliases=_set(there.aliases, alias, cleared=no_aliases),
        voicemail=there.voicemail if voicemail is None else voicemail,
    )
    print_change(client.put(_path(name, of), ChangeView, told), json)


@account.command()
def remove(
    aor: Aor,
    admin: AdminUrl = "",
    token: Token = "",
    config: ConfigFile = None,
    json: AsJson = False,
) -> None:
    """Remove an account with its numbers, and forget its phones."""
    client = client_of(admin, token, config)
    print_change(client.delete(_path(*_parts(aor)), ChangeView), json)


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


def _show(of: str, found: list[AccountView], json: bool) -> None:
    if json:
        print_json(found)
        return
    rows = (
        (row.aor, " ".join(row.numbers), " ".join(row.aliases), "yes" if row.voicemail else "")
        for row in found
    )
    print_table(f"Accounts of {of}", ("aor", "numbers", "aliases", "voicemail"), rows)
