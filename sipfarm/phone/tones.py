"""Sounds to send through a call: a comb and a speech-like glide up to 7 kHz, a tone code per call.

A tone code is a rhythm of pure tones between 500 and 3,300 Hz, so that every codec carries it: a
sync tone, four symbols of sixteen tones that spell the number of the call, and a check symbol, over
and over. `tone_code.py` reads it back.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

SAMPLE_RATE_HZ: Final = 16_000
COMB_TONES: Final = 6
COMBS: Final = 20

CODE_SLOT_MS: Final = 60
CODE_DIGITS: Final = 4
CODE_NUMBERS: Final = 16**CODE_DIGITS
CODE_SLOTS: Final = CODE_DIGITS + 2
CODE_PERIOD_MS: Final = CODE_SLOTS * CODE_SLOT_MS
CODE_TONES_HZ: Final = tuple(500.0 + 175.0 * symbol for symbol in range(17))
CODE_SYNC: Final = 16
"""The symbol that opens a code word."""


def comb_frequencies_hz(number: int) -> tuple[float, ...]:
    """Six tones from 700 to 7,000 Hz; the combs of two numbers below COMBS share none."""
    return tuple(700.0 + 1_050.0 * tooth + 50.0 * (number % COMBS) for tooth in range(COMB_TONES))


def tone_comb(number: int, seconds: float, level_dbfs: float = -20.0) -> Samples:
    """A steady comb of tones, half of them above 4 kHz."""
    at = _clock(seconds)
    wave = np.zeros(len(at))
    for tooth, hz in enumerate(comb_frequencies_hz(number)):
        wave += np.sin(2 * np.pi * hz * at + np.pi * tooth * tooth / COMB_TONES)
    return _at_level(wave, level_dbfs)


def speech_like(seconds: float, number: int = 0, level_dbfs: float = -20.0) -> Samples:
    """A voice-like glide: harmonics up to 7 kHz on a pitch that wanders and never repeats in 30 s.

    Loud and soft as syllables are, but never silent, so that any silence in a recording is a gap.
    """
    at = _clock(seconds)
    quick, slow = 2 * np.pi * 0.37 * at, 2 * np.pi * 0.113 * at
    sway = np.sin(quick + number) + 0.7 * np.sin(slow + 2 * number)
    pitch_hz = (120.0 + 9.0 * (number % 10)) * (1.0 + 0.18 * sway)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    wave = np.zeros(len(at))
    for harmonic in range(1, 60):
        sounding = pitch_hz * harmonic < 7_000.0
        wave += sounding * np.sin(harmonic * phase + harmonic * harmonic) / harmonic**0.5
    syllables = 0.65 + 0.35 * np.sin(2 * np.pi * 3.1 * at + number)
    return _at_level(wave * syllables, level_dbfs)


def code_symbols(number: int) -> tuple[int, ...]:
    """The symbols of one code word: sync, four digits of base 16, check."""
    if not 0 <= number < CODE_NUMBERS:
        raise ValueError(f"A call number is 0 to {CODE_NUMBERS - 1}, not {number}.")
    digits = tuple(number >> shift & 15 for shift in (12, 8, 4, 0))
    return (CODE_SYNC, *digits, code_check(digits))


def code_check(digits: tuple[int, ...]) -> int:
    """The check symbol: a weighted sum, so that one wrong digit and two swapped ones show."""
    return sum((2 * place + 1) * digit for place, digit in enumerate(digits, 1)) + 7 & 15


def tone_code(number: int, seconds: float, level_dbfs: float = -20.0) -> Samples:
    """The tone code of a call, repeated; every slot swells and fades for 4 ms, without silence."""
    slot_samples = SAMPLE_RATE_HZ * CODE_SLOT_MS // 1_000
    at = np.arange(slot_samples) / SAMPLE_RATE_HZ
    edge = slot_samples // 15
    envelope = np.ones(slot_samples)
    envelope[:edge] = np.linspace(0.25, 1.0, edge)
    envelope[-edge:] = envelope[:edge][::-1]
    tones_hz = [CODE_TONES_HZ[symbol] for symbol in code_symbols(number)]
    word = np.concatenate([np.sin(2 * np.pi * hz * at) * envelope for hz in tones_hz])
    count = round(seconds * SAMPLE_RATE_HZ)
    return _at_level(np.resize(word, count), level_dbfs)


def to_pcm16(samples: Samples) -> bytes:
    """Samples as 16-bit little-endian linear PCM, clipped at full scale."""
    clipped = np.clip(np.round(samples * 32_768.0), -32_768, 32_767)
    return clipped.astype("<i2").tobytes()


def from_pcm16(pcm: bytes) -> Samples:
    """16-bit little-endian linear PCM as samples of full scale 1.0."""
    return np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2").astype(np.float64) / 32_768.0


def _clock(seconds: float) -> Samples:
    return np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ


def _at_level(wave: Samples, level_dbfs: float) -> Samples:
    power = float(np.mean(np.square(wave))) if len(wave) else 0.0
    return wave * (10.0 ** (level_dbfs / 20.0) / np.sqrt(power)) if power > 0.0 else wave
