"""What a recording says about a call: level, gaps, tones, bandwidth, likeness to what was sent.

Samples are float64 arrays, full scale 1.0.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sipfarm.phone import tones
from sipfarm.phone.heard import FLOOR_DBFS, QUIET_DBFS, Gap, Heard, Likeness

Samples = NDArray[np.float64]

FRAME_MS: Final = 5
TONES_MAX: Final = 32
NOTHING: Final = np.zeros(0)
GAPS_MAX: Final = 1_000
SEGMENT_MS: Final = 500


def hear(samples: Samples, sample_rate_hz: int, tones_max: int = 8) -> Heard:
    """Listen to a recording; level, tones and bandwidth are of its sounding part."""
    start, end = sounding_span(samples, sample_rate_hz)
    sounding = samples[start:end]
    return Heard(
        seconds=round(len(samples) / sample_rate_hz, 3),
        level_dbfs=round(level_dbfs(sounding), 1),
        tones_hz=tuple(
            round(tone, 1) for tone in dominant_tones(sounding, sample_rate_hz, tones_max)
        ),
        gaps=gaps(samples, sample_rate_hz),
        wideband_db=round(wideband_db(sounding, sample_rate_hz), 1),
    )


def to_dbfs(power: float) -> float:
    """Mean square to dBFS, never below the floor."""
    return max(FLOOR_DBFS, 10.0 * float(np.log10(power))) if power > 0.0 else FLOOR_DBFS


def level_dbfs(samples: Samples) -> float:
    """RMS level of all samples."""
    return to_dbfs(float(np.mean(np.square(samples)))) if len(samples) else FLOOR_DBFS


def frame_powers(samples: Samples, frame_samples: int) -> Samples:
    """Mean square of each whole frame."""
    count = len(samples) // frame_samples
    if count == 0:
        return np.zeros(0)
    frames = samples[: count * frame_samples].reshape(count, frame_samples)
    return np.mean(np.square(frames), axis=1)


def sounding_span(
    samples: Samples, sample_rate_hz: int, quiet_dbfs: float = QUIET_DBFS
) -> tuple[int, int]:
    """First and one past the last sample of what is not quiet; (0, 0) where all is."""
    frame_samples = sample_rate_hz * FRAME_MS // 1_000
    loud = np.flatnonzero(frame_powers(samples, frame_samples) > _power(quiet_dbfs))
    if len(loud) == 0:
        return 0, 0
    return int(loud[0]) * frame_samples, (int(loud[-1]) + 1) * frame_samples


def gaps(
    samples: Samples,
    sample_rate_hz: int,
    quiet_dbfs: float = QUIET_DBFS,
    shortest_ms: int = 15,
) -> tuple[Gap, ...]:
    """Quiet stretches inside the sounding part, to FRAME_MS; the first GAPS_MAX of them."""
    frame_samples = sample_rate_hz * FRAME_MS // 1_000
    loud = np.flatnonzero(frame_powers(samples, frame_samples) > _power(quiet_dbfs))
    quiet_frames = np.diff(loud) - 1
    found = np.flatnonzero(quiet_frames * FRAME_MS >= shortest_ms)[:GAPS_MAX]
    return tuple(
        Gap(int(loud[at] + 1) * FRAME_MS, int(quiet_frames[at]) * FRAME_MS) for at in found
    )


def dominant_tones(
    samples: Samples, sample_rate_hz: int, count: int, range_db: float = 25.0
) -> tuple[float, ...]:
    """The strongest steady tones in Hz, strongest first, down to `range_db` below the strongest."""
    if len(samples) < sample_rate_hz // 50:
        return ()
    spectrum, bin_hz = _mean_spectrum(samples, sample_rate_hz)
    inner = spectrum[1:-1]
    peaks = np.flatnonzero((inner > spectrum[:-2]) & (inner >= spectrum[2:])) + 1
    if len(peaks) == 0:
        return ()
    peaks = peaks[np.argsort(-spectrum[peaks])]
    weakest = spectrum[peaks[0]] * _power(-range_db)
    steady = np.median(spectrum) * 100.0
    found: list[float] = []
    for peak in peaks[: 16 * TONES_MAX]:
        if spectrum[peak] < max(weakest, steady) or len(found) >= min(count, TONES_MAX):
            break
        hz = _peak_hz(spectrum, int(peak), bin_hz)
        if all(abs(hz - other) > 4 * bin_hz for other in found):
            found.append(hz)
    return tuple(found)


def goertzel_powers(frames: Samples, sample_rate_hz: int, tones_hz: Samples) -> Samples:
    """Mean square that each tone has in each frame; shape (frames, tones)."""
    frame_samples = frames.shape[1]
    at: Samples = np.arange(frame_samples, dtype=np.float64) / sample_rate_hz
    window = np.hanning(frame_samples)
    probes = np.exp(-2j * np.pi * np.outer(at, tones_hz)) * window[:, None]
    amplitudes = np.abs(frames @ probes) * (2.0 / np.sum(window))
    return np.square(amplitudes) / 2.0


def wideband_db(samples: Samples, sample_rate_hz: int, above_hz: float = 4_000.0) -> float:
    """Power above `above_hz` against all power, in dB."""
    if len(samples) < sample_rate_hz // 50 or sample_rate_hz / 2 <= above_hz:
        return FLOOR_DBFS
    spectrum, bin_hz = _mean_spectrum(samples, sample_rate_hz)
    whole = float(np.sum(spectrum))
    if whole <= 0.0:
        return FLOOR_DBFS
    return to_dbfs(float(np.sum(spectrum[int(np.ceil(above_hz / bin_hz)) :])) / whole)


def delay_samples(sent: Samples, received: Samples, longest: int) -> tuple[int, float]:
    """Where `received` holds `sent`, in samples (0 … `longest`), and the correlation there, 0 … 1.

    Normalised at each lag by the energy of the stretch it covers, so that a loud end does not win.
    """
    length = len(sent)
    lags = min(longest, len(received) - length)
    if length == 0 or lags < 0:
        return 0, 0.0
    window = received[: length + lags]
    size = 1 << int(np.ceil(np.log2(len(window) + length)))
    product = np.fft.rfft(window, size) * np.conj(np.fft.rfft(sent, size))
    cross = np.fft.irfft(product, size)[: lags + 1]
    running = np.concatenate((np.zeros(1), np.cumsum(np.square(window))))
    energy = running[length : length + lags + 1] - running[: lags + 1]
    scale = np.sqrt(np.maximum(energy, 1e-9) * max(float(np.sum(np.square(sent))), 1e-9))
    normalised = cross / scale
    best = int(np.argmax(normalised))
    return best, float(np.clip(normalised[best], 0.0, 1.0))


def likeness(
    reference: Samples, received: Samples, sample_rate_hz: int, longest_delay_ms: int = 3_000
) -> Likeness:
    """Compare a recording with its reference by segments, since jitter buffers slip."""
    segment = sample_rate_hz * SEGMENT_MS // 1_000
    longest = sample_rate_hz * longest_delay_ms // 1_000
    probe = reference[: min(len(reference), len(received), 2 * segment)]
    coarse, _ = delay_samples(probe, received, longest)
    slip = sample_rate_hz * 100 // 1_000
    comparable = min(len(reference), len(received) - coarse - slip)
    correlations: list[float] = []
    for start in range(0, comparable - segment + 1, segment):
        begin = max(0, coarse + start - slip)
        stretch = received[begin : coarse + start + segment + slip]
        correlations.append(delay_samples(reference[start : start + segment], stretch, 2 * slip)[1])
    if not correlations:
        return Likeness(0.0, FLOOR_DBFS, 0.0, 0.0, 0.0)
    compared = len(correlations) * segment
    difference_db = level_dbfs(received[coarse : coarse + compared]) - level_dbfs(
        reference[:compared]
    )
    return Likeness(
        delay_ms=round(1_000.0 * coarse / sample_rate_hz, 1),
        level_difference_db=round(difference_db, 2),
        correlation=round(float(np.median(correlations)), 4),
        worst_correlation=round(min(correlations), 4),
        compared_s=compared / sample_rate_hz,
    )


def comb_heard(
    samples: Samples, sample_rate_hz: int, number: int, below_level_db: float = 25.0
) -> bool:
    """Whether every tone of the comb with this number is heard (see `tones.tone_comb`)."""
    start, end = sounding_span(samples, sample_rate_hz)
    if end - start < sample_rate_hz // 5:
        return False
    sounding = samples[start:end]
    expected = np.array(tones.comb_frequencies_hz(number))
    powers = goertzel_powers(sounding[None, :], sample_rate_hz, expected)[0]
    return bool(np.all(powers > _power(level_dbfs(sounding) - below_level_db)))


def _power(dbfs: float) -> float:
    return float(10.0 ** (dbfs / 10.0))


def _mean_spectrum(samples: Samples, sample_rate_hz: int) -> tuple[Samples, float]:
    """Power spectrum averaged over half-overlapping windows of about half a second."""
    size = min(len(samples), sample_rate_hz // 2)
    window = np.hanning(size)
    starts = range(0, len(samples) - size + 1, max(1, size // 2))
    total = np.zeros(size // 2 + 1)
    for start in starts:
        total += np.square(np.abs(np.fft.rfft(samples[start : start + size] * window)))
    return total / len(starts), sample_rate_hz / size


def _peak_hz(spectrum: Samples, peak: int, bin_hz: float) -> float:
    """The frequency of a peak between two bins, by a parabola through the logarithms."""
    left, middle, right = np.log(np.maximum(spectrum[peak - 1 : peak + 2], 1e-30))
    curve = left - 2.0 * middle + right
    offset = 0.5 * (left - right) / curve if curve < 0.0 else 0.0
    return float((peak + offset) * bin_hz)
