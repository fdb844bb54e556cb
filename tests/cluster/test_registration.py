"""The REGISTER rules themselves, against a dumb model and against what phones may expect."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.base.records import Binding, RegisterUpdate, Removal
from sipfarm.cluster.registration import (
    CLOSED_MS,
    SUPERSEDED_MAX,
    SUPERSEDED_MS,
    CorruptRecord,
    Registration,
    closing,
    decode,
    encode,
    live_bindings,
    register,
)

AOR = "sip:alice@example.test"
NOW = 1_000_000
LATER = NOW + 3_600_000


def bind(
    contact: str, call_id: str, cseq: int, *, expires: int = LATER, q: int = 1000, pair: str = ""
) -> Binding:
    return Binding(
        AOR,
        contact,
        contact,
        call_id,
        cseq,
        expires,
        instance_id=pair and f"urn:{pair}",
        reg_id=1 if pair else 0,
        q=q,
    )


def add(contact: str, call_id: str, cseq: int, *, pair: str = "", most: int = 16) -> RegisterUpdate:
    return RegisterUpdate(
        AOR, call_id, cseq, (bind(contact, call_id, cseq, pair=pair),), max_bindings=most
    )


def remove(contact: str, call_id: str, cseq: int, *, pair: str = "") -> RegisterUpdate:
    removal = Removal(contact, pair and f"urn:{pair}", 1 if pair else 0)
    return RegisterUpdate(AOR, call_id, cseq, removals=(removal,))


def clear(call_id: str, cseq: int) -> RegisterUpdate:
    return RegisterUpdate(AOR, call_id, cseq, wildcard=True)


class Farm:
    """An address-of-record in a variable."""

    def __init__(self) -> None:
        self.registration = Registration()

    def take(self, update: RegisterUpdate, at: int = NOW) -> str:
        done = register(encode(self.registration), update, at)
        if done.value is not None:
            self.registration = decode(done.value)
            assert done.dead_at_wall_ms == max(
                *(b.expires_at_wall_ms for b in self.registration.bindings),
                *(s.until_wall_ms for s in self.registration.superseded),
                0,
                0,
            )
        assert done.outcome.bindings == live_bindings(self.registration, at)
        assert (done.value is not None) <= (done.outcome.status == "applied")
        return done.outcome.status

    def contacts(self, at: int = NOW) -> list[str]:
        return [b.contact for b in live_bindings(self.registration, at)]


def test_a_refresh_replaces_its_binding() -> None:
    farm = Farm()
    assert farm.take(add("a", "x", 1)) == "applied"
    assert farm.take(add("a", "x", 2)) == "applied"
    assert [b.cseq for b in farm.registration.bindings] == [2]


def test_an_older_cseq_of_the_same_call_id_changes_nothing_at_all() -> None:
    farm = Farm()
    farm.take(add("a", "x", 5))
    both = RegisterUpdate(AOR, "x", 4, (bind("a", "x", 4), bind("b", "x", 4)))
    assert farm.take(both) == "out_of_order"
    assert farm.contacts() == ["a"]


def test_an_exact_repeat_is_answered_with_the_bindings_as_they_are() -> None:
    farm = Farm()
    both = RegisterUpdate(AOR, "x", 1, (bind("a", "x", 1), bind("b", "x", 1)))
    farm.take(both)
    assert farm.take(both, at=NOW + 500) == "repeated"
    assert farm.contacts() == ["a", "b"]


def test_another_content_under_the_same_cseq_is_no_repeat() -> None:
    farm = Farm()
    farm.take(add("a", "x", 1))
    more = RegisterUpdate(AOR, "x", 1, (bind("a", "x", 1), bind("b", "x", 1)))
    assert farm.take(more) == "out_of_order"
    assert farm.take(add("b", "x", 1)) == "out_of_order", "as who sniffs a REGISTER would want it"
    assert farm.take(remove("a", "x", 1)) == "out_of_order"
    assert farm.take(clear("x", 1)) == "out_of_order"


def test_another_call_id_may_take_a_binding_over_whatever_its_cseq() -> None:
    farm = Farm()
    farm.take(add("a", "x", 900))
    assert farm.take(add("a", "y", 1)) == "applied"
    assert farm.take(add("a", "x", 900)) == "out_of_order"


def test_a_late_duplicate_cannot_bring_a_removed_binding_back() -> None:
    for removal in (remove("a", "x", 2), remove("a", "y", 1), clear("x", 2), clear("y", 1)):
        farm = Farm()
        farm.take(add("a", "x", 1))
        assert farm.take(removal) == "applied"
        assert farm.take(add("a", "x", 1)) == "out_of_order"
        assert farm.take(removal) == "repeated"
        assert farm.contacts() == []


def test_a_removal_that_overtakes_its_registration_wins() -> None:
    for removal in (remove("a", "x", 2), clear("x", 2)):
        farm = Farm()
        assert farm.take(removal) == "applied"
        assert farm.take(add("a", "x", 1)) == "out_of_order"
        assert farm.take(add("a", "x", 3)) == "applied"


def test_what_was_superseded_is_forgotten_after_a_while() -> None:
    farm = Farm()
    farm.take(remove("a", "x", 2))
    assert farm.take(add("a", "x", 1), at=NOW + SUPERSEDED_MS) == "applied"


def test_an_address_of_record_that_is_closed_takes_nothing_for_a_while() -> None:
    farm = Farm()
    farm.take(add("a", "x", 1))
    assert farm.take(closing(AOR)) == "applied"
    for late in (add("a", "x", 2), add("a", "y", 1), add("b", "z", 2**31 - 1), remove("a", "x", 3)):
        assert farm.take(late, at=NOW + CLOSED_MS - 1) == "out_of_order"
    assert farm.contacts() == []
    assert farm.take(closing(AOR), at=NOW + CLOSED_MS - 1) == "applied", "of the next account"
    assert farm.take(add("a", "z", 1), at=NOW + CLOSED_MS) == "out_of_order"
    assert farm.take(add("a", "z", 1), at=NOW + 2 * CLOSED_MS) == "applied"
    assert farm.take(add("a", "x", 1), at=NOW + 2 * CLOSED_MS) == "out_of_order", "a duplicate"


def test_what_is_remembered_is_bounded() -> None:
    farm = Farm()
    for number in range(100):
        farm.take(add("a", f"call-{number}", 1))
    assert len(farm.registration.superseded) == SUPERSEDED_MAX


def test_the_same_instance_and_reg_id_is_the_same_binding_whatever_the_uri() -> None:
    farm = Farm()
    farm.take(add("a", "x", 1, pair="phone"))
    farm.take(add("b", "y", 1, pair="phone"))
    assert farm.contacts() == ["b"]
    assert farm.take(add("a", "x", 1, pair="phone")) == "out_of_order"


def test_two_instances_may_share_a_private_address() -> None:
    farm = Farm()
    farm.take(add("a", "x", 1, pair="one"))
    farm.take(add("a", "y", 1, pair="two"))
    assert farm.contacts() == ["a", "a"]
    farm.take(remove("a", "x", 2, pair="one"))
    assert [b.instance_id for b in farm.registration.bindings] == ["urn:two"]


def test_a_contact_without_an_instance_is_found_by_its_uri() -> None:
    farm = Farm()
    farm.take(add("a", "x", 1))
    farm.take(add("a", "y", 1, pair="one"))
    assert farm.contacts() == ["a"]
    farm.take(remove("a", "z", 1))
    assert farm.contacts() == []


def test_an_expired_binding_is_gone_at_once() -> None:
    farm = Farm()
    farm.take(add("a", "x", 1))
    assert farm.contacts(at=LATER) == []
    assert farm.take(RegisterUpdate(AOR, "q", 1), at=LATER) == "applied"


def test_bindings_are_bounded_but_a_full_address_of_record_can_be_refreshed() -> None:
    farm = Farm()
    farm.take(add("a", "x", 1, most=2))
    farm.take(add("b", "y", 1, most=2))
    assert farm.take(add("c", "z", 1, most=2)) == "too_many"
    assert farm.take(add("b", "y", 2, most=2)) == "applied"
    assert farm.take(add("b", "y", 3, most=1)) == "applied"
    assert farm.contacts() == ["a", "b"]


def test_bindings_come_by_descending_q() -> None:
    farm = Farm()
    for place, q in enumerate((100, 1000, 500)):
        farm.take(RegisterUpdate(AOR, f"c{place}", 1, (bind(str(q), f"c{place}", 1, q=q),)))
    assert farm.contacts() == ["1000", "500", "100"]


CONTACTS = st.sampled_from(["a", "b", "c"])
CALLS = st.sampled_from(["x", "y"])
CSEQS = st.integers(1, 6)
UPDATES = st.one_of(
    st.builds(add, CONTACTS, CALLS, CSEQS),
    st.builds(remove, CONTACTS, CALLS, CSEQS),
    st.builds(clear, CALLS, CSEQS),
    st.builds(
        lambda one, other, call, cseq: RegisterUpdate(
            AOR, call, cseq, (bind(one, call, cseq),), (Removal(other),)
        ),
        st.just("a"),
        st.just("b"),
        CALLS,
        CSEQS,
    ),
)


class Model:
    """The rules once more, as dumb as can be: for each contact and Call-ID what it did last."""

    def __init__(self) -> None:
        self.bound: dict[str, tuple[str, int]] = {}
        self.did: dict[tuple[str, str], tuple[int, str]] = {}  # (contact, Call-ID) → CSeq, act
        self.cleared: dict[str, int] = {}

    def take(self, update: RegisterUpdate) -> str:
        call, cseq = update.call_id, update.cseq
        acts = [(b.contact_key, "add") for b in update.contacts]
        acts += [(r.contact_key, "remove") for r in update.removals]
        verdicts = {self.judge(contact, act, call, cseq) for contact, act in acts}
        added = {contact for contact, act in acts if act == "add"}
        of_this_cseq = {c for c, bound in self.bound.items() if bound == (call, cseq)}
        if added and of_this_cseq - added:
            verdicts = {"old"}
        if update.wildcard:
            verdicts = {self.judge_clear(call, cseq)}
        if "old" in verdicts or {"new", "same"} <= verdicts:
            return "out_of_order"
        if "same" in verdicts:
            return "repeated"
        if update.wildcard:
            for contact, (old_call, old_cseq) in self.bound.items():
                self.did[contact, old_call] = (old_cseq, "void")
            self.bound.clear()
            self.cleared[call] = cseq
        for contact, act in acts:
            if contact in self.bound:
                old_call, old_cseq = self.bound.pop(contact)
                self.did[contact, old_call] = (old_cseq, "void")
            self.did[contact, call] = (cseq, act)
            if act == "add":
                self.bound[contact] = (call, cseq)
        return "applied"

    def judge(self, contact: str, act: str, call: str, cseq: int) -> str:
        last, last_act = self.did.get((contact, call), (0, ""))
        cleared = self.cleared.get(call, 0)
        if cseq < max(last, cleared) or (act == "add" and cseq == cleared):
            return "old"
        if cseq == last:
            return "same" if act == last_act else "old"
        if cseq == cleared:
            return "same"
        return "nothing" if act == "remove" and contact not in self.bound else "new"

    def judge_clear(self, call: str, cseq: int) -> str:
        if cseq < self.cleared.get(call, 0):
            return "old"
        if cseq == self.cleared.get(call, 0):
            return "same"
        later = any(c == call and number >= cseq for c, number in self.bound.values())
        return "old" if later else "new"


@given(st.lists(UPDATES, max_size=24))
def test_any_sequence_of_updates_agrees_with_the_model(updates: list[RegisterUpdate]) -> None:
    farm, model = Farm(), Model()
    for update in updates:
        assert farm.take(update) == model.take(update)
        assert {b.contact: (b.call_id, b.cseq) for b in farm.registration.bindings} == model.bound


@given(st.data())
def test_in_any_order_and_number_of_deliveries_the_last_register_of_a_phone_holds(
    data: st.DataObject,
) -> None:
    acts = data.draw(st.lists(st.sampled_from([add, remove, None]), min_size=1, max_size=6))
    updates = [
        clear("x", cseq) if act is None else act("a", "x", cseq)
        for cseq, act in enumerate(acts, start=1)
    ]
    repeats = data.draw(st.lists(st.sampled_from(updates), max_size=8))
    farm = Farm()
    for update in data.draw(st.permutations(updates + repeats)):
        farm.take(update)
    expected = [len(acts)] if acts[-1] is add else []
    assert [b.cseq for b in farm.registration.bindings] == expected


@pytest.mark.parametrize("stored", [b"\xc0", b"\x91\x90", b"\x92\x91\xa1a\x90", b"\x92\x90"])
def test_what_is_no_registration_is_told_and_not_overwritten(stored: bytes) -> None:
    with pytest.raises(CorruptRecord):
        register(stored, add("a", "x", 1), NOW)


def test_fields_of_a_later_release_are_kept() -> None:
    later = ["x" * 40, b"bytes", {"a": [-1, -1_000]}, 2.5, None, True]
    old = [*msgspec.structs.astuple(bind("a", "x", 1)), *later]
    done = register(msgspec.msgpack.encode(([old], [], later)), add("b", "y", 1), NOW)
    assert done.value is not None
    assert msgspec.msgpack.decode(done.value)[0][0][-len(later) :] == later
