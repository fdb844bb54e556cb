"""What changing a domain does to the names and numbers in it. Pure: the store runs it inside one
atomic update.

A number (or an alias) stands for one account or application of its domain. A name may move its
numbers to another name in one and the same change, never take one from a name that keeps it.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from sipfarm.base.errors import SipfarmError
from sipfarm.base.records import (
    Account,
    Application,
    Domain,
    DomainChange,
    NumberTarget,
    TargetKind,
)

Named = Account | Application
NameKey = tuple[TargetKind, str]


class NameConflict(SipfarmError):
    """A number, an alias or a name of a domain is wanted by two."""


class NoDomain(SipfarmError):
    """There is no domain of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no domain {name}")


class PasswordNeeded(SipfarmError):
    """An account without a password is not there to keep the one it has."""


class Known(msgspec.Struct, frozen=True):
    """What a change needs to know of a domain as it stands: the names it touches, the numbers they
    have or want.
    """

    domain: Domain | None
    revision: int
    names: Mapping[NameKey, Named]
    numbers: Mapping[str, NumberTarget]


class Delta(msgspec.Struct, frozen=True):
    """What is to be written; None removes."""

    domain: Domain | None  # None: as it is
    revision: int
    names: Mapping[NameKey, Named | None]
    numbers: Mapping[str, NumberTarget | None]
    change: DomainChange
    removes_domain: bool = False

    def unchanged(self) -> bool:
        """Whether nothing is to be written."""
        return not (self.domain or self.names or self.numbers or self.removes_domain)


def key_of(named: Named) -> NameKey:
    """A name together with its kind."""
    return (
        TargetKind.ACCOUNT if isinstance(named, Account) else TargetKind.APPLICATION,
        named.name,
    )


def numbers_of(named: Named) -> tuple[str, ...]:
    """The numbers and aliases that lead to a name."""
    return (*named.aliases, *named.numbers) if isinstance(named, Account) else named.numbers


def names_to_look_at(wanted: Iterable[Named]) -> set[NameKey]:
    """The names that a change must know: those it writes, and their like of the other kind."""
    return {(kind, named.name) for named in wanted for kind in TargetKind}


def add(known: Known, domain: Domain) -> Delta:
    """Add a domain that is not there yet."""
    if known.domain is not None:
        raise NameConflict(f"there is a domain {domain.name} already")
    return put(known, domain, ())


def put_names(known: Known, domain: str, wanted: Sequence[Named], *, new: bool) -> Delta:
    """Add or replace names in a domain that is there; only `new` ones, if asked to. An account
    without digests keeps those it has.
    """
    if known.domain is None:
        raise NoDomain(domain)
    for kind, name in map(key_of, wanted):
        if new and (kind, name) in known.names:
            raise NameConflict(f"{domain}: there is an {kind} {name!r} already")
    return put(known, known.domain, [_with_digests(known, named) for named in wanted])


def _with_digests(known: Known, named: Named) -> Named:
    if isinstance(named, Application) or named.ha1_sha256:
        return named
    old = known.names.get(key_of(named))
    if not isinstance(old, Account):
        raise PasswordNeeded(f"{named.domain}: a new account {named.name!r} needs a password")
    return msgspec.structs.replace(named, ha1_md5=old.ha1_md5, ha1_sha256=old.ha1_sha256)


def put(known: Known, domain: Domain, wanted: Sequence[Named]) -> Delta:
    """Add or replace a domain and names in it."""
    _check_unique(domain, wanted)
    names = {key_of(named): named for named in wanted}
    for kind, name in names:
        other = TargetKind.APPLICATION if kind is TargetKind.ACCOUNT else TargetKind.ACCOUNT
        if (other, name) in known.names:
            raise NameConflict(f"{domain.name}: {name!r} is an {other} already")
    numbers = _freed(known, names.keys())
    for key, named in names.items():
        for number in numbers_of(named):
            _check_free(domain, number, known.numbers.get(number), key, names.keys())
            numbers[number] = NumberTarget(*key)
    return _delta(known, domain.name, domain, names, numbers)


def remove(known: Known, domain: str, gone: Iterable[NameKey]) -> Delta:
    """Remove names and their numbers; of a domain that was removed too, what it left behind."""
    there = [key for key in gone if key in known.names]
    return _delta(known, domain, None, dict.fromkeys(there), _freed(known, there))


def remove_domain(known: Known, domain: str) -> Delta:
    """Remove a domain; nobody finds the names in it any more, nor adds one."""
    there = known.domain is not None
    revision = known.revision + there
    removed = (f"domain {domain}",) if there else ()
    change = DomainChange(domain, revision, removed=removed)
    return Delta(None, revision, {}, {}, change, removes_domain=there)


def _check_unique(domain: Domain, wanted: Sequence[Named]) -> None:
    """Refuse a change that contradicts itself."""
    holder: dict[str, str] = {}
    seen: set[str] = set()
    for named in wanted:
        if named.domain != domain.name:
            raise NameConflict(f"{named.name!r} is of domain {named.domain!r}, not {domain.name!r}")
        if named.name in seen:
            raise NameConflict(f"{domain.name}: {named.name!r} is given twice")
        seen.add(named.name)
        for number in numbers_of(named):
            if holder.setdefault(number, named.name) != named.name:
                raise NameConflict(
                    f"{domain.name}: number {number!r} is wanted by {holder[number]!r}"
                    f" and {named.name!r}"
                )


def _check_free(
    domain: Domain,
    number: str,
    target: NumberTarget | None,
    key: NameKey,
    rewritten: Iterable[NameKey],
) -> None:
    if (
        target is None
        or (target.kind, target.name) == key
        or (target.kind, target.name) in rewritten
    ):
        return
    raise NameConflict(
        f"{domain.name}: number {number!r} of {key[1]!r} belongs to {target.kind} {target.name!r}"
    )


def _freed(known: Known, keys: Iterable[NameKey]) -> dict[str, NumberTarget | None]:
    """All numbers that these names have now, given up."""
    return {
        number: None
        for key in keys
        if key in known.names
        for number in numbers_of(known.names[key])
        if number in known.numbers and known.numbers[number] == NumberTarget(*key)
    }


def _delta(
    known: Known,
    domain: str,
    wanted: Domain | None,
    names: Mapping[NameKey, Named | None],
    numbers: Mapping[str, NumberTarget | None],
) -> Delta:
    """Drop what would write what is there, and say what remains."""
    names = {key: named for key, named in names.items() if known.names.get(key) != named}
    numbers = {number: to for number, to in numbers.items() if known.numbers.get(number) != to}
    written = None if wanted == known.domain else wanted
    added = [
        f"{kind} {name}"
        for (kind, name), named in names.items()
        if named and (kind, name) not in known.names
    ]
    changed = [
        f"{kind} {name}"
        for (kind, name), named in names.items()
        if named and (kind, name) in known.names
    ]
    removed = [f"{kind} {name}" for (kind, name), named in names.items() if named is None]
    if written is not None:
        (added if known.domain is None else changed).insert(0, f"domain {domain}")
    touched = bool(names or numbers or written)
    revision = known.revision + 1 if touched else known.revision
    change = DomainChange(domain, revision, tuple(added), tuple(changed), tuple(removed))
    return Delta(written, revision, names, numbers, change)
