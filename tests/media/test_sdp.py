"""Session descriptions (RFC 8866)."""

from contextlib import suppress
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.media.sdp import (
    Attribute,
    Connection,
    Direction,
    Media,
    Origin,
    SdpError,
    SessionDescription,
    attribute_of,
    direction_of,
    format_sdp,
    parse_sdp,
)

WHOLE = (
    b"v=0\r\n"
    b"o=jdoe 3724394400 3724394405 IN IP4 198.51.100.1\r\n"
    b"s=Call to John Smith\r\n"
    b"i=SDP Offer #1\r\n"
    b"c=IN IP4 198.51.100.1\r\n"
    b"b=AS:128\r\n"
    b"t=0 0\r\n"
    b"a=recvonly\r\n"
    b"m=audio 49170 RTP/AVP 0 101\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\n"
    b"m=video 51372/2 RTP/AVP 99\r\n"
    b"i=a window\r\n"
    b"c=IN IP6 2001:db8::2\r\n"
    b"b=TIAS:1000\r\n"
    b"a=rtpmap:99 h263-1998/90000\r\n"
    b"a=inactive\r\n"
)
HEAD = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"


def test_a_whole_description_is_read_and_written_back() -> None:
    description = parse_sdp(WHOLE)
    assert description.origin == Origin("jdoe", 3724394400, 3724394405, "IP4", "198.51.100.1")
    assert description.name == "Call to John Smith"
    audio, video = description.media
    assert (audio.port, audio.formats) == (49170, ("0", "101"))
    assert (video.port, video.port_count, video.title) == (51372, 2, "a window")
    assert video.connection == Connection("IP6", "2001:db8::2")
    assert direction_of(description, audio) is Direction.RECVONLY
    assert direction_of(description, video) is Direction.INACTIVE
    assert format_sdp(description) == WHOLE


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n\r\n", b"\r\n\0"])
def test_other_line_ends_are_taken(end: bytes) -> None:
    if end.endswith(b"\0"):
        assert parse_sdp(WHOLE + b"\0") == parse_sdp(WHOLE)
    else:
        assert parse_sdp(WHOLE.replace(b"\r\n", end)) == parse_sdp(WHOLE)


def test_missing_and_unknown_lines_are_taken() -> None:
    body = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\nu=http://x\r\ny=what\r\nm=audio 0 RTP/AVP 0\r\n"
    description = parse_sdp(body)
    assert (description.name, description.timing) == ("-", ("t=0 0",))
    assert description.media[0].is_refused


def test_bytes_that_are_no_utf8_survive() -> None:
    body = HEAD.replace(b"s=-", b"s=caf\xe9")
    assert format_sdp(parse_sdp(body)) == body


def test_a_ttl_is_cut_off_an_address() -> None:
    body = HEAD.replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 224.2.36.42/127/3")
    assert parse_sdp(body).connection == Connection("IP4", "224.2.36.42")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"v=1\r\n", 400),
        (b"v=0\r\ns=-\r\n", 400),
        (b"v=0\r\no=- 1 1 IN IP4\r\n", 400),
        (b"v=0\r\no=- x 1 IN IP4 a\r\n", 400),
        (b"v=0\r\no=- \xd9\xa3 1 IN IP4 a\r\n", 400),
        (HEAD + b"m=audio\r\n", 400),
        (HEAD + b"m=audio 65536 RTP/AVP 0\r\n", 400),
        (HEAD + b"m=audio -1 RTP/AVP 0\r\n", 400),
        (HEAD + b"c=IN IP4\r\n", 400),
        (HEAD + b"c=ATM NSAP x\r\n", 400),
        (HEAD.replace(b"c=IN IP4 127.0.0.1\r\n", b"") + b"m=audio 9 RTP/AVP 0\r\n", 400),
        (HEAD + b"m=audio 9 RTP/AVP 0\r\n" * 33, 488),
        (HEAD + b"a=x\r\n" * 2_001, 488),
        (HEAD + b"a=" + b"x" * 65_535, 488),
        (HEAD + b"m=audio 9 RTP/AVP" + b" 0" * 129, 488),
    ],
)
def test_what_cannot_be_used_is_refused(body: bytes, status: int) -> None:
    with pytest.raises(SdpError) as error:
        parse_sdp(body)
    assert error.value.status == status


@pytest.mark.parametrize(
    ("address", "unspecified"),
    [("0.0.0.0", True), ("::", True), ("hold.invalid", True), ("10.0.0.1", False)],
)
def test_the_address_older_phones_hold_with(address: str, unspecified: bool) -> None:
    assert Connection("IP4", address).is_unspecified is unspecified


@pytest.mark.parametrize("direction", [Direction(value) for value in range(4)])
def test_a_direction_mirrored_twice_is_itself(direction: Direction) -> None:
    assert direction.mirrored.mirrored is direction
    assert (direction.mirrored is direction) == (direction in {Direction(0), Direction(3)})


def test_an_attribute_without_a_value_is_empty_and_an_absent_one_nothing() -> None:
    attributes = (Attribute("rtcp-mux"), Attribute("ptime", "20"))
    assert attribute_of(attributes, "rtcp-mux") == ""
    assert attribute_of(attributes, "ptime") == "20"
    assert attribute_of(attributes, "maxptime") is None


words = st.text(ascii_letters + digits + "-", min_size=1, max_size=8)
texts = st.text(ascii_letters + digits + ' -"<>:/;é', min_size=1, max_size=20).map(
    lambda text: text.strip() or "-"
)
numbers = st.integers(0, 2**70)
ports = st.integers(0, 65_535)
connections = st.builds(
    Connection, st.sampled_from(["IP4", "IP6"]), st.sampled_from(["10.0.0.1", "::1", "0.0.0.0"])
)
attributes = st.lists(st.builds(Attribute, words, st.none() | texts), max_size=5).map(tuple)
bandwidths = st.lists(words, max_size=2).map(tuple)
medias = st.builds(
    Media,
    kind=st.sampled_from(["audio", "video", "image"]),
    port=ports,
    protocol=st.sampled_from(["RTP/AVP", "RTP/SAVP", "udptl"]),
    formats=st.lists(words, min_size=1, max_size=6).map(tuple),
    port_count=st.integers(1, 4),
    title=st.none() | texts,
    connection=connections,
    bandwidths=bandwidths,
    attributes=attributes,
)
descriptions = st.builds(
    SessionDescription,
    origin=st.builds(Origin, words, numbers, numbers, st.just("IP4"), words),
    name=texts,
    information=st.none() | texts,
    connection=st.none() | connections,
    bandwidths=bandwidths,
    attributes=attributes,
    media=st.lists(medias, max_size=4).map(tuple),
)


@given(descriptions)
def test_parse_gives_back_what_format_wrote(description: SessionDescription) -> None:
    assert parse_sdp(format_sdp(description)) == description


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: WHOLE + tail))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        description = parse_sdp(body)
    except SdpError:
        return
    assert parse_sdp(format_sdp(description)) == description


@given(st.integers(0, len(WHOLE)), st.integers(0, len(WHOLE)), st.binary(max_size=8))
def test_a_damaged_description_is_read_or_refused(start: int, end: int, put: bytes) -> None:
    with suppress(SdpError):
        parse_sdp(WHOLE[:start] + put + WHOLE[end:])
