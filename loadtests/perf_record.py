"""Where a server's time goes: perf beside a step of a benchmark."""

import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def profiled(folder: Path | None, pid: int, name: str, seconds: int) -> Generator[None, None, None]:
    """Sample a process and its threads by the CPU clock into FOLDER/NAME.data; no folder, no perf.

    It costs the server some per cent: do not compare figures taken with it.
    """
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        "taskset", "-c", "0", "perf", "record", "-e", "cpu-clock", "-F", "997", "-g",
        "-p", str(pid), "-o", str(folder / f"{name}.data"), "--", "sleep", str(seconds),
    ]  # fmt: skip
    perf = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        perf.send_signal(signal.SIGINT)
        perf.wait()
