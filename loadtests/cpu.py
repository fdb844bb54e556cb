"""What a process has used of the CPU, as the kernel accounts it."""

import os
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def ticked_us(pid: int) -> float:
    """User and system time from /proc/PID/stat: whole ticks; the sum is right, the split is not."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / TICKS_PER_S


def scheduled_us(pid: int) -> float:
    """Time that the threads alive now were on a CPU, from schedstat: to the nanosecond."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    texts = [(thread / "schedstat").read_text(encoding="ascii") for thread in threads]
    return sum(int(text.split()[0]) for text in texts) / 1e3


def children_us() -> float:
    """User and system time of the processes that this one has started and waited for."""
    used = os.times()
    return (used.children_user + used.children_system) * 1e6


def model_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
