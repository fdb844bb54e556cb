"""The cells of a domain: its record, its revision, the names in it and their numbers. What a change
reads and writes of them, and how.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from sipfarm.base.records import Account, Application, Domain, NumberTarget, TargetKind
from sipfarm.cluster import domain_contents
from sipfarm.cluster.domain_contents import Delta, Known, NameKey
from sipfarm.cluster.io.cells import DELETE, CellKey, Delete, Put, Values, Write

DOMAIN: Final = "domain"  # scope: the domain, as of the following
REVISION: Final = "revision"  # stays when the domain goes: it never falls
NUMBER: Final = "number"

_encode: Final = msgspec.msgpack.Encoder().encode
decode_domain: Final = msgspec.msgpack.Decoder(Domain).decode
decode_account: Final = msgspec.msgpack.Decoder(Account).decode
decode_application: Final = msgspec.msgpack.Decoder(Application).decode
decode_target: Final = msgspec.msgpack.Decoder(NumberTarget).decode
_decode_int: Final = msgspec.msgpack.Decoder(int).decode


def _decode_named(kind: str, value: bytes) -> Account | Application:
    return decode_account(value) if kind == TargetKind.ACCOUNT else decode_application(value)


def keys_of(
    domain: str, name_keys: Sequence[CellKey], numbers: Iterable[str]
) -> tuple[CellKey, ...]:
    """All that a change of these names reads: the domain, its revision, the names, the numbers."""
    return (
        CellKey(DOMAIN, domain, ""),
        CellKey(REVISION, domain, ""),
        *name_keys,
        *(CellKey(NUMBER, domain, number) for number in sorted(numbers)),
    )


def numbers_in(keys: Sequence[CellKey], values: Values) -> set[str]:
    """The numbers that names have now."""
    return {
        number
        for key, value in zip(keys, values, strict=True)
        if value is not None
        for number in domain_contents.numbers_of(_decode_named(key.noun, value))
    }


def known_of(keys: Sequence[CellKey], values: Values) -> Known:
    """What the cells of a domain say, in the order of `keys_of`."""
    domain = None if values[0] is None else decode_domain(values[0])
    revision = 0 if values[1] is None else _decode_int(values[1])
    names: dict[NameKey, Account | Application] = {}
    numbers: dict[str, NumberTarget] = {}
    for key, value in zip(keys[2:], values[2:], strict=True):
        if value is None:
            continue
        if key.noun == NUMBER:
            numbers[key.name] = decode_target(value)
        else:
            names[TargetKind(key.noun), key.name] = _decode_named(key.noun, value)
    return Known(domain, revision, names, numbers)


def write_of(key: CellKey, delta: Delta) -> Write | None:
    """What a change does to one of its cells."""
    if key.noun == DOMAIN:
        if delta.removes_domain:
            return DELETE
        return None if delta.domain is None else Put(_encode(delta.domain))
    if key.noun == REVISION:
        return None if delta.unchanged() else Put(_encode(delta.revision))
    if key.noun == NUMBER:
        return _write_or_delete(delta.numbers, key.name)
    return _write_or_delete(delta.names, (TargetKind(key.noun), key.name))


def _write_or_delete(values: Mapping[Any, Any], key: object) -> Put | Delete | None:
    if key not in values:
        return None
    value = values[key]
    return DELETE if value is None else Put(_encode(value))
