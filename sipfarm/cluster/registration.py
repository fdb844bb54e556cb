"""Applying a REGISTER to an address-of-record (RFC 3261 §10.3 steps 6 and 7, RFC 5626 §6).

Pure: both stores run `register` inside one atomic update of the cell that holds the
address-of-record, and may run it again when another member came first.

What a REGISTER removed or replaced is remembered for a while as (contact, Call-ID, CSeq), so that a
late duplicate of an older REGISTER, arriving over any member, cannot bring it back.
"""

from typing import Final

import msgspec

from sipfarm.base.records import (
    Binding,
    Record,
    RegisterOutcome,
    RegisterStatus,
    RegisterUpdate,
    Removal,
)

SUPERSEDED_MS: Final = 64_000  # twice timer F: no retransmission lives longer (RFC 3261 §17.1.2.2)
SUPERSEDED_MAX: Final = 32  # for each address-of-record; the oldest are forgotten first
WILDCARD: Final = "*"


class Superseded(Record, frozen=True):
    """A (Call-ID, CSeq) that must not be applied to this contact any more."""

    contact_key: str  # WILDCARD: any contact
    instance_id: str
    reg_id: int
    call_id: str
    cseq: int
    until_wall_ms: int
    removal: (
        bool  # it was a removal; else a binding that was replaced or removed by another Call-ID
    )


class Registration(Record, frozen=True):
    """All that is kept of one address-of-record."""

    bindings: tuple[Binding, ...] = ()
    superseded: tuple[Superseded, ...] = ()

    def dead_at_wall_ms(self) -> int:
        """When nothing in it has a meaning any more."""
        return max(
            max((b.expires_at_wall_ms for b in self.bindings), default=0),
            max((s.until_wall_ms for s in self.superseded), default=0),
        )


# How one contact of an update stands to what is known of it; the sum of several is a set.
_NEUTRAL: Final = 0  # nothing known
_FRESH: Final = 1  # newer than what is known
_REPEAT: Final = 2  # exactly what is known
_STALE: Final = 4  # older than what is known

_NOTHING: Final = Registration()
_EVERYTHING: Final = Removal(WILDCARD)
_decoder: Final = msgspec.msgpack.Decoder(Registration)
_encoder: Final = msgspec.msgpack.Encoder()


def decode(value: bytes | None) -> Registration:
    """Read the stored form; an absent one is an address-of-record without bindings."""
    return _NOTHING if value is None else _decoder.decode(value)


def encode(registration: Registration) -> bytes:
    """The stored form."""
    return _encoder.encode(registration)


def live_bindings(registration: Registration, wall_ms: int) -> tuple[Binding, ...]:
    """The bindings that have not expired, highest q first."""
    live = [b for b in registration.bindings if b.expires_at_wall_ms > wall_ms]
    if len(live) > 1:
        live.sort(key=_by_q)
    return tuple(live)


def register(
    registration: Registration, update: RegisterUpdate, wall_ms: int
) -> tuple[Registration | None, RegisterOutcome]:
    """Apply an update as a whole or not at all; None stands for "unchanged"."""
    bindings = [b for b in registration.bindings if b.expires_at_wall_ms > wall_ms]
    known = [s for s in registration.superseded if s.until_wall_ms > wall_ms]
    orders = _orders(bindings, known, update)
    if orders >= _STALE or orders == _REPEAT | _FRESH:
        return None, _outcome("out_of_order", bindings)
    if orders == _REPEAT:
        return None, _outcome("repeated", bindings)
    if not (update.contacts or update.removals or update.wildcard):
        return None, _outcome("applied", bindings)
    after = _apply(bindings, update)
    if len(after) > max(update.max_bindings, len(bindings)):
        return None, _outcome("too_many", bindings)
    superseded = _remember(known, bindings, after, update, wall_ms + SUPERSEDED_MS)
    return Registration(tuple(after), superseded), _outcome("applied", after)


def _by_q(binding: Binding) -> int:
    return -binding.q


def _outcome(status: RegisterStatus, bindings: list[Binding]) -> RegisterOutcome:
    ordered = sorted(bindings, key=_by_q) if len(bindings) > 1 else bindings
    return RegisterOutcome(status, tuple(ordered))


def same_contact(one: Binding | Removal | Superseded, other: Binding | Superseded) -> bool:
    """Whether two stand for one binding: by instance and reg-id where both have them (RFC 5626 §6),
    else by URI.
    """
    if one.reg_id and other.reg_id and one.instance_id and other.instance_id:
        return one.reg_id == other.reg_id and one.instance_id == other.instance_id
    return one.contact_key == other.contact_key


def _orders(bindings: list[Binding], known: list[Superseded], update: RegisterUpdate) -> int:
    if known:
        known = [s for s in known if s.call_id == update.call_id]
    orders = _NEUTRAL
    for contact in update.contacts:
        orders |= _order_of_contact(contact, bindings, known, update)
    for removal in update.removals:
        orders |= _order_of_removal(removal, bindings, known, update)
    if update.wildcard:
        orders |= _order_of_wildcard(bindings, known, update)
    return orders


def _order_of_contact(
    contact: Binding, bindings: list[Binding], known: list[Superseded], update: RegisterUpdate
) -> int:
    order = _FRESH
    for other in bindings:
        if other.call_id != update.call_id or not same_contact(contact, other):
            continue
        if update.cseq < other.cseq:
            return _STALE
        if update.cseq == other.cseq:
            if contact.contact_key != other.contact_key:
                return _STALE  # one CSeq, two contents: not a repeat
            order = _REPEAT
    for mark in known:
        if mark.cseq >= update.cseq and (
            mark.contact_key == WILDCARD or same_contact(contact, mark)
        ):
            return _STALE
    return order


def _order_of_removal(
    removal: Removal, bindings: list[Binding], known: list[Superseded], update: RegisterUpdate
) -> int:
    order = _NEUTRAL
    for other in bindings:
        if not same_contact(removal, other):
            continue
        if other.call_id == update.call_id and update.cseq <= other.cseq:
            return _STALE
        order = _FRESH
    return max(order, _order_by_marks(removal, known, update.cseq))


def _order_of_wildcard(
    bindings: list[Binding], known: list[Superseded], update: RegisterUpdate
) -> int:
    order = max(_FRESH, _order_by_marks(_EVERYTHING, known, update.cseq))
    if order == _FRESH and any(
        b.call_id == update.call_id and update.cseq <= b.cseq for b in bindings
    ):
        return _STALE
    return order


def _order_by_marks(removal: Removal, known: list[Superseded], cseq: int) -> int:
    order = _NEUTRAL
    for mark in known:
        if mark.cseq < cseq or not (mark.contact_key == WILDCARD or same_contact(removal, mark)):
            continue
        repeat = mark.cseq == cseq and mark.removal
        order = max(order, _REPEAT if repeat else _STALE)
    return order


def _apply(bindings: list[Binding], update: RegisterUpdate) -> list[Binding]:
    if update.wildcard:
        return []
    after = bindings
    for removal in update.removals:
        after = [b for b in after if not same_contact(removal, b)]
    for contact in update.contacts:
        kept = [b for b in after if not same_contact(contact, b)]
        after = [*kept, contact]
    return after


def _remember(
    known: list[Superseded],
    before: list[Binding],
    after: list[Binding],
    update: RegisterUpdate,
    until_wall_ms: int,
) -> tuple[Superseded, ...]:
    """Add what this update made void: what it removed, or replaced from another Call-ID."""
    removals = (*update.removals, _EVERYTHING) if update.wildcard else update.removals
    marks = [
        _superseded(removal, update.call_id, update.cseq, until_wall_ms, removal=True)
        for removal in removals
    ]
    marks += [
        _superseded(old, old.call_id, old.cseq, until_wall_ms, removal=False)
        for old in before
        if old.call_id != update.call_id and not any(old is b for b in after)
    ]
    if not marks:
        return tuple(known)
    return tuple([*known, *marks][-SUPERSEDED_MAX:])


def _superseded(
    contact: Binding | Removal, call_id: str, cseq: int, until_wall_ms: int, *, removal: bool
) -> Superseded:
    return Superseded(
        contact.contact_key,
        contact.instance_id,
        contact.reg_id,
        call_id,
        cseq,
        until_wall_ms,
        removal,
    )
