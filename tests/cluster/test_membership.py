"""The failure detector, one rule at a time."""

from collections.abc import Sequence

import pytest

from sipfarm.base.farm_view import Incarnation, Load, Standing, ViewState
from sipfarm.base.limits import MEMBERS_MAX
from sipfarm.base.records import MemberRecord, MemberState
from sipfarm.cluster.membership import (
    DEAD_REMEMBERED_MAX,
    DEAD_SHOWN_MAX,
    Membership,
)
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

T0 = 100_000
BUSY = Load(5, 600, 70, 80)


def record(
    number: int, epoch: int = 1, state: MemberState = MemberState.ALIVE, lease: int = 0
) -> MemberRecord:
    return MemberRecord(f"m{number}", number, epoch, f"10.0.0.{number}:1", "", number, state, lease)


class Farm:
    """One membership and the time."""

    def __init__(self, *records: MemberRecord) -> None:
        self.now_ms = T0
        self.records = [record(1), *records]
        self.one = Membership(self.records[0], MembershipSettings(), T0)
        self.outputs: list[Output] = self.one.registry(self.records, T0)

    def beat(self, *incarnations: Incarnation, state: OwnState = OwnState.READY) -> list[Output]:
        return [
            output
            for incarnation in incarnations
            for output in self.one.heartbeat(
                incarnation, Heartbeat(state, BUSY, self.one.view().digest()), self.now_ms
            )
        ]

    def wait(self, duration_ms: int, *beating: Incarnation) -> list[Output]:
        """Let time pass as a shell does; the given members are heard meanwhile."""
        outputs: list[Output] = []
        until_ms = self.now_ms + duration_ms
        while self.now_ms < until_ms:
            step_ms = min(self.one.next_deadline_ms(), until_ms) - self.now_ms
            assert 0 <= step_ms <= 200
            self.now_ms += max(step_ms, 1)
            outputs += self.beat(*beating)
            outputs += self.one.expire(self.now_ms)
        return outputs

    def read(self, *records: MemberRecord) -> list[Output]:
        return self.one.registry([self.records[0], *records], self.now_ms)

    def states(self) -> dict[int, ViewState]:
        return {member.number: member.state for member in self.one.view().members}


def only(outputs: Sequence[Output], kind: type[Output]) -> list[Output]:
    return [output for output in outputs if isinstance(output, kind)]


def test_a_member_of_the_registry_is_dialed_and_ready_once_it_is_heard() -> None:
    farm = Farm(record(2))
    assert only(farm.outputs, Dial) == [Dial(2, 1, "10.0.0.2:1")]
    assert farm.states() == {1: ViewState.READY, 2: ViewState.SUSPECTED}
    (changed,) = farm.beat((2, 1))
    assert isinstance(changed, ViewChanged)
    assert farm.states()[2] is ViewState.READY
    member = farm.one.view().member(2)
    assert member is not None
    assert member.load == BUSY


def test_a_load_alone_is_no_change_of_the_view() -> None:
    farm = Farm(record(2))
    farm.beat((2, 1))
    digest = farm.one.view().digest()
    assert farm.one.heartbeat((2, 1), Heartbeat(OwnState.READY, Load(9), digest), T0) == []
    assert farm.one.own(OwnState.READY, Load(8)) == []
    own = farm.one.view().member(1)
    assert own is not None
    assert own.load == Load(8)


def test_draining_is_seen_of_others_and_of_oneself() -> None:
    farm = Farm(record(2))
    farm.beat((2, 1), state=OwnState.DRAINING)
    farm.one.own(OwnState.DRAINING, Load())
    assert farm.states() == {1: ViewState.DRAINING, 2: ViewState.DRAINING}


def test_silence_is_suspected_and_then_tombstoned_at_the_very_time() -> None:
    farm = Farm(record(2), record(3))
    farm.beat((2, 1), (3, 1))
    assert only(farm.wait(999, (3, 1)), ViewChanged) == []
    assert len(only(farm.wait(1, (3, 1)), ViewChanged)) == 1
    assert farm.states()[2] is ViewState.SUSPECTED
    assert only(farm.wait(999, (3, 1)), TryTombstone) == []
    assert only(farm.wait(1, (3, 1)), TryTombstone) == [TryTombstone(2, 1, 0)]
    assert only(farm.wait(5_000, (3, 1)), TryTombstone) == []
    assert farm.states()[2] is ViewState.SUSPECTED


def test_it_is_dead_only_when_the_store_says_so() -> None:
    farm = Farm(record(2))
    farm.wait(2_000)
    outputs = farm.one.tombstone_result((2, 1), True, farm.now_ms)
    assert outputs[:2] == [HangUp(2, 1), MemberGone(2, 1, "m2", GoneFor.TOMBSTONED)]
    assert farm.states()[2] is ViewState.DEAD
    assert not farm.one.accepts((2, 1))
    assert farm.beat((2, 1)) == []
    assert only(farm.read(record(2)), Dial) == []
    assert farm.states()[2] is ViewState.DEAD


def test_who_came_second_reads_what_the_first_wrote() -> None:
    farm = Farm(record(2))
    farm.wait(2_000)
    assert farm.one.tombstone_result((2, 1), False, farm.now_ms) == [ReadRegistry()]
    assert farm.states()[2] is ViewState.SUSPECTED
    outputs = farm.read(record(2, state=MemberState.TOMBSTONED))
    assert only(outputs, MemberGone) == [MemberGone(2, 1, "m2", GoneFor.TOMBSTONED)]
    assert farm.one.tombstone_result((2, 1), False, farm.now_ms) == []


def test_a_heartbeat_that_is_quicker_than_the_store_counts_once_the_member_is_known() -> None:
    farm = Farm()
    farm.one.heartbeat((2, 1), Heartbeat(OwnState.DRAINING, BUSY, 1), T0)
    farm.one.registry([*farm.records, record(2)], T0 + 300)
    shown = farm.one.view().member(2)
    assert shown is not None
    assert (shown.state, shown.load) == (ViewState.DRAINING, BUSY)


@pytest.mark.parametrize(("epoch", "later_ms"), [(2, 10), (1, 1_000)])
def test_an_early_heartbeat_of_another_life_or_of_long_ago_does_not_count(
    epoch: int, later_ms: int
) -> None:
    farm = Farm()
    farm.one.heartbeat((2, 1), Heartbeat(OwnState.READY, BUSY, 1), T0)
    farm.one.registry([*farm.records, record(2, epoch)], T0 + later_ms)
    shown = farm.one.view().member(2)
    assert shown is not None
    assert shown.state is ViewState.SUSPECTED


def test_members_agree_when_each_was_heard_and_has_the_same_view() -> None:
    farm = Farm(record(2))
    assert not farm.one.is_agreed(), "never heard"
    farm.one.heartbeat((2, 1), Heartbeat(OwnState.READY, BUSY, 1), T0)
    assert not farm.one.is_agreed(), "it knows others"
    farm.beat((2, 1))
    assert farm.one.is_agreed()
    farm.wait(1_000)
    assert not farm.one.is_agreed(), "suspected"
    assert Farm().one.is_agreed(), "alone"


def test_a_suspected_member_that_is_heard_is_ready_again() -> None:
    farm = Farm(record(2))
    farm.beat((2, 1))
    farm.wait(1_999)
    assert farm.states()[2] is ViewState.SUSPECTED
    farm.beat((2, 1))
    assert farm.states()[2] is ViewState.READY
    assert only(farm.wait(999), TryTombstone) == []


def test_a_lease_that_is_prolonged_is_a_sign_of_life() -> None:
    farm = Farm(record(2))
    outputs: list[Output] = []
    for turn in range(20):
        outputs += farm.wait(500)
        outputs += farm.read(record(2, lease=turn + 1))
    assert only(outputs, TryTombstone) == []
    assert farm.states()[2] is ViewState.SUSPECTED
    assert only(farm.wait(1_499), TryTombstone) == []
    assert only(farm.wait(1), TryTombstone) == [TryTombstone(2, 1, 20)]


def test_nobody_is_tombstoned_while_the_store_is_away() -> None:
    farm = Farm(record(2))
    farm.one.store_failed(farm.now_ms)
    assert only(farm.wait(10_000), TryTombstone) == []
    farm.one.renewed(True, farm.now_ms, farm.now_ms)
    assert only(farm.wait(1_499), TryTombstone) == [], "it had no chance to prolong its lease"
    assert only(farm.wait(1), TryTombstone) == [TryTombstone(2, 1, 0)]


def test_a_tombstone_that_met_no_store_is_tried_again() -> None:
    farm = Farm(record(2))
    farm.wait(2_000)
    farm.one.tombstone_result((2, 1), None, farm.now_ms)
    assert only(farm.wait(3_000), TryTombstone) == []
    farm.one.store_answered(farm.now_ms)
    assert only(farm.wait(1_500), TryTombstone) == [TryTombstone(2, 1, 0)]


def test_the_time_this_member_did_not_run_is_nobodys_silence() -> None:
    farm = Farm(record(2))
    farm.wait(600, (2, 1))
    farm.now_ms += 30_000
    assert only(farm.one.expire(farm.now_ms), TryTombstone) == []
    assert farm.states()[2] is ViewState.READY
    assert only(farm.wait(1_999), TryTombstone) == []
    assert only(farm.wait(1), TryTombstone) == [TryTombstone(2, 1, 0)]


def test_a_newer_incarnation_replaces_the_older() -> None:
    farm = Farm(record(2))
    farm.beat((2, 1))
    assert farm.beat((2, 2)) == [ReadRegistry()], "the store tells who lives"
    outputs = farm.read(record(2, epoch=2))
    assert outputs[:3] == [
        HangUp(2, 1),
        MemberGone(2, 1, "m2", GoneFor.SUPERSEDED),
        Dial(2, 2, "10.0.0.2:1"),
    ]
    assert not farm.one.accepts((2, 1))
    assert farm.one.accepts((2, 2))
    assert farm.states()[2] is ViewState.READY, "heard before the store told of it"
    assert farm.read(record(2, epoch=1)) == [], "read before it joined anew"


def test_a_member_that_left_is_out_of_the_view() -> None:
    farm = Farm(record(2))
    outputs = farm.read(record(2, state=MemberState.LEFT))
    assert only(outputs, MemberGone) == [MemberGone(2, 1, "m2", GoneFor.LEFT)]
    assert farm.states() == {1: ViewState.READY}


def test_those_that_were_dead_before_we_came_are_no_news() -> None:
    farm = Farm(record(2, state=MemberState.TOMBSTONED), record(3, state=MemberState.LEFT))
    assert farm.outputs == []
    assert not farm.one.accepts((2, 1))
    assert farm.states() == {1: ViewState.READY}


def test_an_unknown_member_and_another_view_are_reasons_to_read_the_registry() -> None:
    farm = Farm(record(2))
    assert farm.beat((3, 1)) == [ReadRegistry()]
    farm.beat((2, 1))
    assert farm.one.heartbeat((2, 1), Heartbeat(OwnState.READY, BUSY, 1), T0) == [ReadRegistry()]
    farm.one.store_failed(T0)
    assert farm.beat((3, 1)) == []
    assert farm.one.heartbeat((2, 1), Heartbeat(OwnState.READY, BUSY, 1), T0) == []


@pytest.mark.parametrize(
    ("own", "why"),
    [
        (record(1, state=MemberState.TOMBSTONED), GoneFor.TOMBSTONED),
        (record(1, state=MemberState.LEFT), GoneFor.TOMBSTONED),
        (record(1, epoch=2), GoneFor.SUPERSEDED),
    ],
)
def test_our_own_record_tells_that_we_are_dead(own: MemberRecord, why: GoneFor) -> None:
    farm = Farm(record(2))
    assert farm.one.registry([record(2), own], T0) == [SelfTombstoned(why)]
    assert farm.one.registry([record(2), own], T0) == [], "it is over"
    assert farm.wait(5_000) == []
    assert farm.beat((2, 1)) == []
    assert farm.one.own(OwnState.DRAINING, Load()) == []


def test_a_renewal_that_is_refused_ends_us() -> None:
    farm = Farm()
    assert farm.one.renewed(True, T0, T0) == []
    assert farm.one.renewed(False, T0, T0) == [SelfTombstoned(GoneFor.TOMBSTONED)]
    assert farm.one.renewed(False, T0, T0) == []


def test_our_number_and_the_dead_are_not_let_in() -> None:
    farm = Farm(record(2, epoch=5))
    assert not farm.one.accepts((1, 1))
    assert not farm.one.accepts((1, 2))
    assert not farm.one.accepts((2, 4))
    assert farm.one.accepts((2, 5))
    assert farm.one.accepts((9, 9)), "the registry may not have been read yet"


def test_the_view_the_dead_and_the_memory_are_bounded() -> None:
    farm = Farm(*(record(number) for number in range(2, MEMBERS_MAX + 10)))
    assert len(farm.one.view().members) == MEMBERS_MAX
    assert farm.one.ignored == 9
    for epoch in range(1, 40):
        for number in range(2, 50):
            farm.read(record(number, epoch=epoch))
        for number in range(2, 50):
            farm.read(record(number, epoch=epoch, state=MemberState.TOMBSTONED))
    members = farm.one.view().members
    assert sum(not member.is_live for member in members) == DEAD_SHOWN_MAX
    assert len(farm.one._dead) == DEAD_REMEMBERED_MAX


def test_the_dead_are_shown_for_a_while() -> None:
    farm = Farm(record(2))
    farm.read(record(2, state=MemberState.TOMBSTONED))
    assert farm.states()[2] is ViewState.DEAD
    farm.wait(600_000)
    assert farm.states() == {1: ViewState.READY}


def test_a_member_that_hears_neither_store_nor_others_may_be_dead_to_them() -> None:
    farm = Farm(record(2), record(3))
    farm.beat((2, 1), (3, 1))
    farm.one.store_failed(farm.now_ms)
    farm.wait(5_000, (3, 1))
    assert not farm.one.cut_off(farm.now_ms), "one is heard, and the store is away"
    farm.wait(1_100)
    assert not farm.one.cut_off(farm.now_ms)
    farm.wait(1)
    assert farm.one.cut_off(farm.now_ms)
    farm.beat((9, 1))
    assert farm.one.cut_off(farm.now_ms), "that is nobody"
    farm.beat((2, 1))
    assert not farm.one.cut_off(farm.now_ms)


def test_what_counts_is_when_the_lease_was_asked_for() -> None:
    farm = Farm(record(2))
    farm.wait(3_000)
    farm.one.renewed(True, farm.now_ms - 1_101, farm.now_ms)
    assert farm.one.cut_off(farm.now_ms)
    farm.one.renewed(True, farm.now_ms - 1_100, farm.now_ms)
    assert not farm.one.cut_off(farm.now_ms)


def test_a_lone_member_is_never_cut_off() -> None:
    farm = Farm()
    farm.one.store_failed(farm.now_ms)
    farm.wait(60_000)
    assert not farm.one.cut_off(farm.now_ms)
    farm.read(record(2), record(3, state=MemberState.TOMBSTONED))
    farm.wait(60_000)
    assert farm.one.cut_off(farm.now_ms)
    farm.read(record(2, state=MemberState.TOMBSTONED))
    assert not farm.one.cut_off(farm.now_ms), "the only other is dead"


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="suspect_after_ms=2000"):
        MembershipSettings(suspect_after_ms=2_000)
    with pytest.raises(ValueError, match="doubt_after_ms=400"):
        MembershipSettings(suspect_after_ms=500, dead_after_ms=800)


@pytest.mark.parametrize("dead_after_ms", [900, 2_000, 600_000])
def test_who_may_be_dead_doubts_before_the_others_act(dead_after_ms: int) -> None:
    settings = MembershipSettings.of(500, dead_after_ms)
    assert settings.registry_ms < settings.doubt_after_ms < settings.lease_silent_ms
    assert settings.lease_silent_ms + settings.registry_ms <= dead_after_ms


def test_whoever_heeds_a_newer_revision_of_names_makes_us_look() -> None:
    farm = Farm(record(2))
    farm.beat((2, 1))
    digest = farm.one.view().digest()
    newer = Heartbeat(OwnState.READY, BUSY, digest, Standing(names_revision=3))
    assert farm.one.heartbeat((2, 1), newer, T0) == [ReadRegistry()]
    farm.one.own(OwnState.READY, BUSY, Standing(names_revision=3))
    assert farm.one.heartbeat((2, 1), newer, T0) == []
    member = farm.one.view().member(2)
    assert member is not None
    assert member.standing.names_revision == 3


def test_roles_are_a_change_of_the_view_and_a_revision_is_not() -> None:
    farm = Farm(record(2))
    farm.beat((2, 1))
    assert farm.one.own(OwnState.READY, BUSY, Standing(names_revision=3)) == []
    (changed,) = farm.one.own(OwnState.READY, BUSY, Standing(roles=("edge",)))
    assert isinstance(changed, ViewChanged)
    assert [member.number for member in changed.view.ready()] == [2]
