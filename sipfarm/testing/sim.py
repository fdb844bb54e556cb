"""The farm in virtual time.

python -m sipfarm.testing.sim --seeds 1000
python -m sipfarm.testing.sim --seed 7 --verbose
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from sipfarm.testing.farm import SimFarm
from sipfarm.testing.ladder_lines import LadderWriter
from sipfarm.testing.scenarios import Outcome, run_seed

CHUNK: Final = 20
SHOWN_MAX: Final = 20


def run_seeds(seeds: range) -> Iterator[Outcome]:
    """The outcomes of seeds, one after the other."""
    return (run_seed(seed) for seed in seeds)


def failures(seeds: range) -> tuple[int, list[Outcome]]:
    """How many calls were placed, and the seeds that failed."""
    calls = 0
    failed: list[Outcome] = []
    for outcome in run_seeds(seeds):
        calls += outcome.calls
        if outcome.violations:
            failed.append(outcome)
    return calls, failed


def report(outcome: Outcome) -> str:
    """What went wrong, and the command that shows it again."""
    seed = outcome.scenario.seed
    lines = [f"seed {seed}: {', '.join(outcome.scenario.faults) or 'calm'}"]
    lines += [f"    {violation}" for violation in outcome.violations[:SHOWN_MAX]]
    lines.append(f"    replay: python -m sipfarm.testing.sim --seed {seed} --verbose")
    return "\n".join(lines)


def replay(seed: int, *, verbose: bool) -> int:
    def watch(farm: SimFarm) -> None:
        if verbose:
            LadderWriter(farm, lambda line: print(line))

    outcome = run_seed(seed, watch=watch)
    print(outcome.scenario)
    print(report(outcome) if outcome.violations else f"seed {seed}: nothing was violated")
    return 1 if outcome.violations else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The farm in virtual time.")
    parser.add_argument("--seeds", type=int, default=200, help="how many to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--verbose", action="store_true", help="with --seed: show the whole wire")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments)
    if given.seed is not None:
        return replay(given.seed, verbose=given.verbose)
    last = given.first + given.seeds
    chunks = [range(first, min(first + CHUNK, last)) for first in range(given.first, last, CHUNK)]
    begun = time.perf_counter()
    calls = 0
    failed: list[Outcome] = []
    with ProcessPoolExecutor(given.processes) as pool:
        for placed, broken in pool.map(failures, chunks):
            calls += placed
            failed += broken
            for outcome in broken:
                print(report(outcome), flush=True)
    seconds = time.perf_counter() - begun
    print(
        f"{given.seeds} seeds, {calls} calls, {seconds:.1f} s, {given.seeds / seconds:.0f} seeds/s,"
        f" {len(failed)} failed"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
