"""The farm holds its promises in 2,000 seeds; `python -m sipfarm.testing.sim --seed N` replays."""

import pytest

from sipfarm.testing.scenarios import run_seed, scenario_of
from sipfarm.testing.sim import failures, main, report

FIRST = 0
SEEDS = 2_000
CHUNK = 50


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, CHUNK))
def test_nothing_is_violated_in_any_seed(first: int) -> None:
    calls, failed = failures(range(first, first + CHUNK))
    assert calls > CHUNK
    assert not failed, "\n" + "\n".join([report(outcome) for outcome in failed])


def test_a_seed_always_goes_the_same_way() -> None:
    seed = next(seed for seed in range(SEEDS) if len(scenario_of(seed).faults) == 3)
    assert run_seed(seed) == run_seed(seed)


def test_seeds_are_of_every_kind() -> None:
    scenarios = [scenario_of(seed) for seed in range(SEEDS)]
    faults = {fault for scenario in scenarios for fault in scenario.faults}
    assert faults == {"crash", "restart", "pause", "cut", "drain", "store"}
    assert sum([scenario.is_calm for scenario in scenarios]) > SEEDS // 4
    assert {scenario.options.members for scenario in scenarios} == {1, 2, 3, 4}


def test_the_command_tells_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "4", "--processes", "1"]) == 0
    assert "4 seeds" in capsys.readouterr().out
    assert main(["--seed", "3", "--verbose"]) == 0
    assert "INVITE" in capsys.readouterr().out
