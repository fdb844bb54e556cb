"""What the listening tools must tell of a wave, shown on waves whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipfarm.phone import listen, tone_code, tones

RATE_HZ = tones.SAMPLE_RATE_HZ


def sine(hz: float, seconds: float, amplitude: float = 1.0) -> listen.Samples:
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)


def noise(seconds: float, dbfs: float, seed: int = 1) -> listen.Samples:
    return np.random.default_rng(seed).normal(0, 10 ** (dbfs / 20), round(seconds * RATE_HZ))


def test_full_scale_sine_is_3_db_below_full_scale() -> None:
    assert listen.level_dbfs(sine(1_000, 1.0)) == pytest.approx(-3.01, abs=0.01)


def test_silence_and_nothing_have_the_floor_level() -> None:
    assert listen.level_dbfs(np.zeros(RATE_HZ)) == listen.FLOOR_DBFS
    assert listen.level_dbfs(np.zeros(0)) == listen.FLOOR_DBFS


def test_nothing_heard_is_told_without_an_error() -> None:
    heard = listen.hear(np.zeros(0), RATE_HZ)
    assert heard == listen.Heard(0.0, listen.FLOOR_DBFS, (), (), listen.FLOOR_DBFS)


def test_two_gaps_are_found_where_they_are() -> None:
    wave = tones.tone_comb(1, 2.0)
    wave[round(0.5 * RATE_HZ) : round(0.54 * RATE_HZ)] = 0
    wave[round(1.2 * RATE_HZ) : round(1.5 * RATE_HZ)] = 0
    assert listen.gaps(wave, RATE_HZ) == (listen.Gap(500, 40), listen.Gap(1200, 300))


def test_silence_before_and_after_the_sound_is_no_gap() -> None:
    wave = np.concatenate((np.zeros(RATE_HZ), tones.speech_like(2.0), np.zeros(RATE_HZ)))
    assert listen.gaps(wave, RATE_HZ) == ()


@pytest.mark.parametrize("number", range(tones.COMBS))
def test_a_comb_is_known_by_its_own_number_only(number: int) -> None:
    wave = tones.tone_comb(number, 1.0)
    heard = [other for other in range(tones.COMBS) if listen.comb_heard(wave, RATE_HZ, other)]
    assert heard == [number]


def test_dominant_tones_of_a_comb_are_its_teeth() -> None:
    wave = tones.tone_comb(3, 1.0) + noise(1.0, -60)
    found = sorted(listen.dominant_tones(wave, RATE_HZ, 10))
    assert found == pytest.approx(tones.comb_frequencies_hz(3), abs=1.0)


def test_noise_has_no_dominant_tone() -> None:
    assert listen.dominant_tones(noise(2.0, -20), RATE_HZ, 10) == ()


def test_wideband_share_tells_a_narrowband_copy_from_the_original() -> None:
    wave = tones.speech_like(2.0)
    spectrum = np.fft.rfft(wave)
    spectrum[round(0.48 * len(spectrum)) :] = 0
    narrow = np.fft.irfft(spectrum, len(wave))
    assert listen.wideband_db(wave, RATE_HZ) > -15
    assert listen.wideband_db(narrow, RATE_HZ) < -60


def test_half_of_a_comb_stands_above_4_khz() -> None:
    assert listen.wideband_db(tones.tone_comb(4, 1.0), RATE_HZ) == pytest.approx(-3.0, abs=0.1)


@given(delay=st.integers(0, RATE_HZ), gain_db=st.integers(-30, 0), number=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_delay_and_gain_of_a_copy_are_measured(delay: int, gain_db: int, number: int) -> None:
    sent = tones.speech_like(3.0, number)
    received = np.concatenate((np.zeros(delay), sent * 10 ** (gain_db / 20), np.zeros(RATE_HZ)))
    likeness = listen.likeness(sent, received, RATE_HZ)
    assert likeness.delay_ms == pytest.approx(1_000 * delay / RATE_HZ, abs=0.1)
    assert likeness.level_difference_db == pytest.approx(gain_db, abs=0.01)
    assert likeness.worst_correlation > 0.999


def test_another_voice_does_not_resemble() -> None:
    likeness = listen.likeness(tones.speech_like(3.0, 1), tones.speech_like(4.0, 2), RATE_HZ)
    assert likeness.correlation < 0.5


def test_a_slip_of_the_jitter_buffer_leaves_the_correlation() -> None:
    sent = tones.speech_like(4.0)
    middle = 2 * RATE_HZ
    received = np.concatenate((sent[:middle], np.zeros(320), sent[middle:], noise(1, -90)))
    assert listen.likeness(sent, received, RATE_HZ).correlation > 0.999


def test_one_spoilt_second_shows_in_the_worst_correlation() -> None:
    sent = tones.speech_like(4.0)
    received = np.concatenate((sent, np.zeros(RATE_HZ)))
    received[RATE_HZ : 2 * RATE_HZ] = noise(1.0, -20)
    likeness = listen.likeness(sent, received, RATE_HZ)
    assert likeness.correlation > 0.999
    assert likeness.worst_correlation < 0.3


@given(number=st.integers(0, tones.CODE_NUMBERS - 1), cut=st.integers(0, 6_000))
@settings(max_examples=40, deadline=None)
def test_every_tone_code_is_read_back_from_any_place(number: int, cut: int) -> None:
    wave = tones.tone_code(number, 2.0)[cut:]
    codes = tone_code.codes_heard(wave + noise(2.0, -50)[: len(wave)], RATE_HZ)
    assert [code.number for code in codes] == [number]
    assert codes[0].words >= 3


def test_a_tone_code_survives_at_8_khz() -> None:
    codes = tone_code.codes_heard(tones.tone_code(137, 2.0)[::2], RATE_HZ // 2)
    assert [code.number for code in codes] == [137]


@pytest.mark.parametrize("shift_ms", [50, 85, 100, 130, 170, 205, 250, 290])
def test_faint_crosstalk_of_another_call_is_named(shift_ms: int) -> None:
    own = tones.tone_code(137, 4.0)
    other = np.roll(tones.tone_code(4_711, 4.0), shift_ms * RATE_HZ // 1_000)
    codes = tone_code.codes_heard(own + 0.05 * other + noise(4.0, -70), RATE_HZ)
    assert [code.number for code in codes] == [137, 4_711]
    assert codes[0].level_dbfs - codes[1].level_dbfs == pytest.approx(26, abs=2)


def test_a_call_that_falls_silent_tells_when() -> None:
    wave = tones.tone_code(99, 4.0)
    wave[2 * RATE_HZ :] = 0
    (code,) = tone_code.codes_heard(wave, RATE_HZ)
    assert 1_200 <= code.last_ms <= 1_700


@pytest.mark.parametrize("wave", [noise(5.0, -20), tones.speech_like(5.0), np.zeros(5 * RATE_HZ)])
def test_no_code_is_read_where_none_was_sent(wave: listen.Samples) -> None:
    assert tone_code.codes_heard(wave, RATE_HZ) == ()


@pytest.mark.slow
def test_no_false_alarm_in_a_thousand_good_calls() -> None:
    rng = np.random.default_rng(7)
    for number in rng.choice(tones.CODE_NUMBERS, 1_000, replace=False).tolist():
        wave = tones.tone_code(number, 1.2) + rng.normal(0, 0.002, round(1.2 * RATE_HZ))
        assert [code.number for code in tone_code.codes_heard(wave, RATE_HZ)] == [number]


def test_pcm_round_trip_keeps_the_wave() -> None:
    wave = tones.speech_like(0.5)
    assert np.max(np.abs(tones.from_pcm16(tones.to_pcm16(wave)) - wave)) < 1 / 32_768


def test_a_number_without_a_code_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 65535"):
        tones.tone_code(tones.CODE_NUMBERS, 1.0)
