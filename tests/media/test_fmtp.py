"""Format parameters (RFC 7587, 4867, 4856, 5574, 4733)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.media.codecs import (
    AMR,
    AMR_WB,
    CODECS,
    G722,
    G729,
    L16_16K,
    OPUS,
    PCMU,
    SPEEX,
    SPEEX_16K,
    TELEPHONE_EVENT,
    Codec,
    codec_named,
)
from sipfarm.media.fmtp import (
    AmrParameters,
    G729Parameters,
    NoParameters,
    OpusParameters,
    Parameters,
    SpeexParameters,
    TelephoneEventParameters,
    answer_fmtp,
    coding_format,
    format_fmtp,
    parse_fmtp,
    steer,
)
from sipfarm.media.formats import read_formats
from sipfarm.media.sdp import Attribute, Media


def amr(octet_aligned: bool = False, modes: tuple[int, ...] | None = None) -> AmrParameters:
    return AmrParameters(octet_aligned=octet_aligned, mode_set=modes)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (None, OpusParameters()),
        ("", OpusParameters()),
        ("useinbandfec=1", OpusParameters(fec=True)),
        ("  UseInBandFEC = 1 ;usedtx=1;; ", OpusParameters(fec=True, dtx=True)),
        ("minptime=10;useinbandfec=1", OpusParameters(min_ptime_ms=10, fec=True)),
        ("stereo=1 sprop-stereo=1", OpusParameters(stereo=True, sprop_stereo=True)),
        (
            "maxplaybackrate=16000; sprop-maxcapturerate=16000; maxaveragebitrate=20000; cbr=1",
            OpusParameters(
                max_playback_rate_hz=16_000,
                sprop_max_capture_rate_hz=16_000,
                max_average_bitrate=20_000,
                cbr=True,
            ),
        ),
        ("maxaveragebitrate=5999;maxplaybackrate=96000;stereo=2", OpusParameters()),
        ("maxaveragebitrate=-1;maxplaybackrate=0x10;usedtx=yes", OpusParameters()),
        ("maxaveragebitrate=99999999999999999999", OpusParameters()),
        ("maxaveragebitrate=\u0661\u0662\u0663\u0664\u0665", OpusParameters()),
        ("x-something=1;=;==1;useinbandfec=1;useinbandfec=0", OpusParameters(fec=True)),
        ('useinbandfec="1"', OpusParameters(fec=True)),
    ],
)
def test_opus_parameters_are_read(text: str | None, read: OpusParameters) -> None:
    assert parse_fmtp(OPUS, text) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", amr()),
        ("octet-align=1", amr(octet_aligned=True)),
        ("octet-align=0; mode-set=0,2,4,7", amr(modes=(0, 2, 4, 7))),
        ("MODE-SET=7, 2 ,2,0;octet-align = 1", amr(octet_aligned=True, modes=(0, 2, 7))),
        ("mode-set=8,9,x", amr()),
        ("mode-change-period=2;mode-change-capability=2;mode-change-neighbor=1",
         AmrParameters(mode_change_period=2, mode_change_capability=2, mode_change_neighbor=True)),
        ("max-red=20", AmrParameters(max_red_ms=20)),
        ("crc=1", AmrParameters(octet_aligned=True, crc=True)),
        ("interleaving=30", AmrParameters(octet_aligned=True, interleaving=30)),
        ("robust-sorting=1", AmrParameters(octet_aligned=True, robust_sorting=True)),
    ],
)  # fmt: skip
def test_amr_parameters_are_read(text: str, read: AmrParameters) -> None:
    assert parse_fmtp(AMR, text) == read


def test_amr_wb_has_a_mode_more() -> None:
    assert parse_fmtp(AMR_WB, "mode-set=8") == amr(modes=(8,))
    assert parse_fmtp(AMR, "mode-set=8") == amr()


@pytest.mark.parametrize(
    ("text", "annexb"),
    [
        (None, True),
        ("annexb=yes", True),
        ("annexb=no", False),
        ("ANNEXB = No", False),
        ("x=no", True),
    ],
)
def test_annex_b_of_g729_is_on_unless_it_is_off(text: str | None, annexb: bool) -> None:
    assert parse_fmtp(G729, text) == G729Parameters(annexb=annexb)


@pytest.mark.parametrize(
    ("codec", "text", "read"),
    [
        (SPEEX, "", SpeexParameters()),
        (SPEEX, 'mode="4,any";vbr=on;cng=on', SpeexParameters(4, "on", cng=True)),
        (SPEEX, "mode=any; vbr=vad", SpeexParameters(None, "vad")),
        (SPEEX, "mode=0;vbr=maybe;cng=1", SpeexParameters()),
        (SPEEX_16K, 'mode="0"', SpeexParameters(0)),
        (SPEEX_16K, "mode=11,10", SpeexParameters(10)),
    ],
)
def test_speex_parameters_are_read(codec: Codec, text: str, read: SpeexParameters) -> None:
    assert parse_fmtp(codec, text) == read


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (None, range(16)),
        ("0-15", range(16)),
        ("0 - 15 , 16", range(17)),
        ("events=0-11", range(12)),
        ("0-15,66,70", [*range(16), 66, 70]),
        ("250-999", range(250, 256)),
        ("9-3", range(16)),
        ("all", range(16)),
    ],
)
def test_telephone_events_are_read(text: str | None, events: list[int]) -> None:
    assert parse_fmtp(TELEPHONE_EVENT, text) == TelephoneEventParameters(frozenset(events))


def test_a_codec_without_parameters_has_none() -> None:
    assert parse_fmtp(PCMU, "octet-align=1") == NoParameters()
    assert format_fmtp(NoParameters()) == ""


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (OpusParameters(), ""),
        (OpusParameters(fec=True, dtx=True), "useinbandfec=1;usedtx=1"),
        (amr(octet_aligned=True, modes=(0, 7)), "octet-align=1;mode-set=0,7"),
        (G729Parameters(annexb=False), "annexb=no"),
        (SpeexParameters(3, "vad", cng=True), 'mode="3,any";vbr=vad;cng=on'),
        (TelephoneEventParameters(), "0-15"),
        (TelephoneEventParameters(frozenset({0, 1, 2, 5, 66, 67})), "0-2,5,66-67"),
    ],
)
def test_parameters_are_written(parameters: Parameters, text: str) -> None:
    assert format_fmtp(parameters) == text


bits = st.booleans()
written = st.one_of(
    st.tuples(
        st.just(OPUS),
        st.builds(
            OpusParameters,
            max_playback_rate_hz=st.integers(8_000, 48_000),
            sprop_max_capture_rate_hz=st.integers(8_000, 48_000),
            max_average_bitrate=st.none() | st.integers(6_000, 510_000),
            min_ptime_ms=st.integers(3, 120),
            stereo=bits, sprop_stereo=bits, cbr=bits, fec=bits, dtx=bits,
        ),
    ),
    st.tuples(
        st.just(AMR_WB),
        st.builds(
            AmrParameters,
            octet_aligned=bits,
            mode_set=st.none()
            | st.sets(st.integers(0, 8), min_size=1).map(lambda modes: tuple(sorted(modes))),
            mode_change_period=st.integers(1, 2),
            mode_change_capability=st.integers(1, 2),
            mode_change_neighbor=bits,
            max_red_ms=st.none() | st.integers(0, 65_535),
        ),
    ),
    st.tuples(st.just(G729), st.builds(G729Parameters, annexb=bits)),
    st.tuples(
        st.just(SPEEX_16K),
        st.builds(
            SpeexParameters,
            mode=st.none() | st.integers(0, 10),
            vbr=st.sampled_from(("off", "on", "vad")),
            cng=bits,
        ),
    ),
    st.tuples(
        st.just(TELEPHONE_EVENT),
        st.builds(
            TelephoneEventParameters, events=st.frozensets(st.integers(0, 255), min_size=1)
        ),
    ),
)  # fmt: skip


@given(written)
def test_what_is_written_is_read_back(pair: tuple[Codec, Parameters]) -> None:
    codec, parameters = pair
    assert parse_fmtp(codec, format_fmtp(parameters)) == parameters


@given(st.sampled_from(CODECS), st.text(max_size=60) | st.text('=;,- 01azmode"', max_size=60))
def test_whatever_comes_is_read(codec: Codec, text: str) -> None:
    read = parse_fmtp(codec, text)
    assert parse_fmtp(codec, format_fmtp(read)) == read


@given(written, written)
def test_steering_does_not_depend_on_whose_offer_it_was(
    one: tuple[Codec, Parameters], other: tuple[Codec, Parameters]
) -> None:
    assert (steer(one[1], other[1]) is None) == (steer(other[1], one[1]) is None)


@pytest.mark.parametrize(
    ("offered", "ours", "answered"),
    [
        (amr(), amr(), amr()),
        (amr(octet_aligned=True), amr(octet_aligned=True), amr(octet_aligned=True)),
        (amr(octet_aligned=True), amr(), None),
        (amr(), amr(octet_aligned=True), None),
        # RFC 4867 §8.3.1: an offered mode-set comes back unmodified or not at all
        (amr(modes=(0, 2, 7)), amr(), amr(modes=(0, 2, 7))),
        (amr(modes=(0, 2, 7)), amr(modes=(2, 5)), amr(modes=(0, 2, 7))),
        (amr(modes=(0, 2)), amr(modes=(7,)), None),
        (amr(), amr(modes=(7,)), amr(modes=(7,))),
        (AmrParameters(octet_aligned=True, crc=True), amr(octet_aligned=True), None),
        (G729Parameters(annexb=False), G729Parameters(), G729Parameters(annexb=False)),
        (G729Parameters(), G729Parameters(annexb=False), G729Parameters(annexb=False)),
        (G729Parameters(), G729Parameters(), G729Parameters()),
        # Opus: each side says what it wants to receive
        (OpusParameters(dtx=True), OpusParameters(fec=True), OpusParameters(fec=True)),
        (SpeexParameters(4), SpeexParameters(2), SpeexParameters(2)),
        (
            TelephoneEventParameters(frozenset(range(12))),
            TelephoneEventParameters(),
            TelephoneEventParameters(frozenset(range(12))),
        ),
        (TelephoneEventParameters(frozenset({70})), TelephoneEventParameters(), None),
        (NoParameters(), NoParameters(), NoParameters()),
        (NoParameters(), OpusParameters(), None),
    ],
)
def test_an_answer_keeps_to_the_rules_of_the_payload_format(
    offered: Parameters, ours: Parameters, answered: Parameters | None
) -> None:
    assert answer_fmtp(offered, ours) == answered


def test_our_encoder_of_opus_does_what_the_far_end_wants_to_receive() -> None:
    ours = OpusParameters(fec=True, max_average_bitrate=24_000)
    theirs = OpusParameters(dtx=True, max_playback_rate_hz=16_000, max_average_bitrate=64_000)
    steering = steer(ours, theirs)
    assert steering is not None
    made = coding_format(OPUS, steering, 8_000)
    assert made is not None
    assert (made.name, made.clock_rate_hz, made.channels) == ("opus", 48_000, 2)
    assert (made.sample_rate_hz, made.max_playback_rate_hz) == (8_000, 16_000)
    assert (made.bitrate, made.fec, made.dtx) == (24_000, False, True)


def test_our_encoder_of_amr_keeps_to_the_modes_that_both_have() -> None:
    steering = steer(amr(modes=(2, 5, 7)), amr(modes=(0, 2, 5)))
    assert steering == amr(modes=(2, 5))
    made = coding_format(AMR, steering)
    assert made is not None
    assert (made.mode_set, made.octet_aligned) == (0b100100, False)


def test_silence_is_left_out_only_where_the_far_end_allows() -> None:
    for annexb in (False, True):
        made = coding_format(G729, G729Parameters(annexb=annexb), silence_suppression=True)
        assert made is not None
        assert made.dtx is annexb
    quiet = coding_format(SPEEX, SpeexParameters(cng=True), silence_suppression=True)
    assert quiet is not None
    assert quiet.dtx


def test_g722_is_heard_at_twice_its_clock() -> None:
    made = coding_format(G722, NoParameters())
    assert made is not None
    assert (made.clock_rate_hz, made.sample_rate_hz) == (8_000, 16_000)
    assert coding_format(G722, NoParameters(), 8_000) is None


def test_what_the_plane_cannot_code_has_no_format() -> None:
    assert coding_format(TELEPHONE_EVENT, TelephoneEventParameters()) is None
    ilbc = codec_named("iLBC", 8_000)
    assert ilbc is not None
    assert coding_format(ilbc, parse_fmtp(ilbc, "mode=20")) is None


def test_l16_says_how_much_fits_into_a_packet() -> None:
    made = coding_format(L16_16K, NoParameters())
    assert made is not None
    assert made.ptime_ms_max == 46


def test_a_format_of_a_media_description_has_its_parameters() -> None:
    attributes = (Attribute("rtpmap", "97 AMR/8000"), Attribute("fmtp", "97 octet-align=1"))
    (read,) = read_formats(Media("audio", 4000, "RTP/AVP", ("97",), attributes=attributes))
    assert read.parameters == amr(octet_aligned=True)
