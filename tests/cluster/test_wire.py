"""Frames of the bus: round trip, any split of a stream, another release, a stranger's bytes."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.base.errors import UsageError
from sipfarm.base.farm_view import Load, Standing
from sipfarm.base.limits import BUS_FRAME_BYTES_MAX
from sipfarm.base.roles import ROLES
from sipfarm.cluster.wire import (
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    VERSION_MAX,
    VERSION_MIN,
    Event,
    Failure,
    Frame,
    FrameReader,
    Heartbeat,
    Hello,
    Invalidate,
    OwnState,
    Packets,
    Proof,
    Received,
    Refusal,
    Reply,
    Request,
    Unknown,
    WireError,
    common_version,
    encode,
)

FUZZ_ROUNDS = 20_000
FUZZ_SEED = 20_261_123

short = st.text(st.characters(codec="utf-8"), max_size=16)
body = st.binary(max_size=300)
u63 = st.integers(0, 2**63 - 1)
load = st.builds(Load, u63, u63, u63, u63)
standing = st.builds(Standing, u63, st.lists(short, max_size=16).map(tuple))
link_frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Heartbeat, st.sampled_from(OwnState), load, u63, standing),
    st.builds(Packets, st.lists(body, max_size=5)),
    st.builds(Invalidate, short, short),
    st.builds(Request, u63, short, body),
    st.builds(Reply, u63, body),
    st.builds(Failure, u63, st.integers(100, 699), short),
    st.builds(Event, short, body),
)
nonce = st.binary(min_size=32, max_size=32)
handshake_frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(
        Hello, st.just(1), st.just(3), short, st.integers(1, 16383), st.integers(1, 9), short, nonce
    ),
    st.builds(Proof, st.lists(nonce, min_size=1, max_size=2).map(tuple)),
    st.builds(Refusal, short),
)
version_and_frame = st.one_of(
    st.tuples(st.just(0), handshake_frames),
    st.tuples(st.integers(VERSION_MIN, VERSION_MAX), link_frames),
)


def read(chunks: list[bytes]) -> list[Received]:
    reader = FrameReader()
    frames: list[Received] = []
    for chunk in chunks:
        reader.push(chunk)
        while (frame := reader.pop()) is not None:
            frames.append(frame)
    return frames


def framed(body: bytes, version: int = VERSION_MAX) -> bytes:
    return (version << 24 | len(body)).to_bytes(HEADER_BYTES, "big") + body


@given(st.lists(version_and_frame, max_size=4), st.data())
def test_any_split_of_a_stream_gives_the_same_frames(
    versions_and_frames: list[tuple[int, Frame]], data: st.DataObject
) -> None:
    frames = [frame for _, frame in versions_and_frames]
    stream = b"".join(encode(frame, version) for version, frame in versions_and_frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read([stream]) == frames
    assert read(chunks) == frames
    assert read([stream[at : at + 1] for at in range(len(stream))]) == frames


def test_the_header_is_the_version_and_the_length_of_the_rest() -> None:
    assert encode(Invalidate("aor", "sip:a@b"), 1) == b"\1\0\0\x0e\x93\6\xa3aor\xa7sip:a@b"


def test_a_kind_of_a_later_release_is_passed_over() -> None:
    later = framed(msgspec.msgpack.encode([99, {"anything": [1, 2]}]))
    known = encode(Reply(1, b"x"), VERSION_MAX)
    assert read([later + known]) == [Unknown(99), Reply(1, b"x")]


def test_a_field_of_a_later_release_is_passed_over() -> None:
    assert read([framed(msgspec.msgpack.encode([8, 7, b"x", "added"]))]) == [Reply(7, b"x")]


def test_a_heartbeat_of_an_earlier_release_is_of_a_member_with_all_roles() -> None:
    earlier = framed(msgspec.msgpack.encode([4, "ready", [1, 2, 3, 4], 5]))
    assert read([earlier]) == [Heartbeat(OwnState.READY, Load(1, 2, 3, 4), 5, Standing())]
    assert Standing().roles == ROLES


def test_a_role_of_a_later_release_is_no_error() -> None:
    later = Heartbeat(OwnState.READY, Load(), 5, Standing(7, ("edge", "archive")))
    assert read([encode(later, VERSION_MAX)]) == [later]


def test_a_frame_of_the_handshake_is_none_of_the_link() -> None:
    assert read([encode(Refusal("late"), VERSION_MAX)]) == [Unknown(3)]
    assert read([encode(Reply(1, b""), 0)]) == [Unknown(8)]


@pytest.mark.parametrize(
    "stream",
    [
        framed(b""),
        framed(b"\x90"),
        framed(b"\xc0\x01"),
        framed(b"\x92\xff\x01"),
        framed(b"\xdc\x00\x02\x08\x01"),
        framed(msgspec.msgpack.encode([8, -1, b""])),
        framed(msgspec.msgpack.encode([8, 1])),
        framed(msgspec.msgpack.encode([8, 1, b""]) + b"\x00"),
        framed(msgspec.msgpack.encode([10, "n" * 65, b""])),
        framed(b"\x93\x0a\xa1\xff\xc4\x00"),
        framed(b"\x92\x05\xdd\xff\xff\xff\xff"),
        framed(b"\x92\x05\x91\xc6\xff\xff\xff\xff"),
        framed(b"\x94\x08\x01\xc4\x00" + b"\x91" * 100_000 + b"\x90"),
        framed(msgspec.msgpack.encode([5, [b""] * 4_097])),
        framed(msgspec.msgpack.encode([1, 1, 1, "f", 1, 1, "m", b"short"]), 0),
        framed(msgspec.msgpack.encode([1, 1, 1, "f", 0, 1, "m", bytes(32)]), 0),
        framed(msgspec.msgpack.encode([2, []]), 0),
        framed(b"\x93\x08\x01\xc4\x00", VERSION_MAX + 1),
        (VERSION_MAX << 24 | BUS_FRAME_BYTES_MAX + 1).to_bytes(4, "big"),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_frame_is_a_typed_error(stream: bytes) -> None:
    with pytest.raises(WireError):
        read([stream])


def test_a_stranger_may_not_send_much() -> None:
    reader = FrameReader(frame_bytes_max=100)
    reader.push((101).to_bytes(4, "big"))
    with pytest.raises(WireError):
        reader.pop()


def test_the_largest_frame_goes_and_a_larger_one_is_refused_to_the_sender() -> None:
    payload = bytes(PAYLOAD_BYTES_MAX)
    assert read([encode(Packets([payload]), 1)]) == [Packets([payload])]
    with pytest.raises(UsageError):
        encode(Reply(1, bytes(BUS_FRAME_BYTES_MAX)), 1)


def test_what_does_not_fit_leaves_the_buffer_as_it_was() -> None:
    from sipfarm.cluster.wire import append

    buffer = bytearray(b"before")
    with pytest.raises(UsageError):
        append(Reply(1, bytes(BUS_FRAME_BYTES_MAX)), buffer, 1)
    assert buffer == b"before"


@given(st.integers(1, 9), st.integers(0, 9), st.integers(1, 9), st.integers(0, 9))
def test_both_sides_agree_on_the_highest_common_version(a: int, b: int, c: int, d: int) -> None:
    ours, theirs = (a, a + b), (c, c + d)
    common = set(range(a, a + b + 1)) & set(range(c, c + d + 1))
    assert common_version(ours, theirs) == common_version(theirs, ours) == max(common, default=None)


@pytest.mark.slow
def test_fuzz_bytes_become_frames_or_a_wire_error() -> None:
    """Random bytes, and valid frames with random changes: never another exception."""
    draw = random.Random(FUZZ_SEED)
    seeds: list[tuple[Frame, int]] = [
        (Hello(1, 1, "farm", 1, 2, "m1", bytes(32)), 0),
        (Proof((bytes(32), bytes(32))), 0),
        (Heartbeat(OwnState.READY, Load(1, 2, 3, 4), 2**60, Standing(9)), 1),
        (Packets([b"INVITE sip:a@b SIP/2.0", b"", bytes(40)]), 1),
        (Request(2**40, "claim", bytes(300)), 1),
        (Failure(3, 503, "no"), 1),
        (Event("drain", b"m1"), 1),
    ]
    frames = errors = 0
    for round_number in range(FUZZ_ROUNDS):
        if round_number % 4 == 0:
            stream = bytearray(framed(draw.randbytes(draw.randrange(60)), draw.randrange(3)))
        else:
            stream = bytearray()
            for frame, version in draw.choices(seeds, k=3):
                stream += encode(frame, version)
        for _ in range(draw.randrange(4)):
            at = draw.randrange(len(stream))
            change = draw.randrange(3)
            if change == 0:
                stream[at] = draw.randrange(256)
            elif change == 1:
                del stream[at : at + draw.randrange(1, 8)]
            else:
                stream[at:at] = draw.randbytes(draw.randrange(1, 8))
            if not stream:
                break
        reader = FrameReader()
        try:
            while stream:
                cut = draw.randrange(1, len(stream) + 1)
                reader.push(bytes(stream[:cut]))
                del stream[:cut]
                while reader.pop() is not None:
                    frames += 1
        except WireError:
            errors += 1
    assert frames > FUZZ_ROUNDS / 2
    assert errors > FUZZ_ROUNDS / 4
