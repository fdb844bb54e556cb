"""The file that `sipfarm provision` loads: domains, accounts, applications (DESIGN §6)."""

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from sipfarm.base.io.files import read_text
from sipfarm.base.limits import ALIASES_PER_ACCOUNT_MAX, NUMBERS_PER_ACCOUNT_MAX
from sipfarm.base.net import HostPort, parse_ip
from sipfarm.base.records import SrtpPolicy
from sipfarm.base.secrets import Secret
from sipfarm.base.toml_reader import TomlDocument, TomlTable
from sipfarm.base.toml_values import boolean, function_name, ip_text, list_of, text_of

STOCK_APPLICATIONS = ("echo", "music", "voicemail", "conference", "attendant")

_USER = re.compile(r"[A-Za-z0-9._~+-]{1,64}")
_NUMBER = re.compile(r"\+?[0-9*#]{1,32}")


class ProvisionAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A user of a domain, with the password that its digests are made of."""

    name: str
    password: Secret
    aliases: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    voicemail: bool = False


class ProvisionApplication(msgspec.Struct, frozen=True, kw_only=True):
    """A name that a task answers: a stock one, or `module:function`."""

    name: str
    task: str = ""
    numbers: tuple[str, ...] = ()


class ProvisionDomain(msgspec.Struct, frozen=True, kw_only=True):
    """A domain, what belongs to it, and what it has of its own."""

    name: str
    certificate: Path | None = None
    key: Path | None = None
    media_address: str | None = None
    srtp: SrtpPolicy = "off"
    accounts: tuple[ProvisionAccount, ...] = ()
    applications: tuple[ProvisionApplication, ...] = ()


class ProvisionFile(msgspec.Struct, frozen=True):
    """All domains of one file."""

    domains: tuple[ProvisionDomain, ...]


def load(path: Path) -> ProvisionFile:
    """Read a file of domains; ConfigError tells everything that is wrong with it."""
    return parse(read_text(path), str(path), directory=path.absolute().parent)


def parse(toml: str, file: str, directory: Path = Path("/")) -> ProvisionFile:
    """Make domains of TOML. Relative paths in it are meant from `directory`."""
    document = TomlDocument(toml, file)
    tables = document.root.tables("domain")
    if not tables and not document.problems:
        document.refuse((), "there is no [[domain]] in it")
    domains = tuple(_domain(table, directory) for table in tables)
    _refuse_repeated(zip((domain.name for domain in domains), tables, strict=True), "name", {})
    document.root.close()
    document.finish()
    return ProvisionFile(domains)


def _domain(table: TomlTable, directory: Path) -> ProvisionDomain:
    path = text_of(lambda value: directory / value)
    account_tables = table.tables("account")
    application_tables = table.tables("application")
    domain = ProvisionDomain(
        name=table.require("name", text_of(domain_name), ""),
        certificate=table.take("certificate", path, None),
        key=table.take("key", path, None),
        media_address=table.take("media_address", text_of(phone_address), None),
        srtp=table.take("srtp", text_of(srtp_policy), "off"),
        accounts=tuple(_account(account) for account in account_tables),
        applications=tuple(_application(application) for application in application_tables),
    )
    if (domain.certificate is None) != (domain.key is None):
        lone = "certificate" if domain.key is None else "key"
        table.refuse(lone, "certificate and key go together: the other is missing")
    table.close()
    holders: list[tuple[ProvisionAccount | ProvisionApplication, TomlTable]] = [
        *zip(domain.accounts, account_tables, strict=True),
        *zip(domain.applications, application_tables, strict=True),
    ]
    users: dict[str, str] = {}
    _refuse_repeated(((holder.name, at) for holder, at in holders), "name", users)
    for account, at in zip(domain.accounts, account_tables, strict=True):
        _refuse_repeated(((alias, at) for alias in account.aliases), "aliases", users)
    for holder, at in holders:
        _refuse_repeated(((number, at) for number in holder.numbers), "numbers", users)
    return domain


def _account(table: TomlTable) -> ProvisionAccount:
    account = ProvisionAccount(
        name=table.require("name", text_of(user_name), ""),
        password=table.require("password", text_of(Secret), Secret("")),
        aliases=table.take("aliases", list_of(text_of(user_name), ALIASES_PER_ACCOUNT_MAX), ()),
        numbers=table.take("numbers", list_of(text_of(phone_number), NUMBERS_PER_ACCOUNT_MAX), ()),
        voicemail=table.take("voicemail", boolean, False),
    )
    table.close()
    return account


def _application(table: TomlTable) -> ProvisionApplication:
    application = ProvisionApplication(
        name=table.require("name", text_of(user_name), ""),
        task=table.take("task", text_of(function_name), ""),
        numbers=table.take("numbers", list_of(text_of(phone_number), NUMBERS_PER_ACCOUNT_MAX), ()),
    )
    fault = "" if "task" in table or not application.name else taskless(application.name)
    if fault:
        table.refuse("name", fault)
    table.close()
    return application


def _refuse_repeated(
    names: Iterable[tuple[str, TomlTable]], key: str, seen: dict[str, str]
) -> None:
    """Each name reaches one thing only; `seen` keeps where a name stood first."""
    for name, table in names:
        if not name:
            continue
        if name in seen:
            table.refuse(key, f'"{name}" stands there twice: it is one of the {seen[name]} too')
        seen.setdefault(name, {"name": "names"}.get(key, key))


def domain_name(value: str) -> str:
    """A host name or an IP address, in lower case; IPv6 without brackets."""
    ip = parse_ip(value)
    if ip is not None:
        return str(ip)
    try:
        return HostPort.parse(f"{value}:0").host.rstrip(".").lower()
    except ValueError:
        raise ValueError(f'"{value}" is neither a host name nor an IP address') from None


def taskless(name: str) -> str:
    """Why an application of that name cannot do without a task; empty if it can."""
    if name in STOCK_APPLICATIONS:
        return ""
    return f'"{name}" has no task; without one allowed are {", ".join(STOCK_APPLICATIONS)}'


def user_name(value: str) -> str:
    """The name of an account or an application, or an alias."""
    if not _USER.fullmatch(value):
        raise ValueError(f'"{value}": allowed are 1 to 64 letters, digits and . _ ~ + -')
    return value


def phone_number(value: str) -> str:
    """What is dialled."""
    if not _NUMBER.fullmatch(value):
        raise ValueError(f'"{value}": allowed are 1 to 32 digits, * and #, after a + at most')
    return value


def srtp_policy(value: str) -> SrtpPolicy:
    """What a domain wants of SRTP."""
    match value:
        case "off" | "offer" | "require":
            return value
        case _:
            raise ValueError(f'"{value}": allowed are off, offer and require')


def phone_address(value: str) -> str:
    """An IP address that media may be sent to."""
    ip = ip_text(value)
    if HostPort(ip, 0).is_unspecified:
        raise ValueError(f'"{value}": write the one address that phones reach')
    return ip
