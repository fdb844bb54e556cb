"""Our codecs against those of FFmpeg: what one writes the other reads."""

import importlib
import io
import warnings
from fractions import Fraction

import av
import numpy as np
import pytest

from sipfarm.native import CodecDecoder, CodecEncoder, CodecFormat
from tests.media.signals import Samples, delay_of, heard, level, packets, snr_of_tone, speech, tone

PCMU = CodecFormat("PCMU", 8_000, 8_000)
PCMA = CodecFormat("PCMA", 8_000, 8_000)
G722 = CodecFormat("G722", 8_000, 16_000)
G726 = CodecFormat("G726-32", 8_000, 8_000)
GSM = CodecFormat("GSM", 8_000, 8_000)


def loud(rate_hz: int) -> Samples:
    """Speech, a tone that clips, and noise at full level."""
    draw = np.random.default_rng(6)
    noise = draw.integers(-32_768, 32_768, rate_hz).astype(np.int16)
    clipped = np.clip(3.0 * tone(rate_hz, 400, 1, 20_000), -32_768, 32_767).astype(np.int16)
    return np.concatenate([speech(rate_hz, 2), clipped, noise])


def their_decoding(codec: str, sent: list[bytes], rate_hz: int) -> Samples:
    context = av.CodecContext.create(codec, "r")
    context.sample_rate = rate_hz
    context.layout = "mono"
    frames = [frame for payload in sent for frame in context.decode(av.Packet(payload))]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])


def their_encoding(codec: str, pcm: Samples, rate_hz: int, bit_rate: int) -> list[bytes]:
    context = av.CodecContext.create(codec, "w")
    context.sample_rate = rate_hz
    context.layout = "mono"
    context.format = "s16"
    context.bit_rate = bit_rate
    context.time_base = Fraction(1, rate_hz)
    context.open()
    size = context.frame_size or rate_hz // 50
    out: list[bytes] = []
    for at in range(0, len(pcm) - size + 1, size):
        frame = av.AudioFrame.from_ndarray(pcm[None, at : at + size].copy(), "s16", "mono")
        frame.sample_rate = rate_hz
        frame.pts = at
        out += [bytes(packet) for packet in context.encode(frame)]
    return out


def our_decoding(coding: CodecFormat, sent: list[bytes]) -> Samples:
    decoder = CodecDecoder(coding)
    return np.concatenate([heard(decoder.decode(payload)) for payload in sent])


@pytest.mark.parametrize(
    ("coding", "codec"),
    [(PCMU, "pcm_mulaw"), (PCMA, "pcm_alaw"), (G722, "g722"), (GSM, "gsm")],
)
def test_ffmpeg_hears_the_same_samples(coding: CodecFormat, codec: str) -> None:
    rate_hz = coding.sample_rate_hz
    pcm = speech(rate_hz, 3) if coding is GSM else loud(rate_hz)  # the two clip GSM differently
    sent = packets(CodecEncoder(coding), pcm, rate_hz)
    ours = our_decoding(coding, sent)
    theirs = their_decoding(codec, sent, coding.sample_rate_hz)
    assert np.array_equal(ours, theirs)


def test_g722_has_the_same_bits_as_ffmpeg() -> None:
    pcm = loud(16_000)
    ours = b"".join(packets(CodecEncoder(G722), pcm, 16_000))
    theirs = b"".join(their_encoding("g722", pcm, 16_000, 64_000))
    assert ours[: len(theirs)] == theirs


def test_a_payload_of_20_ms_of_g722_has_160_bytes_and_320_samples() -> None:
    """RTP counts 8,000 a second, and 16,000 are heard (RFC 3551 §4.5.2)."""
    payload = CodecEncoder(G722).encode(tone(16_000, 440, 0.02).tobytes())
    assert len(payload) == 160
    assert CodecDecoder(G722).duration(payload) == 320


def their_g711(law: str, pcm: Samples) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = importlib.import_module("audioop")
    return getattr(audioop, f"lin2{law}")(pcm.tobytes(), 2)


@pytest.mark.parametrize(("coding", "law"), [(PCMU, "ulaw"), (PCMA, "alaw")])
def test_g711_has_the_codes_of_audioop(coding: CodecFormat, law: str) -> None:
    pcm = np.arange(-32_768, 32_768).astype(np.int16)
    encoder = CodecEncoder(coding)
    ours = b"".join(encoder.encode(pcm[at : at + 256].tobytes()) for at in range(0, len(pcm), 256))
    same = np.frombuffer(ours, np.uint8) == np.frombuffer(their_g711(law, pcm), np.uint8)
    if law == "ulaw":  # audioop rounds to 14 bits first, negative values away from zero
        same = same[(pcm >= 0) | (pcm % 4 == 0)]
    assert same.all()


def test_each_code_of_g711_comes_back() -> None:
    for coding, twins in ((PCMU, {0x7F: 0xFF}), (PCMA, dict[int, int]())):  # +0 and -0
        codes = bytes(range(256))
        pcm = heard(CodecDecoder(coding).decode(codes))
        expected = bytes(twins.get(code, code) for code in codes)
        assert CodecEncoder(coding).encode(pcm.tobytes()) == expected


def test_the_first_sample_of_g726_is_in_the_lower_bits() -> None:
    """RFC 3551 §4.5.4; G726 of AAL2 has them the other way round, and is noise to us."""
    pcm = tone(8_000, 600, 2)
    right, wrong = (
        our_decoding(G726, [whole[at : at + 80] for at in range(0, len(whole), 80)])
        for whole in (
            b"".join(their_encoding(codec, pcm, 8_000, 32_000)) for codec in ("g726le", "g726")
        )
    )
    assert snr_of_tone(right[2_000:], 8_000, 600) > 25
    assert snr_of_tone(wrong[2_000:], 8_000, 600) < 10


def test_ffmpeg_reads_our_g726() -> None:
    sent = b"".join(packets(CodecEncoder(G726), tone(8_000, 600, 2), 8_000))
    options = {"code_size": "4", "sample_rate": "8000"}
    with av.open(io.BytesIO(sent), format="g726le", options=options) as container:
        frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    theirs = np.concatenate(frames)
    assert snr_of_tone(theirs[2_000:15_000], 8_000, 600) > 25


@pytest.mark.parametrize("wide", [False, True])
def test_ffmpeg_reads_the_frames_of_our_amr(wide: bool) -> None:
    """A payload of one octet-aligned frame, without its CMR, is a frame of the storage format."""
    rate_hz = 16_000 if wide else 8_000
    name = "AMR-WB" if wide else "AMR"
    coding = CodecFormat(name, rate_hz, rate_hz, octet_aligned=True)
    pcm = speech(rate_hz, 2)
    sent = packets(CodecEncoder(coding), pcm, rate_hz)
    theirs = their_decoding("amrwb" if wide else "amrnb", [p[1:] for p in sent], rate_hz)
    if theirs.dtype != np.int16:
        theirs = (theirs * 32_768).astype(np.int16)
    assert delay_of(theirs, our_decoding(coding, sent), rate_hz // 50) < rate_hz // 200
    assert level(theirs) == pytest.approx(level(pcm), rel=0.25)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_two_channels_of_opus_are_mixed_down(rate_hz: int) -> None:
    context = av.CodecContext.create("libopus", "w")
    context.sample_rate = 48_000
    context.layout = "stereo"
    context.format = "s16"
    context.bit_rate = 96_000
    context.time_base = Fraction(1, 48_000)
    context.open()
    both = np.stack([tone(48_000, 700, 1), tone(48_000, 1_900, 1)], 1)
    sent: list[bytes] = []
    for at in range(0, len(both), 960):
        frame = av.AudioFrame.from_ndarray(both[at : at + 960].reshape(1, -1), "s16", "stereo")
        frame.sample_rate = 48_000
        frame.pts = at
        sent += [bytes(packet) for packet in context.encode(frame)]
    out = our_decoding(CodecFormat("opus", 48_000, rate_hz, channels=2), sent)
    assert len(out) == len(sent) * rate_hz // 50
    settled = out[rate_hz // 4 :]
    spectrum = np.abs(np.fft.rfft(settled * np.hanning(len(settled))))
    hz = np.fft.rfftfreq(len(settled), 1 / rate_hz)
    near = [max(spectrum[np.abs(hz - wanted) < 10]) for wanted in (700, 1_900)]
    assert 0.5 < near[0] / near[1] < 2
    assert min(near) > 50 * np.median(spectrum)


def test_ffmpeg_reads_our_opus() -> None:
    coding = CodecFormat("opus", 48_000, 48_000, channels=2)
    pcm = speech(48_000, 1)
    sent = packets(CodecEncoder(coding), pcm, 48_000)
    theirs = their_decoding("libopus", sent, 48_000)
    ours = our_decoding(coding, sent)
    assert len(theirs) >= len(ours) // 2
    assert level(theirs) == pytest.approx(level(ours), rel=0.2)
