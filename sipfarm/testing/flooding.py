"""A flood beside a test, and what it does to a member."""

import json
import os
import re
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sipfarm.base.net import HostPort
from sipfarm.testing.processes import Children
from sipfarm.testing.real_farm import RealFarm

SENT_WITHIN_S: Final = 120.0


class Flood:
    """Runs in a process of its own from here to the end of the block."""

    def __init__(
        self,
        children: Children,
        server: HostPort,
        sources: list[HostPort],
        count: int,
        per_second: int = 0,
        kind: str = "invite",
    ) -> None:
        command = [sys.executable, "-m", "sipfarm.testing.flood", str(server), "--kind", kind]
        command += ["--count", str(count), "--per-second", str(per_second)]
        for source in sources:
            command += ["--source", str(source)]
        self._child = children.start(command)

    @property
    def is_going_on(self) -> bool:
        return self._child.exit_status is None

    def wait(self) -> float:
        """Until all is sent; the seconds it took."""
        line = self._child.wait_for_line(r"^\{.*\}$", SENT_WITHIN_S)
        return float(json.loads(line[0])["seconds"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._child.end()


def memory_bytes(pid: int) -> int:
    """What a process holds in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def dropped(farm: RealFarm, reason: str) -> int:
    """The packets that a farm's members have dropped for one reason."""
    sample = re.compile(rf'^sipfarm_sip_drops(?:_total)?\{{[^}}]*reason="{reason}"[^}}]*\}} (\S+)$')
    texts = [farm.admin(name).exchange("GET", "/metrics").body.decode() for name in farm.names]
    found = [sample.match(line) for text in texts for line in text.splitlines()]
    return sum(int(float(match[1])) for match in found if match)
