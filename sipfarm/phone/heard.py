"""What was heard, as values.

Levels are RMS in dB against full scale (dBFS), so a full-scale sine has -3.0 dBFS.
"""

from typing import Final

import msgspec

FLOOR_DBFS: Final = -120.0
"""Stands for silence."""
QUIET_DBFS: Final = -55.0
"""What is below counts as a gap."""


class Gap(msgspec.Struct, frozen=True):
    """A quiet stretch between two sounding ones."""

    start_ms: int
    length_ms: int


class Likeness(msgspec.Struct, frozen=True):
    """How a recording compares with what was played at the far end."""

    delay_ms: float
    """From the start of the reference to where the recording holds it."""
    level_difference_db: float
    """Recording against reference, over the stretch both cover."""
    correlation: float
    """1.0 is the same wave; the median over segments."""
    worst_correlation: float
    compared_s: float


class Heard(msgspec.Struct, frozen=True):
    """A recording in figures."""

    seconds: float
    level_dbfs: float
    tones_hz: tuple[float, ...]
    gaps: tuple[Gap, ...]
    wideband_db: float
    """Power above 4 kHz against the whole; FLOOR_DBFS where there is none."""


class CodeHeard(msgspec.Struct, frozen=True):
    """A call number in a recording."""

    number: int
    words: int
    """How many whole code words were read."""
    first_ms: int
    last_ms: int
    """Where the last of them begins."""
    level_dbfs: float
