"""The native mixer against a plain sum."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipfarm.native import Mixer

KNEE, LARGEST = 24_576.0, 32_767.0

Pcm = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


class Plain:
    """Who hears what, said in the slowest way: one sum for each listener."""

    def __init__(self, random: np.random.Generator, parties: int, samples: int) -> None:
        self.random = random
        self.count = parties
        self.samples = samples
        self.muted = random.random(parties) < 0.3
        self.deaf = random.random(parties) < 0.2
        self.whispering = random.random(parties) < 0.2
        self.gain_db = self.some_db((parties,))
        self.volume_db = self.some_db((parties,))
        self.between_db = self.some_db((parties, parties))
        self.chosen = random.random((parties, parties)) < 0.3  # speaker, listener
        self.applied = np.zeros(parties)

    def some_db(self, shape: tuple[int, ...]) -> np.ndarray:
        picked = self.random.random(shape) < 0.2
        return np.where(picked, self.random.integers(-20, 7, shape), 0)

    def apply(self, mixer: Mixer) -> None:
        for party in range(self.count):
            assert mixer.join() == party
        for party in range(self.count):
            mixer.set_muted(party, bool(self.muted[party]))
            mixer.set_deaf(party, bool(self.deaf[party]))
            mixer.set_whispering(party, bool(self.whispering[party]))
            mixer.set_gain(party, float(self.gain_db[party]))
            mixer.set_volume(party, float(self.volume_db[party]))
            for other in range(self.count):
                assert mixer.set_gain_between(party, other, float(self.between_db[party, other]))
                assert mixer.choose_whispered_to(party, other, bool(self.chosen[party, other]))

    def mix(self, frames: dict[int, Pcm]) -> list[Pcm]:
        voices = {party: self.voice(party, frame) for party, frame in frames.items()}
        for party in range(self.count):
            open_ = party in frames and not self.muted[party]
            self.applied[party] = 10 ** (self.gain_db[party] / 20) if open_ else 0
        return [self.heard_by(party, voices) for party in range(self.count)]

    def voice(self, party: int, frame: Pcm) -> Pcm:
        target = 0 if self.muted[party] else 10 ** (self.gain_db[party] / 20)
        share = np.arange(1, self.samples + 1) / self.samples
        gain = self.applied[party] + (target - self.applied[party]) * share
        return np.clip(np.round(frame * gain), -LARGEST - 1, LARGEST)

    def heard_by(self, listener: int, voices: dict[int, Pcm]) -> Pcm:
        total = np.zeros(self.samples)
        for speaker, voice in voices.items():
            if speaker == listener or self.deaf[listener]:
                continue
            if self.whispering[speaker] and not self.chosen[speaker, listener]:
                continue
            total += voice * 10 ** (self.between_db[listener, speaker] / 20)
        return bent(total * 10 ** (self.volume_db[listener] / 20))


def bent(total: Pcm) -> Pcm:
    above = np.maximum(np.abs(total) - KNEE, 0)
    room = LARGEST - KNEE
    return np.sign(total) * (np.minimum(np.abs(total), KNEE) + room * above / (above + room))


@given(
    seed=st.integers(0, 2**32 - 1),
    parties=st.integers(1, 12),
    rate_hz=st.sampled_from([8_000, 16_000, 48_000]),
    amplitude=st.sampled_from([300, 9_000, 32_767]),
)
def test_each_hears_the_plain_sum_of_the_others(
    seed: int, parties: int, rate_hz: int, amplitude: int
) -> None:
    random = np.random.default_rng(seed)
    samples = rate_hz // 50
    plain = Plain(random, parties, samples)
    mixer = Mixer(rate_hz, parties, links_max=parties * parties)
    plain.apply(mixer)
    for _ in range(3):
        frames = {
            party: random.integers(-amplitude, amplitude + 1, samples).astype(np.float64)
            for party in range(parties)
            if random.random() < 0.8
        }
        for party, frame in frames.items():
            mixer.input(party, frame.astype(np.int16).tobytes())
        mixer.mix()
        for party, expected in enumerate(plain.mix(frames)):
            got = np.frombuffer(mixer.buffer(mixer.heard(party)), np.int16)
            # Roundings: one of each voice with a gain of its own, twice where the volume is raised.
            assert np.abs(got - expected).max() <= 2 + parties


def test_without_gains_the_sum_is_exact_and_listeners_share_it() -> None:
    random = np.random.default_rng(1)
    mixer = Mixer(8_000, 100)
    parties = [mixer.join() for _ in range(100)]
    for _ in range(2):
        frames = random.integers(-200, 201, (40, 160)).astype(np.int16)
        for party, frame in zip(parties, frames, strict=False):
            mixer.input(party, frame.tobytes())
        mixer.mix()
    total = frames.astype(np.int64).sum(axis=0)
    for party in parties:
        own = frames[party] if party < 40 else 0
        got = np.frombuffer(mixer.buffer(mixer.heard(party)), np.int16)
        assert np.array_equal(got, total - own)
    assert {mixer.heard(party) for party in parties[40:]} == {1}
    assert len({mixer.heard(party) for party in parties[:40]}) == 40


def test_a_frame_of_another_length_is_refused() -> None:
    mixer = Mixer(8_000, 2)
    mixer.join()
    with pytest.raises(ValueError, match="20 ms"):
        mixer.input(0, b"\0" * 318)
