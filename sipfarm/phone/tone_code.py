"""Reads the tone codes out of a recording: whose call is heard, and is anybody else's heard too.

Each call sends its own code (`tones.tone_code`), so a recording that holds another number is
cross-talk, and one that lacks its own is one-way audio.
"""

from typing import Final

import numpy as np

from sipfarm.phone import tones
from sipfarm.phone.heard import CodeHeard
from sipfarm.phone.listen import Samples, goertzel_powers

STEP_MS: Final = 10
FRAME_MS: Final = 30
CROSSTALK_DB: Final = -35.0
QUIET_DBFS: Final = -60.0
CODES_MAX: Final = 64
FRAMES_AT_ONCE: Final = 4_000


def codes_heard(samples: Samples, sample_rate_hz: int, words_min: int = 2) -> tuple[CodeHeard, ...]:
    """The call numbers in a recording, most often heard first.

    One word by chance passes the check once in sixteen: a number counts from `words_min` words on.
    A fainter code is found beside a louder one unless their sync tones fall together within 45 ms.
    """
    frame = sample_rate_hz * FRAME_MS // 1_000
    step = sample_rate_hz * STEP_MS // 1_000
    if len(samples) < frame:
        return ()
    frames = np.lib.stride_tricks.sliding_window_view(samples, frame)[::step]
    powers = np.concatenate(
        [
            goertzel_powers(
                frames[at : at + FRAMES_AT_ONCE], sample_rate_hz, np.array(tones.CODE_TONES_HZ)
            )
            for at in range(0, len(frames), FRAMES_AT_ONCE)
        ]
    )
    floor = np.full(len(powers), 10.0 ** (QUIET_DBFS / 10.0))
    readings = _read_words(powers, floor)
    beside = _without_strongest(powers)
    strongest = np.max(powers, axis=1)
    readings += _read_words(beside, np.maximum(floor, strongest * 10.0 ** (CROSSTALK_DB / 10.0)))
    return _tally(readings, words_min)


def _without_strongest(powers: Samples) -> Samples:
    """The powers with the loudest code taken out, its swelling and fading tones too."""
    reach = FRAME_MS // STEP_MS - 1
    strongest = np.argmax(powers, axis=1)
    rows = np.arange(len(powers))
    beside = powers.copy()
    for shift in range(-reach, reach + 1):
        beside[rows, strongest[np.clip(rows + shift, 0, len(rows) - 1)]] = 0.0
    return beside


def _read_words(powers: Samples, floor: Samples) -> list[tuple[int, int, float]]:
    """Every code word as (number, begin in steps, power), one reading for each sync tone."""
    slot = tones.CODE_SLOT_MS // STEP_MS
    symbols = np.argmax(powers, axis=1)
    strength = np.max(powers, axis=1)
    is_sync = (symbols == tones.CODE_SYNC) & (strength > floor)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], is_sync.astype(np.int8), [0]))))
    words: list[tuple[int, int, float]] = []
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        middles = (begin + end - 1) // 2 + slot * np.arange(1, tones.CODE_SLOTS)
        if not slot // 2 <= end - begin <= slot + slot // 2 or middles[-1] + 1 >= len(powers):
            continue
        around = middles[:, None] + np.array([0, -1, 1])
        at = around[np.arange(len(middles)), np.argmax(strength[around], axis=1)]
        read = tuple(int(symbol) for symbol in symbols[at])
        digits, check = read[:-1], read[-1]
        if not bool(np.all(strength[at] > floor[at])) or max(digits) > 15:
            continue
        if tones.code_check(digits) == check:
            number = digits[0] << 12 | digits[1] << 8 | digits[2] << 4 | digits[3]
            words.append((number, begin, float(np.median(strength[at]))))
    return words


def _tally(readings: list[tuple[int, int, float]], words_min: int) -> tuple[CodeHeard, ...]:
    by_number: dict[int, list[tuple[int, float]]] = {}
    for number, begin, power in readings:
        by_number.setdefault(number, []).append((begin, power))
    heard = [
        CodeHeard(
            number=number,
            words=len(words),
            first_ms=min(begin for begin, _ in words) * STEP_MS,
            last_ms=max(begin for begin, _ in words) * STEP_MS,
            level_dbfs=round(10.0 * float(np.log10(np.median([power for _, power in words]))), 1),
        )
        for number, words in by_number.items()
        if len(words) >= words_min
    ]
    return tuple(sorted(heard, key=lambda code: (-code.words, code.number))[:CODES_MAX])
