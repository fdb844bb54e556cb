"""Answers of several members are read by threads at once, in a process that reads its first."""

import subprocess
import sys

PROCESSES = 12
"""One in three would die if two threads could describe a type at once."""
READ_BY_FOUR = """
import sys, threading
from sipfarm.admin.io.client import decoded
from sipfarm.admin.views import MemberView
ANSWER = b'''{"name": "m1", "state": "ready", "incarnation": 7, "number": 1, "pid": 42,
    "admin": "a", "bus": "b",
    "load": {"loop_lag_ms": 1, "cpu": 0.1, "transactions": 1, "media_streams": 1,
    "media_ports_free": 1}, "owns": {"calls": 1, "tasks": 1, "transactions": 1, "flows": 1}}'''
sys.setswitchinterval(0.000_1)
together = threading.Barrier(4)
def read():
    together.wait()
    assert decoded(ANSWER, MemberView).name == "m1"
threads = [threading.Thread(target=read) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_the_first_answers_are_read_by_several_threads() -> None:
    for _ in range(PROCESSES):
        run = subprocess.run(
            [sys.executable, "-c", READ_BY_FOUR], check=False, capture_output=True, text=True
        )
        assert (run.returncode, run.stderr) == (0, "")
