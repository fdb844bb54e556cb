"""Signals for tests of codecs, and what can be said of one after it went through."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sipfarm.native import CodecDecoder, CodecEncoder, CodecFormat

Samples = NDArray[np.int16]


def tone(rate_hz: int, hz: float, seconds: float, level: float = 8_000) -> Samples:
    t = np.arange(int(rate_hz * seconds)) / rate_hz
    return (level * np.sin(2 * np.pi * hz * t)).astype(np.int16)


def speech(rate_hz: int, seconds: float, seed: int = 1) -> Samples:
    """Voiced sounds with a gliding pitch, formants and syllables, and a little noise."""
    draw = np.random.default_rng(seed)
    t = np.arange(int(rate_hz * seconds)) / rate_hz
    pitch_hz = 130 + 30 * np.sin(2 * np.pi * 0.7 * t) + 10 * np.sin(2 * np.pi * 2.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    voice = np.zeros_like(t)
    for harmonic in range(1, 28):
        hz = harmonic * 130
        if hz > rate_hz * 0.45:
            break
        formants = sum(
            weight / (1 + ((hz - centre) / width) ** 2)
            for centre, width, weight in ((500, 120, 1.0), (1_500, 200, 0.5), (2_500, 250, 0.3))
        )
        voice += formants * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 3.1 * t) + 0.5, 0, 1)
    return (4_500 * voice * syllables + draw.normal(0, 25, len(t))).astype(np.int16)


def packets(encoder: CodecEncoder, pcm: Samples, rate_hz: int, ptime_ms: int = 20) -> list[bytes]:
    size = rate_hz * ptime_ms // 1_000
    whole = len(pcm) // size * size
    return [encoder.encode(pcm[at : at + size].tobytes()) for at in range(0, whole, size)]


def heard(payload_pcm: bytes) -> Samples:
    return np.frombuffer(payload_pcm, np.int16)


def through(coding: CodecFormat, pcm: Samples, ptime_ms: int = 20) -> Samples:
    """Encoded and decoded, packet by packet, each of the right length."""
    rate_hz = coding.sample_rate_hz
    decoder = CodecDecoder(coding)
    out: list[Samples] = []
    for payload in packets(CodecEncoder(coding), pcm, rate_hz, ptime_ms):
        out.append(heard(decoder.decode(payload)))
        assert len(out[-1]) == decoder.duration(payload) == rate_hz * ptime_ms // 1_000
    return np.concatenate(out)


def snr_of_tone(pcm: Samples, rate_hz: int, hz: float) -> float:
    """How far a tone stands above all else, in dB; gain and delay do not matter."""
    t = np.arange(len(pcm)) / rate_hz
    basis = np.stack([np.sin(2 * np.pi * hz * t), np.cos(2 * np.pi * hz * t), np.ones(len(t))], 1)
    fit, *_ = np.linalg.lstsq(basis, pcm.astype(float), rcond=None)
    rest = pcm - basis @ fit
    return float(10 * np.log10(np.sum((basis @ fit) ** 2) / (np.sum(rest**2) + 1)))


def loudest_hz(pcm: Samples, rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum) * rate_hz / len(pcm))


def level(pcm: Samples) -> float:
    return float(np.sqrt(np.mean(pcm.astype(float) ** 2)))


def delay_of(out: Samples, pcm: Samples, most: int) -> int:
    """The shift at which two signals are most alike."""
    size = 2 * max(len(out), len(pcm))
    spectra = np.fft.rfft(out, size) * np.conj(np.fft.rfft(pcm, size))
    return int(np.argmax(np.fft.irfft(spectra, size)[:most]))


def levels_ms(pcm: Samples, rate_hz: int, ms: int = 10) -> list[float]:
    size = rate_hz * ms // 1_000
    return [level(pcm[a:b]) for a, b in pairwise(range(0, len(pcm) + 1, size))]


def lossy(coding: CodecFormat, pcm: Samples, lost: set[int]) -> Samples:
    """As `through`, but the packets of these numbers are concealed."""
    decoder = CodecDecoder(coding)
    size = coding.sample_rate_hz // 50
    sent = packets(CodecEncoder(coding), pcm, coding.sample_rate_hz)
    out = [
        heard(decoder.conceal(size) if number in lost else decoder.decode(payload))
        for number, payload in enumerate(sent)
    ]
    return np.concatenate(out)
