"""Reads and writes 16-bit mono wav files."""

import wave
from pathlib import Path
from typing import Final

from sipfarm.phone.tones import SAMPLE_RATE_HZ, Samples, from_pcm16, to_pcm16

LISTEN_S_MAX: Final = 600


def read_wav(path: Path, seconds_max: int = LISTEN_S_MAX) -> tuple[Samples, int]:
    """Samples, of the first `seconds_max` at most, and sample rate.

    Raises ValueError with a sentence for what is no such file.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if file.getnchannels() != 1 or file.getsampwidth() != 2:
                raise ValueError(f"{path} is not a 16-bit mono wav file.")
            sample_rate_hz = file.getframerate()
            count = min(file.getnframes(), seconds_max * sample_rate_hz)
            return from_pcm16(file.readframes(count)), sample_rate_hz
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path} is not a wav file: {error}.") from error


def write_wav(path: Path, samples: Samples, sample_rate_hz: int = SAMPLE_RATE_HZ) -> None:
    """Write samples as 16-bit linear PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(to_pcm16(samples))
