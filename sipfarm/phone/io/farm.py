"""A farm of its own for a demonstration: `sipfarm run` on free ports of this machine."""

import asyncio
import os
import re
import signal
import socket
import sys
import tempfile
import urllib.request
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from sipfarm.phone.io.process import PhoneError

RUN: Final = (sys.executable, "-m", "sipfarm.cli.main", "run")
READY_S: Final = 30.0
STOP_S: Final = 10.0
LINES_KEPT: Final = 200
LINE_BYTES_MAX: Final = 8_192
ANSWER_BYTES_MAX: Final = 1 << 20
PORT_TRIES: Final = 100
WORD: Final = re.compile(r"\w\w")


class Farm(asyncio.SubprocessProtocol):
    """A farm that runs as a child process, known by what it prints."""

    def __init__(self, server: str, admin: str) -> None:
        self.server = server
        self.admin = admin
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.ready = False
        self.token = os.environ.get("SIPFARM_TOKEN", "")
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self._rest = b""

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-LINE_BYTES_MAX:]
        for line in lines:
            self._read(line.decode(errors="replace").strip())

    def process_exited(self) -> None:
        self.ended.set()
        self.started.set()

    async def ask(self, path: str) -> list[dict[str, object]]:
        """GET a list from the admin API; a page that holds it under one key is taken apart."""
        try:
            page = await asyncio.to_thread(self._get, path)
            return _rows(page)
        except (OSError, msgspec.MsgspecError) as error:
            raise PhoneError(f"The admin API did not answer {path}: {error}.") from error

    def last_words(self) -> str:
        """The last line the farm printed."""
        return next(
            (line for line in reversed(self.lines) if WORD.search(line)), "It said nothing."
        )

    def _read(self, line: str) -> None:
        self.lines.append(line)
        token = re.search(r"\btoken[:= ]+(\S+)", line)
        if token:
            self.token = token.group(1)
        if re.match(r"ready\b", line):
            self.ready = True
            self.started.set()

    def _get(self, path: str) -> bytes:
        request = urllib.request.Request(f"http://{self.admin}/api/v1/{path}")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.read(ANSWER_BYTES_MAX)


@asynccontextmanager
async def farm(members: int, command: Sequence[str] = RUN) -> AsyncGenerator[Farm]:
    """Run a farm with an empty store until the block is left; raises PhoneError if it fails."""
    server = f"127.0.0.1:{free_port(1)}"
    admin = f"127.0.0.1:{free_port(members + 1)}"
    with tempfile.TemporaryDirectory(prefix="sipfarm-demo-") as folder:
        loop = asyncio.get_running_loop()
        transport, running = await loop.subprocess_exec(
            lambda: Farm(server, admin),
            *command,
            *("--members", str(members), "--listen", server),
            *("--admin", admin, "--data", folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            await _wait_ready(running)
            yield running
        finally:
            await asyncio.shield(_stop(transport, running))


def _rows(page: bytes) -> list[dict[str, object]]:
    """The rows of a JSON list, or of the first list that a JSON object holds."""
    rows = list[dict[str, object]]
    if page.lstrip().startswith(b"["):
        return msgspec.json.decode(page, type=rows)
    for held in msgspec.json.decode(page, type=dict[str, msgspec.Raw]).values():
        if bytes(held).startswith(b"["):
            return msgspec.json.decode(held, type=rows)
    return []


def free_port(count: int) -> int:
    """The first of `count` ports in a row that are free for UDP and TCP on 127.0.0.1."""
    for _ in range(PORT_TRIES):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            first: int = probe.getsockname()[1]
        if first + count < 65_536 and all(_is_free(first + step) for step in range(count)):
            return first
    raise PhoneError("There are no free ports on 127.0.0.1.")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


async def _wait_ready(running: Farm) -> None:
    try:
        async with asyncio.timeout(READY_S):
            await running.started.wait()
    except TimeoutError:
        raise PhoneError(
            f"The farm was not ready after {READY_S:g} s. {running.last_words()}"
        ) from None
    if not running.ready:
        raise PhoneError(f"The farm did not start. {running.last_words()}")


async def _stop(transport: asyncio.SubprocessTransport, running: Farm) -> None:
    """SIGTERM drains, a second one stops at once, SIGKILL is for what does not listen."""
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        if running.ended.is_set():
            break
        transport.send_signal(number)
        try:
            async with asyncio.timeout(STOP_S):
                await running.ended.wait()
        except TimeoutError:
            continue
    transport.close()
