"""SIPp as the load of the signaling benchmarks: scenarios run at a rate, and what came of it."""

import csv
import shutil
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

SCENARIOS: Final = Path(__file__).parent.parent / "sipp_scenarios"
BUFFER_BYTES: Final = 4 << 20
ANSWER_WITHIN_MS: Final = 10_000  # what is not answered by then has failed
END_WITHIN_S: Final = 40
OPEN_CALLS_MAX: Final = 100_000


class SippMissing(Exception):
    """SIPp is not installed."""


class Ran(NamedTuple):
    """What a run of SIPp counted."""

    calls: int
    failed: int
    retransmissions: int
    seconds: float  # from the first call to the last one's end


class Load(NamedTuple):
    """What to run, and where it is run."""

    scenario: str
    server: tuple[str, int]
    host: str
    port: int
    keys: Mapping[str, str]
    injected: Path | None = None
    pin: tuple[str, ...] = ()
    sockets: int = 1
    """More than one: each call has a socket of its own, up to so many at once."""


def run(load: Load, *, rate: int, calls: int, home: Path) -> Ran:
    """Place `calls` calls at `rate` a second and wait for their end."""
    arguments = ["-r", str(rate), "-m", str(calls), "-l", str(OPEN_CALLS_MAX)]
    arguments += ["-recv_timeout", str(ANSWER_WITHIN_MS), "-deadcall_wait", "0"]
    log = home / f"{load.scenario}.log"
    with log.open("wb") as out, suppress(subprocess.TimeoutExpired):
        subprocess.run(_command(load, arguments), cwd=home, stdout=out, stderr=out, check=False,
                       timeout=calls // rate + END_WITHIN_S)  # fmt: skip
    return _counted(home / f"{load.scenario}.csv", calls)


@contextmanager
def running(load: Load, home: Path) -> Generator[None, None, None]:
    """SIPp as the called phone, until the end of the block; `counted` tells then what it saw."""
    log = home / f"{load.scenario}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(_command(load, ["-l", str(OPEN_CALLS_MAX)]), cwd=home,
                                   stdout=out, stderr=out)  # fmt: skip
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def retransmissions_of(scenario: str, home: Path) -> int:
    """What a called phone has sent again so far, by its last line of statistics."""
    return _counted(home / f"{scenario}.csv", 0).retransmissions


def users_file(path: Path, lines: Sequence[str]) -> Path:
    """An injection file, used line after line."""
    path.write_text("\n".join(("SEQUENTIAL", *lines)) + "\n", encoding="utf-8")
    return path


def _command(load: Load, arguments: Sequence[str]) -> list[str]:
    sipp = shutil.which("sipp")
    if sipp is None:
        raise SippMissing("sipp is not installed (Debian package sip-tester)")
    host, port = load.server
    command = [
        *load.pin, sipp, f"{host}:{port}", "-sf", str(SCENARIOS / f"{load.scenario}.xml"),
        "-i", load.host, "-p", str(load.port), "-nostdin", "-buff_size", str(BUFFER_BYTES),
        "-trace_stat", "-fd", "1", "-stf", f"{load.scenario}.csv",
        "-t", "u1" if load.sockets == 1 else "un", "-max_socket", str(max(load.sockets, 16)), "-aa",
    ]  # fmt: skip
    for key, value in load.keys.items():
        command += ["-key", key, value]
    if load.injected is not None:
        command += ["-inf", str(load.injected)]
    return [*command, *arguments]


def _counted(statistics: Path, wanted: int) -> Ran:
    """The last line of SIPp's statistics; calls that it never came to count as failed."""
    if not statistics.exists():
        return Ran(0, wanted, 0, 0.0)
    with statistics.open(encoding="utf-8", errors="replace") as lines:
        rows = list(csv.DictReader(lines, delimiter=";"))
    if not rows:
        return Ran(0, wanted, 0, 0.0)
    last = rows[-1]
    good, failed = int(last["SuccessfulCall(C)"]), int(last["FailedCall(C)"])
    hours, minutes, seconds, *fraction = last["ElapsedTime(C)"].split(":")
    elapsed = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    elapsed_s = elapsed + (int(fraction[0]) / 1e6 if fraction else 0.0)
    failed = max(failed, wanted - good)
    return Ran(good, failed, int(last["Retransmissions(C)"]), elapsed_s)
