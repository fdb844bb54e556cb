"""What carries a member's ports, and what becomes of them without descriptors, rights, process."""

import asyncio
import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sipfarm.base.errors import StartError
from sipfarm.base.io.clock import SystemClock
from sipfarm.media.io.native_plane import MediaPlane
from sipfarm.native import Plane, PortPool

FIRST, LAST = 20_000, 20_399
PAIRS = (LAST - FIRST + 1) // 2
PATIENCE_S = 10.0

HOLDER = """
import sys
from sipfarm.native import Plane, PortPool
pool = PortPool()
plane = Plane(pool, sys.argv[1], "", int(sys.argv[2]), int(sys.argv[3]), spare_pairs=1_000)
while plane.replenish(0):
    pass
print(*plane.socket_mode, plane.totals()["ports_bound"], sep="|", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def address() -> str:
    """A loopback address that is this process's own for some time."""
    pid = os.getpid()
    return f"127.77.{pid >> 8 & 0xFF}.{pid & 0xFF or 1}"


def held(plane: Plane) -> int:
    while plane.replenish(0):
        pass
    return plane.totals()["ports_bound"]


def holder(address: str, *wrapper: str) -> subprocess.Popen[str]:
    command = [*wrapper, sys.executable, "-c", HOLDER, address, str(FIRST), str(LAST)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n").split("|")


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """Room for some more than this process has open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = len(os.listdir("/proc/self/fd")) * 4 + 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_killed_process_leaves_no_port_behind(address: str) -> None:
    with holder(address) as process:
        assert said(process) == ["steered", "", str(PAIRS)]
        mine = Plane(PortPool(), address, "", FIRST, LAST, spare_pairs=1_000)
        assert held(mine) == 0
        mine.stop()
        process.kill()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((address, FIRST))
        other.settimeout(PATIENCE_S)
        other.sendto(b"not steered away", (address, FIRST))
        assert other.recv(100) == b"not steered away"
    mine = Plane(PortPool(), address, "", FIRST, LAST, spare_pairs=1_000)
    assert held(mine) == PAIRS
    mine.stop()


def test_without_the_rights_each_port_has_a_socket_and_the_reason_is_said(address: str) -> None:
    rights = "-bpf,-sys_admin,-net_admin,-net_raw"
    with holder(address, "setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}") as process:
        mode, reason, ports = said(process)
        process.kill()
    assert (mode, ports) == ("per_port", str(PAIRS))
    assert os.strerror(errno.EPERM) in reason


def test_ports_leave_descriptors_for_the_rest_and_their_want_is_told(
    address: str, few_descriptors: int
) -> None:
    told: list[dict[str, str]] = []

    async def live() -> int:
        clock, loop = SystemClock(), asyncio.get_running_loop()
        plane = MediaPlane(clock, address, "", (FIRST, LAST), 1, 60_000, told.append, "per_port")
        plane.attach(loop)
        taken = 0
        try:
            while not told:
                while plane.pool.take(clock.now_ms()) is not None:
                    taken += 1
                turn = asyncio.Event()
                loop.call_later(0.01, turn.set)
                await turn.wait()
            os.close(os.open("/proc/self/stat", os.O_RDONLY))
            return taken
        finally:
            plane.close(loop)

    taken = asyncio.run(asyncio.wait_for(live(), PATIENCE_S))
    assert told == [{"kind": "ports_short", "reason": os.strerror(errno.EMFILE)}]
    assert taken == few_descriptors // 4 * 3 // 2


def test_a_plane_without_a_port_does_not_start(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((address, FIRST))
        with pytest.raises(StartError, match="other programs"):
            MediaPlane(
                SystemClock(), address, "", (FIRST, FIRST + 1), 1, 60_000, lambda _event: None
            )
