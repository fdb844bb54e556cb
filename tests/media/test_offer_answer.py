"""Offer and answer (RFC 3264)."""

from itertools import chain

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.media.codecs import (
    CODECS,
    G722,
    OPUS,
    PCMA,
    PCMU,
    Codec,
    codec_named,
    codec_of_payload_type,
)
from sipfarm.media.formats import read_formats
from sipfarm.media.offer_answer import Capabilities, Party, answer, complete, offer
from sipfarm.media.plan import Endpoint, LocalMedia
from sipfarm.media.sdp import (
    Direction,
    Media,
    SdpError,
    SessionDescription,
    attribute_of,
    direction_of,
    format_sdp,
    parse_sdp,
)

LOCAL = LocalMedia("127.0.0.1", 20_000, 20_001)
PARTY = Party(LOCAL, session_id=4711)
ECHO = Party(LOCAL, session_id=4711, capabilities=Capabilities(reflects=True))


def sdp(*lines: str, connection: str = "IN IP4 192.0.2.7") -> SessionDescription:
    head = ("v=0", "o=alice 1 1 IN IP4 192.0.2.7", "s=-", f"c={connection}", "t=0 0")
    return parse_sdp("\r\n".join((*head, *lines, "")).encode())


def texts(media: Media) -> list[str]:
    return [a.name if a.value is None else f"{a.name}:{a.value}" for a in media.attributes]


SOFTPHONE = sdp(
    "m=audio 4000 RTP/AVP 96 9 0 8 101 102",
    "a=rtcp:4001 IN IP4 192.0.2.7",
    "a=rtpmap:96 opus/48000/2",
    "a=fmtp:96 useinbandfec=1",
    "a=rtpmap:101 telephone-event/8000",
    "a=fmtp:101 0-16",
    "a=rtpmap:102 telephone-event/48000",
    "a=ptime:20",
    "a=rtcp-mux",
    "a=sendrecv",
)


def test_the_first_codec_is_answered_in_the_offerers_numbers() -> None:
    agreed = answer(SOFTPHONE, ECHO)
    (media,) = agreed.description.media
    assert media.formats == ("96", "102")
    assert texts(media) == [
        "rtpmap:96 opus/48000/2",
        "rtpmap:102 telephone-event/48000",
        "fmtp:96 useinbandfec=1",
        "fmtp:102 0-15",
        "ptime:20",
        "rtcp-mux",
        "sendrecv",
    ]
    assert agreed.stream is not None
    assert agreed.stream.rtp == agreed.stream.rtcp == Endpoint("192.0.2.7", 4000)
    assert [f.codec.name for f in agreed.stream.formats] == ["opus", "telephone-event"]
    assert [f.send_payload_type for f in agreed.stream.formats] == [96, 102]


def test_the_parameters_of_a_codec_are_mirrored_only_by_who_reflects() -> None:
    (media,) = answer(SOFTPHONE, PARTY).description.media
    assert "fmtp:96 useinbandfec=1" not in texts(media)


@pytest.mark.parametrize(
    ("formats", "codec"),
    [("9 0 8", G722), ("8 0", PCMA), ("3 4 18 0", PCMU), ("0", PCMU)],
)
def test_static_payload_types_need_no_rtpmap(formats: str, codec: object) -> None:
    stream = answer(sdp(f"m=audio 4000 RTP/AVP {formats}"), PARTY).stream
    assert stream is not None
    assert [f.codec for f in stream.formats] == [codec]


def test_g722_with_the_wrong_clock_is_taken_for_g722() -> None:
    offered = sdp("m=audio 4000 RTP/AVP 9", "a=rtpmap:9 G722/16000")
    agreed = answer(offered, PARTY)
    assert texts(agreed.description.media[0])[0] == "rtpmap:9 G722/8000"


def test_a_dynamic_number_may_carry_a_codec_with_a_static_one() -> None:
    offered = sdp("m=audio 4000 RTP/AVP 110", "a=rtpmap:110 pcma/8000")
    stream = answer(offered, PARTY).stream
    assert stream is not None
    assert (stream.formats[0].codec, stream.formats[0].send_payload_type) == (PCMA, 110)


def test_other_media_is_refused_in_its_place() -> None:
    offered = sdp(
        "m=video 5000 RTP/AVP 99",
        "m=audio 4000 RTP/SAVP 0",
        "m=audio 4002 RTP/AVP 0",
        "m=audio 4004 RTP/AVP 0",
        "m=image 5002 udptl t38",
    )
    media = answer(offered, PARTY).description.media
    assert [m.port for m in media] == [0, 0, 20_000, 0, 0]
    assert [(m.kind, m.protocol, m.formats) for m in media] == [
        (m.kind, m.protocol, m.formats) for m in offered.media
    ]


@pytest.mark.parametrize(
    "offered",
    [
        sdp("m=video 5000 RTP/AVP 99"),
        sdp("m=audio 4000 RTP/AVP 18"),
        sdp("m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"),
        sdp("m=audio 4000 RTP/SAVPF 0"),
        sdp("m=audio 4000 RTP/AVP 0", connection="IN IP6 2001:db8::1"),
        sdp("m=audio 4000 RTP/AVP 0", connection="IN IP4 224.2.1.1"),
        sdp("m=audio 4000 RTP/AVP x -1 999 0x0"),
        sdp("m=audio 4000 RTP/AVP 96", "a=rtpmap:96 opus/48000"),
    ],
)
def test_an_offer_without_anything_to_do_is_488(offered: SessionDescription) -> None:
    with pytest.raises(SdpError) as error:
        answer(offered, PARTY)
    assert error.value.status == 488


def test_an_offer_without_live_media_is_answered_without_any() -> None:
    agreed = answer(sdp("m=audio 0 RTP/AVP 0"), PARTY)
    assert agreed.stream is None
    assert agreed.description.media[0].is_refused


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        ("sendrecv", "sendrecv"),
        ("sendonly", "recvonly"),
        ("recvonly", "sendonly"),
        ("inactive", "inactive"),
    ],
)
def test_the_direction_is_mirrored(offered: str, answered: str) -> None:
    agreed = answer(sdp("m=audio 4000 RTP/AVP 0", f"a={offered}"), PARTY)
    assert texts(agreed.description.media[0])[-1] == answered


def test_what_we_are_not_willing_to_do_is_not_answered() -> None:
    offered = sdp("m=audio 4000 RTP/AVP 0", "a=recvonly")
    agreed = answer(offered, PARTY, willing=Direction.RECVONLY)
    assert texts(agreed.description.media[0])[-1] == "inactive"


def test_hold_by_the_unspecified_address() -> None:
    agreed = answer(sdp("m=audio 4000 RTP/AVP 0", connection="IN IP4 0.0.0.0"), PARTY)
    assert texts(agreed.description.media[0])[-1] == "recvonly"
    assert agreed.stream is not None
    assert agreed.stream.rtp is None
    assert not agreed.stream.is_sending
    assert agreed.stream.is_receiving


def test_rtcp_stands_beside_rtp_unless_said_otherwise() -> None:
    def rtcp(*lines: str) -> Endpoint | None:
        stream = answer(sdp("m=audio 4000 RTP/AVP 0", *lines), PARTY).stream
        return stream.rtcp if stream else None

    assert rtcp() == Endpoint("192.0.2.7", 4001)
    assert rtcp("a=rtcp:4007") == Endpoint("192.0.2.7", 4007)
    assert rtcp("a=rtcp:4007 IN IP4 192.0.2.9") == Endpoint("192.0.2.9", 4007)
    assert rtcp("a=rtcp:4007", "a=rtcp-mux") == Endpoint("192.0.2.7", 4000)
    assert rtcp("a=rtcp:99999") == Endpoint("192.0.2.7", 4001)
    assert rtcp("a=rtcp") == Endpoint("192.0.2.7", 4001)


def test_rtcp_mux_is_answered_only_where_it_was_offered() -> None:
    plain = answer(sdp("m=audio 4000 RTP/AVP 0"), PARTY).description.media[0]
    assert attribute_of(plain.attributes, "rtcp-mux") is None


def test_an_odd_rtcp_port_of_ours_is_named() -> None:
    party = Party(LocalMedia("127.0.0.1", 20_000, 20_005), 1)
    media = answer(sdp("m=audio 4000 RTP/AVP 0"), party).description.media[0]
    assert "rtcp:20005" in texts(media)


def test_telephone_events_of_another_clock_are_taken_when_there_are_no_better() -> None:
    offered = sdp(
        "m=audio 4000 RTP/AVP 96 101",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:101 telephone-event/8000",
    )
    assert answer(offered, PARTY).description.media[0].formats == ("96", "101")


def test_the_version_rises_exactly_when_the_description_changes() -> None:
    first = answer(sdp("m=audio 4000 RTP/AVP 0"), PARTY).description
    assert first.origin.session_version == 1
    same = answer(sdp("m=audio 4000 RTP/AVP 0"), PARTY, first).description
    assert same == first
    held = answer(sdp("m=audio 4000 RTP/AVP 0", "a=sendonly"), PARTY, first).description
    assert held.origin.session_version == 2
    assert held.origin.session_id == first.origin.session_id
    again = answer(sdp("m=audio 4000 RTP/AVP 0"), PARTY, held).description
    assert again.origin.session_version == 3


def test_our_offer_names_every_codec_once() -> None:
    offered = offer(PARTY)
    (media,) = offered.media
    assert media.formats == ("96", "9", "0", "8", "101", "97")
    assert "rtpmap:101 telephone-event/8000" in texts(media)
    assert "rtpmap:97 telephone-event/48000" in texts(media)
    assert "rtcp-mux" in texts(media)


def test_a_later_offer_keeps_lines_and_numbers() -> None:
    video_refused = sdp("m=video 5000 RTP/AVP 99", "m=audio 4000 RTP/AVP 0 101")
    first = answer(video_refused, PARTY).description
    held = offer(PARTY, first, Direction.SENDONLY)
    assert [m.port for m in held.media] == [0, 20_000]
    assert held.media[1].formats == first.media[1].formats
    assert direction_of(held, held.media[1]) is Direction.SENDONLY
    assert held.origin.session_version == first.origin.session_version + 1
    assert offer(PARTY, held, Direction.SENDONLY) == held


def test_a_later_offer_takes_a_free_place_or_a_new_one() -> None:
    no_audio = answer(sdp("m=audio 0 RTP/AVP 0"), PARTY).description
    assert [m.port for m in offer(PARTY, no_audio).media] == [20_000]
    no_place = answer(sdp("m=video 0 RTP/AVP 99"), PARTY).description
    assert [m.port for m in offer(PARTY, no_place).media] == [0, 20_000]


def test_an_answer_to_our_offer_may_have_its_own_numbers() -> None:
    answered = sdp(
        "m=audio 4000 RTP/AVP 111 101",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:101 telephone-event/8000",
    )
    stream = complete(offer(PARTY), answered, PARTY).stream
    assert stream is not None
    assert (stream.formats[0].codec, stream.formats[0].receive_payload_type) == (OPUS, 96)
    assert stream.formats[0].send_payload_type == 111
    assert not stream.rtcp_mux


def test_an_answer_may_refuse_our_media() -> None:
    assert complete(offer(PARTY), sdp("m=audio 0 RTP/AVP 0"), PARTY).stream is None


@pytest.mark.parametrize(
    "answered",
    [
        sdp(),
        sdp("m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/AVP 0"),
        sdp("m=video 4000 RTP/AVP 0"),
        sdp("m=audio 4000 RTP/SAVP 0"),
        sdp("m=audio 4000 RTP/AVP 18"),
        sdp("m=audio 4000 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000"),
        sdp("m=audio 4000 RTP/AVP 0", connection="IN IP4 239.1.1.1"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(answered: SessionDescription) -> None:
    with pytest.raises(SdpError):
        complete(offer(PARTY), answered, PARTY)


def test_the_answers_direction_cannot_widen_our_offer() -> None:
    held = offer(PARTY, None, Direction.SENDONLY)
    stream = complete(held, sdp("m=audio 4000 RTP/AVP 0", "a=sendrecv"), PARTY).stream
    assert stream is not None
    assert stream.direction is Direction.SENDONLY


def test_codec_facts() -> None:
    assert (G722.clock_rate_hz, G722.sample_rate_hz) == (8_000, 16_000)
    assert (OPUS.clock_rate_hz, OPUS.channels, OPUS.rtpmap) == (48_000, 2, "opus/48000/2")
    assert codec_named("pcmu", 8_000) is PCMU
    assert codec_named("opus", 48_000) is None
    assert codec_of_payload_type(9) is G722
    assert codec_of_payload_type(96) is None
    static = [codec.payload_type for codec in CODECS if codec.payload_type is not None]
    assert len(static) == len(set(static))


payload_types = st.integers(0, 127)
rtpmaps = st.sampled_from(
    [codec.rtpmap for codec in CODECS] + ["x-unknown/8000", "opus/1", "/", "PCMU/x", "G722/16000/7"]
)
addresses = st.sampled_from(["IN IP4 192.0.2.7", "IN IP4 0.0.0.0", "IN IP6 ::1", "IN IP4 x.test"])
directions = ["sendonly", "recvonly", "inactive", "sendrecv"]
flags = st.sampled_from(
    ["rtcp-mux", "rtcp:9", "ptime:20", "ptime:0", "ptime:x", "mid:0", *directions]
)


@st.composite
def media_lines(draw: st.DrawFn) -> list[str]:
    kind = draw(st.sampled_from(["audio", "audio", "audio", "video"]))
    protocol = draw(st.sampled_from(["RTP/AVP", "RTP/AVP", "RTP/AVPF", "RTP/SAVP"]))
    port = draw(st.sampled_from([0, 4_000, 65_535]))
    formats = draw(st.lists(payload_types, min_size=1, max_size=6))
    maps = draw(st.lists(st.tuples(payload_types, rtpmaps), max_size=6))
    lines = [f"m={kind} {port} {protocol} {' '.join(map(str, formats))}"]
    lines += [f"c={address}" for address in draw(st.lists(addresses, max_size=1))]
    lines += [f"a=rtpmap:{number} {rtpmap}" for number, rtpmap in maps]
    return lines + [f"a={flag}" for flag in draw(st.lists(flags, max_size=4))]


offers = st.lists(media_lines(), max_size=4).map(lambda blocks: sdp(*chain(*blocks)))


@given(offers)
def test_nothing_is_answered_that_was_not_offered(offered: SessionDescription) -> None:
    try:
        agreed = answer(offered, ECHO)
    except SdpError:
        return
    assert parse_sdp(format_sdp(agreed.description)) == agreed.description
    assert len(agreed.description.media) == len(offered.media)
    for theirs, ours in zip(offered.media, agreed.description.media, strict=True):
        assert (ours.kind, ours.protocol) == (theirs.kind, theirs.protocol)
        assert set(ours.formats) <= set(theirs.formats)
        if ours.is_refused:
            continue
        assert not theirs.is_refused
        direction = direction_of(agreed.description, ours)
        assert direction & direction_of(offered, theirs).mirrored == direction
        assert "rtcp-mux" not in texts(ours) or "rtcp-mux" in texts(theirs)
        known = {f.payload_type: f.codec for f in read_formats(theirs)}
        assert all(known[f.payload_type] == f.codec for f in read_formats(ours))
    assert sum(not m.is_refused for m in agreed.description.media) == (agreed.stream is not None)


@given(st.permutations([OPUS, G722, PCMU, PCMA]), st.sampled_from([Direction(n) for n in range(4)]))
def test_an_exchange_is_seen_alike_from_both_ends(codecs: list[Codec], willing: Direction) -> None:
    """What `complete` makes of an answer is what `answer` meant by it, seen from the other end."""
    local = LocalMedia("192.0.2.7", 4_000, 4_001)
    peer = Party(local, 1, Capabilities(codecs=tuple(codecs)))
    ours = offer(peer, None, willing)
    theirs = answer(ours, PARTY)
    seen = complete(ours, theirs.description, peer).stream
    assert seen is not None
    assert theirs.stream is not None
    assert seen.direction is theirs.stream.direction.mirrored
    assert seen.rtp == Endpoint(LOCAL.address, LOCAL.rtp_port)
    assert [f.codec for f in seen.formats] == [f.codec for f in theirs.stream.formats]
    assert seen.formats[0].codec is codecs[0]


@given(offers, offers)
def test_versions_never_fall(one: SessionDescription, two: SessionDescription) -> None:
    previous: SessionDescription | None = None
    for offered in (one, two, one):
        try:
            description = answer(offered, PARTY, previous).description
        except SdpError:
            continue
        if previous is not None:
            unversioned = msgspec.structs.replace(description, origin=previous.origin)
            rise = description.origin.session_version - previous.origin.session_version
            assert rise == (unversioned != previous)
        previous = description
