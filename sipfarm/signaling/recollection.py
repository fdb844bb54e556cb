"""What the members remember of the records, asked of each other while the store is away."""

from typing import Final, Literal, Protocol

import msgspec

from sipfarm.base.errors import CapacityError
from sipfarm.base.records import Account, Application, Binding, Domain

Kind = Literal["domain", "addressee", "bindings"]


class Question(msgspec.Struct, frozen=True, array_like=True):
    """A record by what it is called."""

    kind: Kind
    scope: str
    """A domain, or an address-of-record."""
    name: str = ""


class Remembered(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record, in the field of its kind; in none: it is known that there is no such record."""

    domain: Domain | None = None
    account: Account | None = None
    application: Application | None = None
    bindings: tuple[Binding, ...] = ()

    @property
    def is_something(self) -> bool:
        return self != NOTHING


NOTHING: Final = Remembered()


class Others(Protocol):
    """The other members. Raises CapacityError where none of them remembers."""

    async def ask(self, question: Question) -> Remembered: ...


class Nobody:
    """A member that has no others."""

    async def ask(self, question: Question) -> Remembered:
        raise CapacityError(f"the store is away, and nobody remembers {question.scope}")
