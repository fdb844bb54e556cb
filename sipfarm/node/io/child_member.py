"""A member as its supervisor sees it: a child process, and what it says on its lifeline."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sipfarm.node.io.lifeline import FAILED, READY, SENTENCE_BYTES_MAX

MEMBER: Final = (sys.executable, "-m", "sipfarm.cli.main", "member")


class ChildMember(asyncio.Protocol):
    """One incarnation: it begins with `start` and ends once."""

    def __init__(self, name: str, told: Callable[["ChildMember"], None]) -> None:
        self.name = name
        self.ready = False
        self.failure = ""
        """Why it could not start, by its own words."""
        self.started_at_s = 0.0
        self.heard_at_s: float | None = None
        """When its loop last said that it turns."""
        self._told = told
        self._rest = b""
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self, file: Path, options: Sequence[str], kept_open: int) -> None:
        """Start the process with the member's file. What it prints goes to `kept_open`."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            self.started_at_s = loop.time()
            await loop.create_connection(lambda: self, sock=ours)
            self._process = await asyncio.create_subprocess_exec(
                *MEMBER,
                *("--config", str(file), "--lifeline", str(theirs.fileno()), *options),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=kept_open,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C at a terminal is the supervisor's to pass on
            )

    async def ended(self) -> int:
        """Wait for its end; negative for a signal."""
        assert self._process is not None
        return await self._process.wait()

    def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def data_received(self, data: bytes) -> None:
        """Lines of the lifeline."""
        self.heard_at_s = asyncio.get_running_loop().time()
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-SENTENCE_BYTES_MAX:]
        for line in lines:
            word, _, text = line.decode(errors="replace").partition(" ")
            if word == READY:
                self.ready = True
                self._told(self)
            elif word == FAILED:
                self.failure = text
