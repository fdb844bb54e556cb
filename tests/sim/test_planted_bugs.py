"""The checkers are worth something: each bug that is put in on purpose is found by a seed."""

import re
from collections.abc import Iterator

import pytest

from sipfarm.testing.planted import PLANTS
from sipfarm.testing.scenarios import run_seed

SEEDS = 1_000


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_bug_is_found(name: str) -> None:
    plant, says = PLANTS[name]

    def found() -> Iterator[int]:
        for seed in range(SEEDS):
            violations = run_seed(seed, plant=plant).violations
            if any(re.search(says, violation) for violation in violations):
                yield seed

    seed = next(found(), None)
    assert seed is not None, f"{name}: not found in {SEEDS} seeds"
    assert not run_seed(seed).violations, "without the bug that seed is clean"
