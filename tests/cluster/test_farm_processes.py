"""Three processes are a farm: one is killed, one is stopped and woken."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from sipfarm.testing.processes import Child, Children

pytestmark = pytest.mark.slow

MEMBER = Path(__file__).with_name("farm_process.py")
RIGHT_WITHIN_S = 2.5
STOP_TRIES = 1_000
EPOLL_WAITS = {"232", "281"}  # epoll_wait and epoll_pwait of x86-64
Start = Callable[[str], Child]


@pytest.fixture
def start(children: Children, tmp_path: Path) -> Start:
    url = f"sqlite:{tmp_path / 'farm.db'}"
    return lambda name: children.start([sys.executable, MEMBER, url, name], ready="^joined")


def epoch_of(member: Child) -> int:
    """Its latest incarnation."""
    return [int(line.split()[2]) for line in member.lines if line.startswith("joined")][-1]


def all_ready(members: list[Child], after: list[int] | None = None) -> None:
    """Wait until each sees all of them ready."""
    states = " ".join([f"{n}.{epoch_of(m)}:ready" for n, m in enumerate(members, start=1)])
    for number, member in enumerate(members):
        member.wait_for_line(f"^view {states}$", after=after[number] if after else 0)


def test_after_a_kill_the_view_is_right_within_two_and_a_half_seconds(start: Start) -> None:
    members = [start(name) for name in ("m1", "m2", "m3")]
    all_ready(members)
    one, two, three = members
    two.kill()
    killed = monotonic()
    for member in (one, three):
        member.wait_for_line(rf" 2\.{epoch_of(two)}:dead ")
    assert monotonic() - killed < RIGHT_WITHIN_S
    marks = [member.line_count for member in members]
    again = start("m2")
    assert epoch_of(again) == epoch_of(two) + 1
    all_ready([one, again, three], [marks[0], 0, marks[2]])


def stop_between_packets(member: Child) -> None:
    """SIGSTOP while its loop waits in epoll: a packet in hand would be finished after the wake."""
    for _ in range(STOP_TRIES):
        member.send(signal.SIGSTOP)
        if Path(f"/proc/{member.pid}/syscall").read_text().split()[0] in EPOLL_WAITS:
            return
        member.send(signal.SIGCONT)
    raise AssertionError("the member was never seen waiting")


def test_a_stopped_member_that_wakes_harms_nothing_and_comes_back(start: Start) -> None:
    members = [start(name) for name in ("m1", "m2", "m3")]
    all_ready(members)
    one, two, three = members
    epoch = epoch_of(two)
    one.wait_for_line(f"^packet 2 beat {epoch}$")
    stop_between_packets(two)
    for member in (one, three):
        member.wait_for_line(rf" 2\.{epoch}:dead ")
    marks = [member.line_count for member in members]
    two.send(signal.SIGCONT)
    two.wait_for_line(f"^joined 2 {epoch + 1}$")
    all_ready(members, marks)
    for member in (one, three):
        member.wait_for_line(f"^packet 2 beat {epoch + 1}$")
        assert f"packet 2 beat {epoch}" not in member.lines[marks[0 if member is one else 2] :]
    woken = two.lines[marks[1] :]
    assert not [line for line in woken[: woken.index("dropped")] if line.startswith("packet")]


def test_a_short_stop_costs_nobody_its_place(start: Start) -> None:
    members = [start(name) for name in ("m1", "m2")]
    all_ready(members)
    one, two = members
    mark = one.line_count
    two.send(signal.SIGSTOP)
    one.wait_for_line(rf" 2\.{epoch_of(two)}:suspected$", after=mark)
    mark = one.line_count
    two.send(signal.SIGCONT)
    all_ready(members, [mark, 0])
    assert "dropped" not in two.lines
