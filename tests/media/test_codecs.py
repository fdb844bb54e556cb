"""What the plane's codecs do to tones and speech, packet by packet."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.native import CodecDecoder, CodecEncoder, CodecFormat, build_info
from tests.media.signals import (
    delay_of,
    heard,
    level,
    loudest_hz,
    packets,
    snr_of_tone,
    speech,
    through,
    tone,
)


def opus(rate_hz: int, **parameters: bool | int) -> CodecFormat:
    return CodecFormat("opus", 48_000, rate_hz, channels=2, **parameters)


PCMU = CodecFormat("PCMU", 8_000, 8_000)
PCMA = CodecFormat("PCMA", 8_000, 8_000)
G722 = CodecFormat("G722", 8_000, 16_000)
G726 = CodecFormat("G726-32", 8_000, 8_000)
GSM = CodecFormat("GSM", 8_000, 8_000)
AMR = CodecFormat("AMR", 8_000, 8_000)
AMR_WB = CodecFormat("AMR-WB", 16_000, 16_000)
G729 = CodecFormat("G729", 8_000, 8_000)
L16 = CodecFormat("L16", 16_000, 16_000)
L16_STEREO = CodecFormat("L16", 16_000, 16_000, channels=2)
SPEEX = CodecFormat("speex", 8_000, 8_000)

# Signal to noise of a tone of 1 kHz in dB, and delay in samples.
CODINGS = [
    pytest.param(PCMU, 36, 0, id="PCMU"),
    pytest.param(PCMA, 36, 0, id="PCMA"),
    pytest.param(G722, 40, 22, id="G722"),
    pytest.param(G726, 30, 0, id="G726-32"),
    pytest.param(GSM, 20, 0, id="GSM"),
    pytest.param(AMR, 25, 40, id="AMR"),
    pytest.param(AMR_WB, 25, 95, id="AMR-WB"),
    pytest.param(G729, 20, 40, id="G729"),
    pytest.param(L16, 60, 0, id="L16"),
    pytest.param(L16_STEREO, 60, 0, id="L16/2"),
    pytest.param(CodecFormat("L16", 48_000, 48_000), 60, 0, id="L16 at 48k"),
    pytest.param(SPEEX, 20, 80, id="speex"),
    pytest.param(CodecFormat("speex", 16_000, 16_000), 17, 223, id="speex at 16k"),
    pytest.param(CodecFormat("speex", 32_000, 32_000), 17, 509, id="speex at 32k"),
    pytest.param(opus(8_000), 25, 52, id="opus at 8k"),
    pytest.param(opus(12_000), 25, 78, id="opus at 12k"),
    pytest.param(opus(16_000), 25, 104, id="opus at 16k"),
    pytest.param(opus(24_000), 12, 156, id="opus at 24k"),
    pytest.param(opus(48_000), 12, 312, id="opus at 48k"),
]
RATES_OF_OPUS = (8_000, 12_000, 16_000, 24_000, 48_000)


def ptimes_of(coding: CodecFormat) -> list[int]:
    frame_ms = CodecEncoder(coding).quantum * 1_000 // coding.sample_rate_hz
    return [
        ms for ms in range(10, min(60, coding.ptime_ms_max) + 1, 10) if not ms % (frame_ms or 1)
    ]


def test_this_build_has_every_codec() -> None:
    assert set(build_info()["codecs"].split(",")) == {
        "PCMU", "PCMA", "G722", "opus", "L16", "G726-32", "GSM", "AMR", "AMR-WB", "G729", "speex",
    }  # fmt: skip


@pytest.mark.parametrize(("coding", "snr", "delay"), CODINGS)
def test_a_tone_comes_out_as_it_went_in(coding: CodecFormat, snr: float, delay: int) -> None:
    rate_hz = coding.sample_rate_hz
    pcm = tone(rate_hz, 1_000, seconds=1)
    out = through(coding, pcm, min(20, coding.ptime_ms_max // 10 * 10))
    assert len(out) == len(pcm)
    settled = out[rate_hz // 4 :]
    assert loudest_hz(settled, rate_hz) == pytest.approx(1_000, abs=2)
    assert snr_of_tone(settled, rate_hz, 1_000) > snr
    assert 0.8 < level(settled) / level(pcm) < 1.2


@pytest.mark.parametrize(("coding", "snr", "delay"), CODINGS)
def test_speech_comes_out_as_late_as_is_known(coding: CodecFormat, snr: float, delay: int) -> None:
    rate_hz = coding.sample_rate_hz
    pcm = speech(rate_hz, seconds=1)
    out = through(coding, pcm, min(20, coding.ptime_ms_max // 10 * 10))
    assert delay_of(out, pcm, most=rate_hz // 50) == pytest.approx(delay, abs=rate_hz // 4_000)
    assert 0.8 < level(out) / level(pcm) < 1.2


@pytest.mark.parametrize(("coding", "snr", "delay"), CODINGS)
def test_any_packet_time_of_10_to_60_ms_goes(coding: CodecFormat, snr: float, delay: int) -> None:
    rate_hz = coding.sample_rate_hz
    pcm = speech(rate_hz, seconds=0.6)
    for ptime_ms in ptimes_of(coding):
        out = through(coding, pcm, ptime_ms)  # asserts the length of each packet
        assert 0.7 < level(out) / level(pcm[: len(out)]) < 1.3


@pytest.mark.parametrize("coding", [PCMU, G722, G726, GSM, AMR, AMR_WB, G729, L16, SPEEX])
def test_what_is_heard_does_not_depend_on_the_packet_time(coding: CodecFormat) -> None:
    pcm = speech(coding.sample_rate_hz, seconds=0.6)
    first, *others = (through(coding, pcm, ptime_ms) for ptime_ms in ptimes_of(coding))
    for other in others:
        assert np.array_equal(first[: len(other)], other[: len(first)])


@pytest.mark.parametrize("rate_hz", RATES_OF_OPUS)
def test_opus_packets_are_heard_at_any_rate(rate_hz: int) -> None:
    sent = packets(CodecEncoder(opus(48_000)), tone(48_000, 1_000, 0.6), 48_000)
    decoder = CodecDecoder(opus(rate_hz))
    out = np.concatenate([heard(decoder.decode(payload)) for payload in sent])
    assert len(out) == rate_hz * 6 // 10
    assert loudest_hz(out[rate_hz // 4 :], rate_hz) == pytest.approx(1_000, abs=3)


@pytest.mark.parametrize("ptime_ms", [30, 50, 70, 90, 110])
def test_opus_makes_several_frames_of_a_time_that_no_frame_has(ptime_ms: int) -> None:
    pcm = speech(16_000, seconds=1.2)
    out = through(opus(16_000), pcm, ptime_ms)
    assert level(out) == pytest.approx(level(pcm[: len(out)]), rel=0.2)


@pytest.mark.parametrize("clock_rate_hz", [16_000, 32_000])
def test_wide_speex_is_heard_at_8_khz_without_its_upper_layers(clock_rate_hz: int) -> None:
    wide = CodecFormat("speex", clock_rate_hz, clock_rate_hz)
    sent = packets(CodecEncoder(wide), tone(clock_rate_hz, 1_000, 1), clock_rate_hz)
    decoder = CodecDecoder(CodecFormat("speex", clock_rate_hz, 8_000))
    out = np.concatenate([heard(decoder.decode(payload)) for payload in sent])
    assert len(out) == 8_000
    assert snr_of_tone(out[2_000:], 8_000, 1_000) > 15


def test_narrow_frames_of_speex_are_heard_at_a_wide_clock() -> None:
    sent = packets(CodecEncoder(CodecFormat("speex", 16_000, 8_000)), tone(8_000, 1_000, 1), 8_000)
    decoder = CodecDecoder(CodecFormat("speex", 16_000, 16_000))
    out = np.concatenate([heard(decoder.decode(payload)) for payload in sent])
    assert loudest_hz(out, 16_000) == pytest.approx(1_000, abs=2)


def test_two_channels_are_mixed_down() -> None:
    stereo = np.stack([np.full(320, 1_000, ">i2"), np.full(320, -3_000, ">i2")], 1)
    out = heard(CodecDecoder(L16_STEREO).decode(stereo.astype(">i2").tobytes()))
    assert set(out) == {-1_000}


def test_l16_is_in_network_order() -> None:
    pcm = np.array([1, -2, 32_767, -32_768], np.int16)
    assert CodecEncoder(L16).encode(pcm.tobytes()) == bytes.fromhex("0001fffe7fff8000")


@pytest.mark.parametrize(
    ("coding", "because"),
    [
        (CodecFormat("G722", 16_000, 16_000), "clock"),
        (CodecFormat("G722", 8_000, 8_000), "sample rate"),
        (CodecFormat("opus", 48_000, 48_000, channels=1), "two channels"),
        (CodecFormat("opus", 16_000, 16_000, channels=2), "48,000"),
        (CodecFormat("opus", 48_000, 44_100, channels=2), "8, 12, 16, 24 or 48"),
        (CodecFormat("speex", 16_000, 32_000), "up to its clock"),
        (CodecFormat("L16", 48_000, 48_000, channels=2), "10 ms do not fit"),
        (CodecFormat("L16", 8_000, 16_000), "clock rate"),
        (CodecFormat("PCMU", 8_000, 8_000, channels=2), "one channel"),
    ],
)
def test_what_cannot_be_done_says_why(coding: CodecFormat, because: str) -> None:
    assert because in (coding.objection or "")
    with pytest.raises(ValueError, match=because):
        CodecEncoder(coding)
    with pytest.raises(ValueError, match=because):
        CodecDecoder(coding)


@pytest.mark.parametrize(
    ("most", "loudest"), [(8_000, 4_000), (16_000, 8_000), (24_000, 12_000), (0, 20_000)]
)
def test_opus_sends_no_more_than_the_far_end_plays(most: int, loudest: int) -> None:
    draw = np.random.default_rng(3)
    noise = draw.normal(0, 3_000, 48_000).astype(np.int16)
    out = through(opus(48_000, max_playback_rate_hz=most, bitrate=64_000), noise)
    spectrum = np.abs(np.fft.rfft(out[12_000:].astype(float))) ** 2
    hz = np.fft.rfftfreq(36_000, 1 / 48_000)
    above = float(np.sum(spectrum[hz > loudest * 1.15]) / np.sum(spectrum))
    assert above < 0.01
    assert float(np.sum(spectrum[hz > loudest * 0.6]) / np.sum(spectrum)) > 0.05


@pytest.mark.parametrize("bitrate", [8_000, 16_000, 48_000])
def test_opus_keeps_to_the_bit_rate_asked_for(bitrate: int) -> None:
    pcm = speech(16_000, 2)
    sizes = [len(p) for p in packets(CodecEncoder(opus(16_000, bitrate=bitrate)), pcm, 16_000)]
    assert np.mean(sizes) * 8 * 50 < bitrate * 1.1
    constant = opus(16_000, bitrate=bitrate, cbr=True)
    assert {len(p) for p in packets(CodecEncoder(constant), pcm, 16_000)} == {bitrate // 400}


@pytest.mark.parametrize("mode", range(1, 9))
def test_speex_sends_the_mode_that_is_asked_for(mode: int) -> None:
    bits = {1: 43, 2: 119, 3: 160, 4: 220, 5: 300, 6: 364, 7: 492, 8: 79}[mode]
    encoder = CodecEncoder(CodecFormat("speex", 8_000, 8_000, mode=mode))
    payload = packets(encoder, speech(8_000, 0.1), 8_000)[0]
    assert (len(payload), payload[0] >> 3) == ((bits + 7) // 8, mode)


CLEAN = [PCMU, PCMA, G722, G726, GSM, AMR, AMR_WB, G729, L16, L16_STEREO, SPEEX, opus(16_000)]


@given(st.sampled_from(CLEAN), st.lists(st.binary(max_size=400), max_size=6))
def test_any_bytes_are_a_payload_or_none(coding: CodecFormat, payloads: list[bytes]) -> None:
    decoder = CodecDecoder(coding)
    for payload in payloads:
        announced = decoder.duration(payload)
        assert announced <= coding.sample_rate_hz * 12 // 100
        assert len(heard(decoder.decode(payload))) in {0, announced}
        assert len(heard(decoder.conceal(37))) == 37


def test_pcm_that_is_no_whole_number_of_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number of frames"):
        CodecEncoder(GSM).encode(bytes(2 * 159))
    with pytest.raises(ValueError, match="even number"):
        CodecEncoder(PCMU).encode(bytes(3))
