"""Nonces: made by one member, judged by any (RFC 7616 §5.4)."""

from binascii import a2b_base64, b2a_base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.native import NonceCounts, NonceMint
from sipfarm.native import NonceUse as Use
from tests.signaling.plain_sip import KEY, PHONE, WALL_MS

OTHER_KEY = b"o" * 32
DEFAULTS = {"nonces_max": 32_768, "counts_max": 64}
NONCE_CHARS = 32
SAME_TRANSACTION_MS = 32_000  # 64*T1 (RFC 3261 §17.2)
ONE_TRANSACTION, ANOTHER_TRANSACTION = 1, 2


def stamp(wall_ms: int = WALL_MS, counter: int = 0) -> bytes:
    return wall_ms.to_bytes(6) + counter.to_bytes(6)


def test_a_nonce_is_recognised_by_another_member() -> None:
    nonce = NonceMint((KEY,), 1, "port").mint(PHONE, WALL_MS)
    found = NonceMint((KEY,), 2, "port").recognise(nonce, PHONE)
    assert found is not None
    assert int.from_bytes(found[:6]) == WALL_MS


def test_no_two_nonces_are_equal() -> None:
    mints = [NonceMint((KEY,), number, "port") for number in (1, 2)]
    nonces = [mint.mint(PHONE, WALL_MS) for mint in mints for _ in range(100)]
    assert len(set(nonces)) == 200


def test_a_nonce_of_the_previous_secret_is_recognised() -> None:
    nonce = NonceMint((OTHER_KEY,), 1, "port").mint(PHONE, WALL_MS)
    assert NonceMint((KEY, OTHER_KEY), 1, "port").recognise(nonce, PHONE) is not None


def test_a_nonce_of_another_farm_is_not_recognised() -> None:
    nonce = NonceMint((OTHER_KEY,), 1, "port").mint(PHONE, WALL_MS)
    assert NonceMint((KEY,), 1, "port").recognise(nonce, PHONE) is None


@pytest.mark.parametrize(
    ("bind_to", "source", "good"),
    [
        ("port", PHONE, True),
        ("port", (PHONE[0], 5061), False),
        ("port", ("192.0.2.11", PHONE[1]), False),
        ("host", (PHONE[0], 5061), True),
        ("host", ("192.0.2.11", PHONE[1]), False),
    ],
)
def test_a_nonce_holds_for_its_source(bind_to: str, source: tuple[str, int], good: bool) -> None:
    mint = NonceMint((KEY,), 1, "host" if bind_to == "host" else "port")
    assert (mint.recognise(mint.mint(PHONE, WALL_MS), source) is not None) is good


@given(st.integers(0, 23), st.integers(1, 255))
def test_a_nonce_changed_anywhere_is_not_recognised(index: int, flip: int) -> None:
    mint = NonceMint((KEY,), 1, "port")
    token = bytearray(a2b_base64(mint.mint(PHONE, WALL_MS)))
    token[index] ^= flip
    assert mint.recognise(b2a_base64(bytes(token), newline=False).decode(), PHONE) is None


@given(st.text(max_size=40) | st.text(min_size=NONCE_CHARS, max_size=NONCE_CHARS))
def test_any_text_is_no_nonce(text: str) -> None:
    assert NonceMint((KEY,), 1, "port").recognise(text, PHONE) is None


@pytest.mark.parametrize("keys", [(), (b"short",), (KEY, b"")])
def test_a_weak_key_is_refused(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="nonce key"):
        NonceMint(keys, 1, "port")


def test_a_count_in_a_second_transaction_is_a_replay() -> None:
    counts = NonceCounts(**DEFAULTS)
    assert counts.judge(stamp(), 1, ONE_TRANSACTION, WALL_MS) is Use.FIRST
    assert counts.judge(stamp(), 1, ANOTHER_TRANSACTION, WALL_MS) is Use.REPLAY


def test_a_retransmission_is_no_replay() -> None:
    counts = NonceCounts(**DEFAULTS)
    counts.judge(stamp(), 1, ONE_TRANSACTION, WALL_MS)
    later = WALL_MS + SAME_TRANSACTION_MS
    assert counts.judge(stamp(), 1, ONE_TRANSACTION, later) is Use.SAME_TRANSACTION


def test_a_request_repeated_after_its_transaction_is_a_replay() -> None:
    counts = NonceCounts(**DEFAULTS)
    counts.judge(stamp(), 1, ONE_TRANSACTION, WALL_MS)
    later = WALL_MS + SAME_TRANSACTION_MS + 1
    assert counts.judge(stamp(), 1, ONE_TRANSACTION, later) is Use.REPLAY


def test_counts_may_skip_and_overtake() -> None:
    counts = NonceCounts(**DEFAULTS)
    uses = [counts.judge(stamp(), count, count, WALL_MS) for count in (5, 2, 900, 3)]
    assert uses == [Use.FIRST] * 4


def test_a_count_below_the_window_is_a_replay() -> None:
    counts = NonceCounts(nonces_max=100, counts_max=4)
    for count in range(1, 7):
        counts.judge(stamp(), count, count, WALL_MS)
    assert counts.judge(stamp(), 1, ANOTHER_TRANSACTION, WALL_MS) is Use.REPLAY
    assert counts.judge(stamp(), 2, ANOTHER_TRANSACTION, WALL_MS) is Use.REPLAY


def test_the_memory_is_bounded_and_what_it_lost_is_not_accepted() -> None:
    counts = NonceCounts(nonces_max=8, counts_max=64)
    for number in range(20):
        counts.judge(stamp(WALL_MS + number, number), 1, ONE_TRANSACTION, WALL_MS)
    assert len(counts) == 8
    assert counts.judge(stamp(), 1, ANOTHER_TRANSACTION, WALL_MS) is Use.FORGOTTEN
    newer = stamp(WALL_MS + 50, 50)
    assert counts.judge(newer, 1, ONE_TRANSACTION, WALL_MS) is Use.FIRST


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 2)), max_size=60))
def test_no_count_is_accepted_in_two_transactions(uses: list[tuple[int, int, int]]) -> None:
    counts = NonceCounts(nonces_max=2, counts_max=3)
    accepted: dict[tuple[int, int], int] = {}
    for number, count, transaction in uses:
        use = counts.judge(stamp(WALL_MS + number, number), count, transaction, WALL_MS)
        if use <= Use.SAME_TRANSACTION:
            assert accepted.setdefault((number, count), transaction) == transaction


def test_expired_nonces_leave_the_memory() -> None:
    counts = NonceCounts(**DEFAULTS)
    counts.judge(stamp(), 1, ONE_TRANSACTION, WALL_MS)
    counts.judge(stamp(WALL_MS + 10), 1, ONE_TRANSACTION, WALL_MS)
    counts.expire(WALL_MS + 10)
    assert len(counts) == 1
