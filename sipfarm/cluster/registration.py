"""Applying a REGISTER to an address-of-record (RFC 3261 §10.3 steps 6 and 7, RFC 5626 §6).

The rules are native (store/registration.hpp) and work on the stored form of the records here. They
are pure: both stores run them inside one atomic update of the cell that holds the
address-of-record, and may run them again when another member came first.
"""

from typing import Final

import msgspec

from sipfarm.base.records import Binding, Record, RegisterOutcome, RegisterStatus, RegisterUpdate
from sipfarm.native import apply_register

SUPERSEDED_MS: Final = 64_000  # as the native rules have them
CLOSED_MS: Final = 5_000
SUPERSEDED_MAX: Final = 32
_CSEQ_MAX: Final = 2**31 - 1  # RFC 3261 §8.1.1.5


class Superseded(Record, frozen=True):
    """A (Call-ID, CSeq) that must not be applied to this contact any more."""

    contact_key: str  # "*": any contact
    instance_id: str
    reg_id: int
    call_id: str  # "": any
    cseq: int
    until_wall_ms: int
    removal: (
        bool  # it was a removal; else a binding that was replaced or removed by another Call-ID
    )


class Registration(Record, frozen=True):
    """All that is kept of one address-of-record."""

    bindings: tuple[Binding, ...] = ()
    superseded: tuple[Superseded, ...] = ()


class Applied(msgspec.Struct, frozen=True):
    """What an update came to. `value` is to be written and dead at `dead_at_wall_ms`, or None."""

    outcome: RegisterOutcome
    value: bytes | None
    dead_at_wall_ms: int


class CorruptRecord(Exception):
    """What is stored for an address-of-record is no Registration."""


_NOTHING: Final = Registration()
_STATUSES: Final[tuple[RegisterStatus, ...]] = (
    "applied",
    "repeated",
    "out_of_order",
    "too_many",
)  # by their native numbers; any other: corrupt
_decoder: Final = msgspec.msgpack.Decoder(Registration)
_decode_bindings: Final = msgspec.msgpack.Decoder(tuple[Binding, ...]).decode
_encode: Final = msgspec.msgpack.Encoder().encode


def decode(value: bytes | None) -> Registration:
    """Read the stored form; an absent one is an address-of-record without bindings."""
    return _NOTHING if value is None else _decoder.decode(value)


def encode(record: Registration | RegisterUpdate) -> bytes:
    """The stored form."""
    return _encode(record)


def live_bindings(registration: Registration, wall_ms: int) -> tuple[Binding, ...]:
    """The bindings that have not expired, highest q first."""
    live = [b for b in registration.bindings if b.expires_at_wall_ms > wall_ms]
    if len(live) > 1:
        live.sort(key=_by_q)
    return tuple(live)


def closing(aor: str) -> RegisterUpdate:
    """Takes the bindings of an account that is gone, and lets nobody bind its address-of-record for
    CLOSED_MS: what a member is about to write that does not know yet must not stay.
    """
    return RegisterUpdate(aor, "", _CSEQ_MAX, wildcard=True)


def register(stored: bytes | None, update: RegisterUpdate, wall_ms: int) -> Applied:
    """Apply an update to the stored form as a whole or not at all."""
    status, bindings, value, dead_at_wall_ms = apply_register(stored, _encode(update), wall_ms)
    return Applied(outcome_of(update, status, bindings), value, dead_at_wall_ms)


def outcome_of(update: RegisterUpdate, status: int, bindings: bytes | None) -> RegisterOutcome:
    """The outcome as the native rules tell it: no bindings stand for the update's one contact."""
    if status >= len(_STATUSES):
        raise CorruptRecord(update.aor)
    return RegisterOutcome(
        _STATUSES[status], update.contacts if bindings is None else _decode_bindings(bindings)
    )


def _by_q(binding: Binding) -> int:
    return -binding.q
