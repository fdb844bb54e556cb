"""Packets that never come: concealment, and Opus FEC."""

from itertools import pairwise

import numpy as np
import pytest

from sipfarm.native import CodecDecoder, CodecEncoder, CodecFormat
from tests.media.signals import Samples, heard, level, levels_ms, lossy, packets, speech, tone

PCMU = CodecFormat("PCMU", 8_000, 8_000)
G722 = CodecFormat("G722", 8_000, 16_000)
L16 = CodecFormat("L16", 16_000, 16_000)
OURS = [
    PCMU,
    CodecFormat("PCMA", 8_000, 8_000),
    G722,
    CodecFormat("G726-32", 8_000, 8_000),
    CodecFormat("GSM", 8_000, 8_000),
    CodecFormat("L16", 8_000, 8_000),
    L16,
    CodecFormat("L16", 32_000, 32_000),
]
"""Codecs without a concealment of their own."""

THEIRS = [
    CodecFormat("AMR", 8_000, 8_000),
    CodecFormat("AMR-WB", 16_000, 16_000),
    CodecFormat("G729", 8_000, 8_000),
    CodecFormat("speex", 8_000, 8_000),
    CodecFormat("speex", 16_000, 16_000),
    *(CodecFormat("opus", 48_000, rate, channels=2) for rate in (8_000, 16_000, 48_000)),
]


def opus(rate_hz: int) -> CodecFormat:
    return CodecFormat("opus", 48_000, rate_hz, channels=2, fec=True, bitrate=32_000)


def drawn(percent: float, count: int) -> set[int]:
    draw = np.random.default_rng(5)
    lost = {int(n) for n in np.flatnonzero(draw.random(count) < percent / 100) if n > 25}
    assert len(lost) >= 3
    return lost


@pytest.mark.parametrize("coding", OURS)
def test_three_per_cent_of_loss_leave_the_energy_of_a_chord_where_it_was(
    coding: CodecFormat,
) -> None:
    rate_hz = coding.sample_rate_hz
    pcm = tone(rate_hz, 150, 4, 5_000) + tone(rate_hz, 300, 4, 5_000)
    whole, broken = lossy(coding, pcm, set()), lossy(coding, pcm, drawn(3, 200))
    usual = level(whole[rate_hz // 2 :])
    for ten_ms in levels_ms(broken[rate_hz // 2 :], rate_hz):
        assert 0.4 * usual < ten_ms < 1.3 * usual


@pytest.mark.parametrize("coding", OURS + THEIRS)
def test_three_per_cent_of_loss_neither_silence_speech_nor_make_it_bang(
    coding: CodecFormat,
) -> None:
    rate_hz = coding.sample_rate_hz
    pcm = speech(rate_hz, 4)
    whole, broken = lossy(coding, pcm, set()), lossy(coding, pcm, drawn(3, 200))
    assert 0.6 * level(whole) < level(broken) < 1.15 * level(whole)
    loudest = max(levels_ms(whole, rate_hz))
    assert max(levels_ms(broken, rate_hz)) < 1.6 * loudest


@pytest.mark.parametrize("coding", OURS)
def test_a_gap_in_a_vowel_is_filled_with_its_like(coding: CodecFormat) -> None:
    rate_hz = coding.sample_rate_hz
    pcm = np.sum([tone(rate_hz, 125 * n, 1, 6_000 / n) for n in range(1, 8)], 0).astype(np.int16)
    whole, broken = lossy(coding, pcm, set()), lossy(coding, pcm, {30})
    start = 30 * rate_hz // 50
    gap = slice(start, start + rate_hz // 100)  # 10 ms at full level
    error = level((whole[gap].astype(int) - broken[gap]).astype(np.int16))
    assert error < 0.2 * level(whole[gap])


@pytest.mark.parametrize("coding", OURS)
def test_a_long_gap_fades_out_and_speech_comes_back_without_a_click(coding: CodecFormat) -> None:
    rate_hz = coding.sample_rate_hz
    pcm = tone(rate_hz, 200, 1, 9_000)
    out = lossy(coding, pcm, set(range(20, 30)))
    start, end = 20 * rate_hz // 50, 30 * rate_hz // 50
    faded = levels_ms(out[start:end], rate_hz)
    assert all(later <= earlier * 1.1 + 1 for earlier, later in pairwise(faded))
    assert faded[2] > 0.5 * faded[0]
    assert max(faded[7:]) == 0
    steps = np.abs(np.diff(out[end - 10 : end + rate_hz // 50].astype(int)))
    steepest = 2 * np.pi * 200 / rate_hz * 9_000
    assert max(steps) < 2 * steepest + 600


def test_after_a_gap_g722_goes_on_from_where_it_was() -> None:
    """The predictors are held: some hundred milliseconds later nothing is left of the loss."""
    pcm = speech(16_000, 3)
    whole, broken = lossy(G722, pcm, set()), lossy(G722, pcm, {40})
    later = slice(60 * 320, 75 * 320)
    error = level((whole[later].astype(int) - broken[later]).astype(np.int16))
    assert error < 0.05 * level(whole[later])


def received(coding: CodecFormat, sent: list[bytes], lost: set[int], *, fec: bool) -> Samples:
    decoder = CodecDecoder(coding)
    size = coding.sample_rate_hz // 50
    out: list[Samples] = []
    for number, payload in enumerate(sent):
        if number not in lost:
            out.append(heard(decoder.decode(payload)))
        elif fec and number + 1 < len(sent):
            out.append(heard(decoder.recover(sent[number + 1], size)))
        else:
            out.append(heard(decoder.conceal(size)))
    return np.concatenate(out)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_opus_fec_brings_back_what_concealment_can_only_guess(rate_hz: int) -> None:
    coding = opus(rate_hz)
    encoder = CodecEncoder(coding)
    encoder.expect_loss(20)
    sent = packets(encoder, speech(rate_hz, 4), rate_hz)
    lost = set(range(20, 200, 7))
    whole = received(coding, sent, set(), fec=False)
    size = rate_hz // 50

    def errors(fec: bool) -> float:
        broken = received(coding, sent, lost, fec=fec)
        gaps = np.concatenate([np.arange(n * size, (n + 1) * size) for n in sorted(lost)])
        return level((whole[gaps].astype(int) - broken[gaps]).astype(np.int16))

    assert errors(fec=True) < 0.6 * errors(fec=False)


def test_of_a_longer_gap_fec_brings_back_the_end() -> None:
    coding = opus(16_000)
    encoder = CodecEncoder(coding)
    encoder.expect_loss(20)
    sent = packets(encoder, speech(16_000, 2), 16_000)
    whole = received(coding, sent, set(), fec=False)
    last = max(range(10, 90), key=lambda n: level(whole[n * 320 : (n + 1) * 320]))
    decoder = CodecDecoder(coding)
    for payload in sent[: last - 2]:
        decoder.decode(payload)
    gap = heard(decoder.recover(sent[last + 1], 3 * 320))
    assert len(gap) == 960
    end = whole[last * 320 : (last + 1) * 320]
    assert level((gap[640:].astype(int) - end).astype(np.int16)) < 0.7 * level(end)


def test_without_fec_in_it_a_packet_is_no_worse_than_concealment() -> None:
    coding = CodecFormat("opus", 48_000, 16_000, channels=2)
    sent = packets(CodecEncoder(coding), speech(16_000, 1), 16_000)
    one, other = CodecDecoder(coding), CodecDecoder(coding)
    for payload in sent[:20]:
        assert one.decode(payload) == other.decode(payload)
    assert level(heard(one.recover(sent[21], 320))) == pytest.approx(
        level(heard(other.conceal(320))), rel=0.5
    )
    assert len(one.recover(b"", 320)) == 640
    assert len(one.recover(sent[22], 321)) == 642


@pytest.mark.parametrize("coding", [*OURS, *THEIRS])
@pytest.mark.parametrize("samples", [0, 1, 79, 333, 5_000])
def test_a_gap_of_any_length_is_filled(coding: CodecFormat, samples: int) -> None:
    decoder = CodecDecoder(coding)
    payload = packets(
        CodecEncoder(coding), speech(coding.sample_rate_hz, 0.1), coding.sample_rate_hz
    )
    for _ in range(3):
        assert len(heard(decoder.conceal(samples))) == samples
        assert len(heard(decoder.recover(payload[0], samples))) == samples
        decoder.decode(payload[0])
