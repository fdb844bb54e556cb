"""Mutual authentication of members: who gets in, and who does not however it is tried."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.base.secrets import Secret, farm_keys
from sipfarm.cluster.handshake import Handshake, Identity, Refused, RefusedFor, Role
from sipfarm.cluster.wire import Frame, Hello, Proof, Refusal, Reply

NEW = farm_keys(Secret("the new secret of the farm")).bus
OLD = farm_keys(Secret("the old secret of the farm")).bus
WRONG = farm_keys(Secret("the secret of somebody else")).bus
M1 = Identity("farm", 1, 11, "m1")
M2 = Identity("farm", 2, 22, "m2")
NONCES = random.Random(1)


def side(role: Role, own: Identity, *keys: bytes, **more: object) -> Handshake:
    return Handshake(role, own, keys or (NEW,), NONCES.randbytes(32), **more)  # type: ignore[arg-type]


def dialer(*keys: bytes, **more: object) -> Handshake:
    return side(Role.DIALER, M1, *keys, **more)


def acceptor(*keys: bytes, **more: object) -> Handshake:
    return side(Role.ACCEPTOR, M2, *keys, **more)


def run(one: Handshake, other: Handshake) -> list[Frame]:
    """Let two sides speak until both are silent; all that was said."""
    said: list[Frame] = []
    speaker, listener = one, other
    frames = list(speaker.begin())
    while frames:
        answers: list[Frame] = []
        for frame in frames:
            said.append(frame)
            answers += listener.receive(frame)
        speaker, listener = listener, speaker
        frames = answers
    return said


def refused_for(one: Handshake, other: Handshake) -> RefusedFor:
    with pytest.raises(Refused) as refused:
        run(one, other)
    return refused.value.why


def test_two_members_with_the_same_secret_know_each_other() -> None:
    one, other = dialer(expected=2), acceptor()
    assert [type(frame) for frame in run(one, other)] == [Hello, Hello, Proof, Proof]
    assert one.peer is not None
    assert one.peer.identity == M2
    assert other.peer is not None
    assert other.peer.identity == M1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((NEW,), (NEW, OLD)),
        ((NEW, OLD), (NEW,)),
        ((OLD,), (NEW, OLD)),
        ((NEW, OLD), (OLD,)),
        ((OLD, WRONG), (NEW, OLD)),
    ],
)
def test_a_secret_is_changed_one_member_after_the_other(
    one: tuple[bytes, ...], other: tuple[bytes, ...]
) -> None:
    first, second = dialer(*one), acceptor(*other)
    run(first, second)
    assert first.peer is not None
    assert second.peer is not None


def test_a_wrong_secret_is_refused_by_either_side() -> None:
    assert refused_for(dialer(WRONG), acceptor(NEW)) is RefusedFor.WRONG_SECRET
    one, other = dialer(NEW), acceptor(NEW)
    (hello,) = one.begin()
    (answer,) = other.receive(hello)
    one.receive(answer)
    with pytest.raises(Refused):
        one.receive(Proof((bytes(32),)))
    assert one.peer is None


def test_the_acceptor_shows_nothing_to_who_has_not_shown_first() -> None:
    other = acceptor()
    (hello,) = dialer(WRONG).begin()
    assert [type(frame) for frame in other.receive(hello)] == [Hello]
    with pytest.raises(Refused):
        other.receive(Proof((bytes(32), b"")))


def test_a_replayed_handshake_is_refused() -> None:
    one, other = dialer(), acceptor()
    hello, _, proof, _ = run(one, other)
    again = acceptor()
    again.receive(hello)
    with pytest.raises(Refused) as refused:
        again.receive(proof)
    assert refused.value.why is RefusedFor.WRONG_SECRET
    assert again.peer is None


def test_a_replayed_acceptor_is_refused() -> None:
    _, hello, _, proof = run(dialer(), acceptor())
    again = dialer()
    again.begin()
    again.receive(hello)
    with pytest.raises(Refused):
        again.receive(proof)


def test_a_reflected_challenge_is_refused() -> None:
    one = dialer()
    (hello,) = one.begin()
    with pytest.raises(Refused) as refused:
        one.receive(hello)
    assert refused.value.why is RefusedFor.OWN_IDENTITY


def test_a_proof_is_worth_nothing_in_the_other_direction() -> None:
    """A man who reflects the dialer's own proof, with a Hello that is not a copy."""
    one = dialer()
    (hello,) = one.begin()
    assert isinstance(hello, Hello)
    mine = msgspec.structs.replace(hello, number=2, nonce=bytes(32))
    (proof,) = one.receive(mine)
    with pytest.raises(Refused) as refused:
        one.receive(proof)
    assert refused.value.why is RefusedFor.WRONG_SECRET


@pytest.mark.parametrize(
    "change",
    [
        {"number": 3},
        {"epoch": 12},
        {"name": "m9"},
        {"version_min": 0},
        {"version_max": 1},
        {"nonce": bytes(32)},
    ],
)
def test_whoever_changes_a_hello_on_its_way_is_found_out(change: dict[str, object]) -> None:
    one = side(Role.DIALER, M1, versions=(1, 2))
    other = side(Role.ACCEPTOR, M2, versions=(1, 2))
    (hello,) = one.begin()
    (answer,) = other.receive(msgspec.structs.replace(hello, **change))
    (proof,) = one.receive(answer)
    with pytest.raises(Refused) as refused:
        other.receive(proof)
    assert refused.value.why is RefusedFor.WRONG_SECRET


def test_the_highest_common_version_is_taken() -> None:
    one, other = dialer(versions=(1, 3)), acceptor(versions=(2, 5))
    run(one, other)
    assert one.peer is not None
    assert other.peer is not None
    assert one.peer.version == other.peer.version == 3


def test_releases_without_a_common_version_part() -> None:
    one, other = dialer(versions=(1, 1)), acceptor(versions=(2, 3))
    assert refused_for(one, other) is RefusedFor.NO_COMMON_VERSION


def test_another_farm_and_another_member_are_refused() -> None:
    stranger = Identity("elsewhere", 2, 22, "m2")
    assert refused_for(dialer(), side(Role.ACCEPTOR, stranger)) is RefusedFor.OTHER_FARM
    assert refused_for(dialer(expected=3), acceptor()) is RefusedFor.WRONG_MEMBER


def test_the_reason_of_the_other_side_is_told() -> None:
    one = dialer()
    for reason, why in (("wrong_secret", RefusedFor.WRONG_SECRET), ("?", RefusedFor.MALFORMED)):
        with pytest.raises(Refused) as refused:
            one.receive(Refusal(reason))
        assert refused.value.why is why
        assert refused.value.by_peer


frames = st.sampled_from(
    [Hello(1, 1, "farm", 3, 1, "m3", bytes(32)), Proof((bytes(32),)), Reply(1, b"")]
)


@given(st.sampled_from(Role), st.lists(frames, min_size=1, max_size=4))
def test_nothing_but_the_right_frames_gets_anybody_in(role: Role, received: list[Frame]) -> None:
    one = side(role, M1)
    for frame in received:
        try:
            one.receive(frame)  # type: ignore[arg-type]
        except Refused:
            break
    assert one.peer is None
