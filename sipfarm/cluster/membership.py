"""Who is in the farm: the failure detector and the view (DESIGN §4 "Death"). Sans-IO.

    joining ── heard ──► ready | draining ◄── heard again ── suspected ── tombstoned ──► dead
                                │                                ▲
                                └── silent for suspect_after_ms ─┘

The registry says who there is; heartbeats say how they are. A member that was not heard for
`dead_after_ms`, and that did not prolong its lease either, is to be tombstoned in the store; only
once the store says so is it dead. Thus two members that cannot hear each other, while both live,
suspect each other and no more: neither declares the other dead. While the store is away nobody is.

When this member itself was stopped for a while, its silence is not theirs: the time it did not look
is not counted. And it may have been declared dead meanwhile, as it may when it hears neither the
store nor any other: see `cut_off`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from sipfarm.base.farm_view import Incarnation, Load, MemberInView, Standing, View, ViewState
from sipfarm.base.limits import MEMBERS_MAX
from sipfarm.base.records import MemberRecord, MemberState, epoch_is_newer
from sipfarm.cluster.membership_outputs import (
    Dial,
    GoneFor,
    HangUp,
    MemberGone,
    Output,
    ReadRegistry,
    SelfTombstoned,
    TryTombstone,
    ViewChanged,
)
from sipfarm.cluster.membership_settings import MembershipSettings
from sipfarm.cluster.wire import Heartbeat, OwnState

PLAIN: Final = Standing()
DEAD_SHOWN_MAX: Final = 32
DEAD_REMEMBERED_MAX: Final = 1_024


class _Member(msgspec.Struct):
    """Another member, in its living incarnation."""

    number: int
    epoch: int
    name: str
    address: str
    lease_until_wall_ms: int
    heard_ms: int
    renewed_ms: int
    try_again_ms: int
    told: Heartbeat | None = None  # None: never heard
    suspected: bool = True
    trying: bool = False  # a tombstone is on its way

    @property
    def state(self) -> ViewState:
        if self.suspected or self.told is None:
            return ViewState.SUSPECTED
        return _TOLD[self.told.state]

    def shown(self) -> MemberInView:
        told = self.told
        load, standing = (told.load, told.standing) if told else (Load(), PLAIN)
        return MemberInView(self.number, self.epoch, self.name, self.state, load, standing)


class _Early(msgspec.Struct, frozen=True):
    """A heartbeat of a member whose record was not read yet."""

    incarnation: Incarnation
    told: Heartbeat
    heard_ms: int


class _Dead(msgspec.Struct, frozen=True):
    """A dead member, as long as it is shown."""

    shown: MemberInView
    until_ms: int


_Shown = tuple[Incarnation, ViewState, tuple[str, ...]]
_TOLD: Final[Mapping[OwnState, ViewState]] = {
    OwnState.READY: ViewState.READY,
    OwnState.DRAINING: ViewState.DRAINING,
}


class Membership:
    """The farm as one incarnation of one member sees it."""

    def __init__(
        self, own: MemberRecord, settings: MembershipSettings, now_ms: int, *, store_up: bool = True
    ) -> None:
        self.settings = settings
        self.ignored = 0
        """Records of the registry that found no room."""
        self._own = MemberInView(own.number, own.epoch, own.name, ViewState.READY)
        self._members: dict[int, _Member] = {}
        self._early: dict[int, _Early] = {}
        self._shown_dead: dict[int, _Dead] = {}
        self._dead: dict[Incarnation, None] = {}
        self._store_up = store_up
        self._looked_ms = now_ms
        self._proved_ms = now_ms
        self._cut_off_after_ms = settings.doubt_after_ms
        self._over = False
        self._view: View | None = None
        self._shown: tuple[_Shown, ...] = ()
        self._changes()

    @property
    def incarnation(self) -> Incarnation:
        return self._own.incarnation

    def view(self) -> View:
        """All members with their latest loads, ourselves included."""
        if self._view is None:
            others = [member.shown() for member in self._members.values()]
            dead = [dead.shown for dead in self._shown_dead.values()]
            self._view = View(tuple(sorted([self._own, *others, *dead], key=_by_number)))
        return self._view

    def accepts(self, incarnation: Incarnation) -> bool:
        """Whether a link with it may be: not with one that is known to be over."""
        number, epoch = incarnation
        if incarnation in self._dead or number == self._own.number:
            return False
        member = self._members.get(number)
        return member is None or member.epoch == epoch or epoch_is_newer(epoch, member.epoch)

    def cut_off(self, now_ms: int) -> bool:
        """Whether neither a renewal of the lease nor any other of several members was heard for so
        long that the others may have declared this member dead. A lone member never is.
        """
        return now_ms - self._proved_ms > self._cut_off_after_ms and bool(self._members)

    def is_agreed(self) -> bool:
        """Whether every other member was heard, and has the same incarnations in view as we."""
        digest = self.view().digest()
        return all(
            not m.suspected and m.told is not None and m.told.view_digest == digest
            for m in self._members.values()
        )

    def own(self, state: OwnState, load: Load, standing: Standing = PLAIN) -> list[Output]:
        """Tell how this member itself is."""
        if self._over:
            return []
        self._own = msgspec.structs.replace(
            self._own, state=_TOLD[state], load=load, standing=standing
        )
        self._view = None
        return self._changes()

    def heartbeat(self, incarnation: Incarnation, told: Heartbeat, now_ms: int) -> list[Output]:
        """A heartbeat has come over an authenticated link."""
        self._look(now_ms)
        if self._over:
            return []
        number, epoch = incarnation
        member = self._members.get(number)
        if member is None or member.epoch != epoch:
            if not self.accepts(incarnation):
                return []
            self._heard_early(_Early(incarnation, told, now_ms))
            return [ReadRegistry()] if self._store_up else []
        member.heard_ms = now_ms
        self._proved_ms = max(now_ms, self._proved_ms)
        member.told = told
        member.suspected = False
        self._view = None
        outputs = self._changes()
        is_behind = told.standing.names_revision > self._own.standing.names_revision
        if self._store_up and (is_behind or told.view_digest != self.view().digest()):
            outputs.append(ReadRegistry())
        return outputs

    def registry(self, records: Sequence[MemberRecord], now_ms: int) -> list[Output]:
        """The members as the store has them."""
        self._look(now_ms)
        if self._over:
            return []
        outputs = self.store_answered(now_ms)
        for record in records:
            why = self._ended_for(record) if record.number == self._own.number else None
            if why is not None:
                return self._end(why)
        for record in sorted(records, key=_by_number):
            if record.number != self._own.number:
                outputs += self._record(record, now_ms)
        return [*outputs, *self._expire(now_ms)]

    def tombstone_result(
        self, incarnation: Incarnation, done: bool | None, now_ms: int
    ) -> list[Output]:
        """How a TryTombstone went: done, refused (somebody was quicker, or the lease was
        prolonged), or (None) the store is away.
        """
        self._look(now_ms)
        number, epoch = incarnation
        member = self._members.get(number)
        if self._over or member is None or member.epoch != epoch:
            return []
        member.trying = False
        member.try_again_ms = now_ms + self.settings.retry_ms
        if done is None:
            return self.store_failed(now_ms)
        if not done:
            return [ReadRegistry()]
        return [*self._bury(member, GoneFor.TOMBSTONED, now_ms), *self._changes()]

    def renewed(self, living: bool, asked_ms: int, now_ms: int) -> list[Output]:
        """What the store answered to the renewal of our own lease."""
        self._look(now_ms)
        if not living:
            return self._end(GoneFor.TOMBSTONED)
        self._proved_ms = max(asked_ms, self._proved_ms)
        return self.store_answered(now_ms)

    def store_failed(self, now_ms: int) -> list[Output]:
        """The store did not answer."""
        self._look(now_ms)
        self._store_up = False
        return []

    def store_answered(self, now_ms: int) -> list[Output]:
        """The store answers, perhaps again: leases that could not be prolonged get their time."""
        self._look(now_ms)
        if not self._store_up:
            self._store_up = True
            for member in self._members.values():
                member.renewed_ms = now_ms
        return []

    def next_deadline_ms(self) -> int:
        """When `expire` has something to do; a heartbeat later at the latest."""
        latest_ms = self._looked_ms + self.settings.heartbeat_ms
        if self._over:
            return latest_ms
        return min(
            (self._deadline_ms(m, latest_ms) for m in self._members.values()), default=latest_ms
        )

    def expire(self, now_ms: int) -> list[Output]:
        """Time has passed."""
        self._look(now_ms)
        return [] if self._over else self._expire(now_ms)

    def _look(self, now_ms: int) -> None:
        """Note that we run now. What came while we did not is still to be read: wait for it."""
        gap_ms = now_ms - self._looked_ms
        self._looked_ms = max(now_ms, self._looked_ms)
        if gap_ms <= 2 * self.settings.heartbeat_ms:
            return
        for member in self._members.values():
            member.heard_ms += gap_ms
            member.renewed_ms += gap_ms

    def _record(self, record: MemberRecord, now_ms: int) -> list[Output]:
        member = self._members.get(record.number)
        if member is not None and epoch_is_newer(member.epoch, record.epoch):
            return []  # read before it joined anew
        outputs: list[Output] = []
        if member is not None and member.epoch != record.epoch:
            outputs += self._bury(member, GoneFor.SUPERSEDED, now_ms)
            member = None
        if record.state is not MemberState.ALIVE:
            if member is None:
                self._remember_dead((record.number, record.epoch))
                return outputs
            left = record.state is MemberState.LEFT
            why = GoneFor.LEFT if left else GoneFor.TOMBSTONED
            return [*outputs, *self._bury(member, why, now_ms)]
        if member is None:
            return [*outputs, *self._admit(record, now_ms)]
        if record.lease_until_wall_ms > member.lease_until_wall_ms:
            member.lease_until_wall_ms = record.lease_until_wall_ms
            member.renewed_ms = now_ms
        return outputs

    def _admit(self, record: MemberRecord, now_ms: int) -> list[Output]:
        incarnation = (record.number, record.epoch)
        if incarnation in self._dead:
            return []
        if len(self._members) + 1 >= MEMBERS_MAX:
            self.ignored += 1
            return []
        member = self._members[record.number] = _Member(
            record.number,
            record.epoch,
            record.name,
            record.bus,
            record.lease_until_wall_ms,
            heard_ms=now_ms,
            renewed_ms=now_ms - self.settings.lease_silent_ms,  # old, until it is prolonged
            try_again_ms=now_ms,
        )
        early = self._early.pop(record.number, None)
        if early is not None and early.incarnation == incarnation:
            silent_ms = now_ms - early.heard_ms
            member.suspected = silent_ms >= self.settings.suspect_after_ms
            member.told = early.told
        self._shown_dead.pop(record.number, None)
        self._view = None
        return [Dial(record.number, record.epoch, record.bus)]

    def _heard_early(self, early: _Early) -> None:
        """It counts once the registry has the member: links can be quicker than the store."""
        number, _ = early.incarnation
        if number in self._early or len(self._early) < MEMBERS_MAX:
            self._early[number] = early

    def _bury(self, member: _Member, why: GoneFor, now_ms: int) -> list[Output]:
        del self._members[member.number]
        self._view = None
        self._remember_dead((member.number, member.epoch))
        if why is GoneFor.TOMBSTONED:
            shown = MemberInView(member.number, member.epoch, member.name, ViewState.DEAD)
            self._shown_dead[member.number] = _Dead(shown, now_ms + self.settings.dead_shown_ms)
            if len(self._shown_dead) > DEAD_SHOWN_MAX:
                del self._shown_dead[next(iter(self._shown_dead))]
        return [
            HangUp(member.number, member.epoch),
            MemberGone(member.number, member.epoch, member.name, why),
        ]

    def _remember_dead(self, incarnation: Incarnation) -> None:
        self._dead[incarnation] = None
        if len(self._dead) > DEAD_REMEMBERED_MAX:
            del self._dead[next(iter(self._dead))]

    def _expire(self, now_ms: int) -> list[Output]:
        outputs: list[Output] = []
        for member in self._members.values():
            if now_ms - member.heard_ms >= self.settings.suspect_after_ms and not member.suspected:
                member.suspected = True
                self._view = None
            if self._store_up and not member.trying and now_ms >= self._death_ms(member):
                member.trying = True
                outputs.append(_try_tombstone(member))
        for number, dead in tuple(self._shown_dead.items()):
            if now_ms >= dead.until_ms:
                del self._shown_dead[number]
                self._view = None
        return [*outputs, *self._changes()]

    def _death_ms(self, member: _Member) -> int:
        """When it is to be tombstoned, unless it is heard of until then."""
        return max(
            member.heard_ms + self.settings.dead_after_ms,
            member.renewed_ms + self.settings.lease_silent_ms,
            member.try_again_ms,
        )

    def _deadline_ms(self, member: _Member, latest_ms: int) -> int:
        if not member.suspected:
            return min(latest_ms, member.heard_ms + self.settings.suspect_after_ms)
        if self._store_up and not member.trying:
            return min(latest_ms, self._death_ms(member))
        return latest_ms

    def _ended_for(self, record: MemberRecord) -> GoneFor | None:
        """Why this incarnation is over, by our own record; None: it is not."""
        if record.epoch == self._own.epoch:
            return None if record.state is MemberState.ALIVE else GoneFor.TOMBSTONED
        return GoneFor.SUPERSEDED if epoch_is_newer(record.epoch, self._own.epoch) else None

    def _end(self, why: GoneFor) -> list[Output]:
        if self._over:
            return []
        self._over = True
        return [SelfTombstoned(why)]

    def _changes(self) -> list[Output]:
        view = self.view()
        shown = _shown(view.members)
        if shown == self._shown:
            return []
        self._shown = shown
        return [ViewChanged(view)]


def _try_tombstone(member: _Member) -> TryTombstone:
    return TryTombstone(member.number, member.epoch, member.lease_until_wall_ms)


def _by_number(member: MemberInView | MemberRecord) -> int:
    return member.number


def _shown(members: Iterable[MemberInView]) -> tuple[_Shown, ...]:
    return tuple([(m.incarnation, m.state, m.standing.roles) for m in members])
