"""What the admin API is told: the bodies of requests that change something."""

import msgspec

from sipfarm.base.limits import ALIASES_PER_ACCOUNT_MAX, NUMBERS_PER_ACCOUNT_MAX


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is told; a field that is not known is refused."""


class DomainBody(Body, frozen=True, kw_only=True):
    """A domain. The files are on the members' machines."""

    certificate: str | None = None
    key: str | None = None
    media_address: str | None = None
    srtp: str = "off"


class NewDomain(DomainBody, frozen=True, kw_only=True):
    name: str


class AccountBody(Body, frozen=True, kw_only=True):
    """An account. Without a password one that is there keeps its own."""

    password: str | None = None
    numbers: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    voicemail: bool = False

    def __repr__(self) -> str:
        return "AccountBody(***)"

    def __post_init__(self) -> None:
        _bound("numbers", self.numbers, NUMBERS_PER_ACCOUNT_MAX)
        _bound("aliases", self.aliases, ALIASES_PER_ACCOUNT_MAX)


class NewAccount(AccountBody, frozen=True, kw_only=True):
    name: str

    def __repr__(self) -> str:
        return "NewAccount(***)"


class ApplicationBody(Body, frozen=True, kw_only=True):
    """A name that a task answers: a stock one, or `module:function`."""

    task: str = ""
    numbers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _bound("numbers", self.numbers, NUMBERS_PER_ACCOUNT_MAX)


class NewApplication(ApplicationBody, frozen=True, kw_only=True):
    name: str


class RolesBody(Body, frozen=True, kw_only=True):
    """What a member is to be: of `edge`, `pbx` and `media`."""

    roles: tuple[str, ...]


def _bound(what: str, given: tuple[str, ...], most: int) -> None:
    if len(given) > most:
        raise ValueError(f"{len(given)} {what}: allowed are {most}")
