"""A member's line to its supervisor: it says that its loop turns, that it is ready, why it failed.

The member does not outlive its supervisor: the kernel kills it then.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
from typing import Final

HEARTBEAT_S: Final = 0.2
SENTENCE_BYTES_MAX: Final = 2_000
PR_SET_PDEATHSIG: Final = 1

ALIVE: Final = "alive"
READY: Final = "ready"
FAILED: Final = "failed"


class Lifeline:
    """The member's end. A supervisor that does not read loses lines and stops nothing."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        die_with_parent()
        if self._parent_is_gone():  # before it could be asked to take this process with it
            os.kill(os.getpid(), signal.SIGKILL)

    def beat(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say every `HEARTBEAT_S` that the loop turns, from now on."""
        self._say(ALIVE)
        loop.call_later(HEARTBEAT_S, self.beat, loop)

    def ready(self) -> None:
        self._say(READY)

    def failed(self, reason: str) -> None:
        """Why this member cannot start."""
        self._say(f"{FAILED} {' '.join(reason.split())}")

    def _parent_is_gone(self) -> bool:
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self._socket.send(line.encode()[:SENTENCE_BYTES_MAX] + b"\n")


def die_with_parent() -> None:
    """Be killed by the kernel when the parent ends, however it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
