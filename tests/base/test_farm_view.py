"""Keyed rendezvous over a view: who is the home of what."""

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipfarm.base.farm_view import (
    Load,
    MemberInView,
    View,
    ViewState,
    heir,
    home,
    ranked,
    weight,
)
from sipfarm.native import siphash as native_siphash
from sipfarm.testing.siphash import siphash

KEY = bytes(range(16))

incarnations = st.dictionaries(st.integers(1, 16_383), st.integers(1, 2**21 - 1), max_size=6)
texts = st.binary(max_size=40)


def view_of(numbers: dict[int, int], state: ViewState = ViewState.READY) -> View:
    members = (
        MemberInView(number, epoch, f"m{number}", state) for number, epoch in numbers.items()
    )
    return View(tuple(sorted(members, key=lambda member: member.number)))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, 0x726FDB47DD0E0E31),
        (1, 0x74F839C593DC67FD),
        (7, 0xAB0200F58B01D137),
        (8, 0x93F5F5799A932462),
        (15, 0xA129CA6149BE45E5),
        (63, 0x958A324CEB064572),
    ],
)
def test_siphash_gives_the_published_vectors(size: int, expected: int) -> None:
    assert siphash(bytes(range(16)), bytes(range(size))) == expected


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=100))
def test_the_native_siphash_is_the_same(key: bytes, data: bytes) -> None:
    assert native_siphash(key, data) == siphash(key, data)


def test_the_weight_is_what_the_native_engine_computes() -> None:
    data = struct.pack("<QQ", 3, 77) + b"call-1"
    assert weight(siphash, KEY, (3, 77), b"call-1") == siphash(KEY, data)


@settings(max_examples=40, deadline=None)
@given(incarnations.filter(bool), texts, st.data())
def test_only_the_keys_of_a_member_that_leaves_move(
    numbers: dict[int, int], text: bytes, data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(sorted(numbers)))
    before = ranked(siphash, KEY, view_of(numbers).live(), text)
    rest = {number: epoch for number, epoch in numbers.items() if number != gone}
    after = ranked(siphash, KEY, view_of(rest).live(), text)
    assert after == [member for member in before if member.number != gone]


@settings(max_examples=40, deadline=None)
@given(incarnations, texts)
def test_the_copy_is_where_the_home_would_be_without_its_member(
    numbers: dict[int, int], text: bytes
) -> None:
    first, second = home(siphash, KEY, view_of(numbers), text)
    assert (first is None) == (not numbers)
    assert (second is None) == (len(numbers) < 2)
    if first is not None:
        rest = {number: epoch for number, epoch in numbers.items() if number != first.number}
        assert home(siphash, KEY, view_of(rest), text)[0] == second


@pytest.mark.slow
def test_the_spread_is_even() -> None:
    view = view_of(dict.fromkeys(range(1, 6), 9))
    draw = random.Random(7)
    counts = dict.fromkeys(range(1, 6), 0)
    for _ in range(2_000):
        first, _ = home(siphash, KEY, view, draw.randbytes(20))
        assert first is not None
        counts[first.number] += 1
    assert all(abs(count - 400) < 90 for count in counts.values()), counts


def test_a_suspected_member_keeps_its_keys_and_a_dead_one_does_not() -> None:
    suspected = view_of({1: 1, 2: 1}, ViewState.SUSPECTED)
    assert suspected.live() == suspected.members
    assert suspected.ready() == ()
    dead = view_of({1: 1, 2: 1}, ViewState.DEAD)
    assert home(siphash, KEY, dead, b"x") == (None, None)


@settings(max_examples=40, deadline=None)
@given(incarnations.filter(bool), texts, st.data())
def test_the_heir_of_a_name_is_who_ranks_first_of_those_that_take_work(
    numbers: dict[int, int], text: bytes, data: st.DataObject
) -> None:
    busy = data.draw(st.sets(st.sampled_from(sorted(numbers))))
    members = tuple(
        MemberInView(
            number,
            epoch,
            f"m{number}",
            ViewState.DRAINING if number in busy else ViewState.READY,
        )
        for number, epoch in numbers.items()
    )
    found = heir(siphash, KEY, View(members), text)
    rest = {number: epoch for number, epoch in numbers.items() if number not in busy}
    assert found == home(siphash, KEY, view_of(rest), text)[0]


def test_the_digest_is_of_live_incarnations_and_of_nothing_else() -> None:
    view = view_of({1: 5, 2: 6})
    busy = View(
        (
            MemberInView(1, 5, "other", ViewState.SUSPECTED, Load(9, 9, 9, 9)),
            MemberInView(2, 6, "m2", ViewState.DRAINING),
            MemberInView(3, 1, "m3", ViewState.DEAD),
        )
    )
    assert view.digest() == busy.digest()
    assert view.digest() != view_of({1: 5, 2: 7}).digest()
    assert view.digest() != view_of({1: 5}).digest()
