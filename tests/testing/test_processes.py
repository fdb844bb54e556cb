import signal
import socket
import sys

import pytest

from sipfarm.testing.ports import lease_ports
from sipfarm.testing.processes import Child, ChildFailed, Children

STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
"""


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_a_line_is_waited_for_and_its_groups_are_given() -> None:
    with Child(python("print('port 42')\nimport signal\nsignal.pause()")) as child:
        assert child.wait_for_line(r"port (\d+)")[1] == "42"
        assert child.exit_status is None
    assert child.exit_status == -signal.SIGTERM


def test_a_child_that_ends_without_the_line_fails_with_what_it_said() -> None:
    with (
        Child(python("print('no luck')")) as child,
        pytest.raises(ChildFailed, match="no luck"),
    ):
        child.wait_for_line("ready")


def test_only_lines_after_a_mark_count() -> None:
    with Child(python("print('a')\nprint('a')\nprint('b')")) as child:
        child.wait_for_line("b")
        assert child.line_count == 3
        child.wait_for_line("a", after=1)
        with pytest.raises(ChildFailed):
            child.wait_for_line("a", after=2)


@pytest.mark.slow
def test_a_child_that_does_not_listen_is_killed() -> None:
    child = Child(python(STUBBORN))
    child.wait_for_line("ready")
    assert child.end(timeout_s=0.2) == -signal.SIGKILL


def test_a_stopped_child_is_ended_too() -> None:
    child = Child(python("print('ready')\nimport signal\nsignal.pause()"))
    child.wait_for_line("ready")
    child.send(signal.SIGSTOP)
    assert child.end() == -signal.SIGTERM


def test_all_children_are_ended_together() -> None:
    with Children() as children:
        started = [
            children.start(python("print('ready')\nimport signal\nsignal.pause()"), ready="ready")
            for _ in range(2)
        ]
    assert [child.exit_status for child in started] == [-signal.SIGTERM] * 2


def test_ports_of_two_leases_are_apart_and_free() -> None:
    with lease_ports(12) as one, lease_ports(12) as other:
        assert not set(one.ports) & set(other.ports)
        assert one.ports == tuple(range(one.first, one.first + 12))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", one.first))
