"""The softphone as a process: commands in on stdin, events out on stdout, a JSON object a line.

    python -m sipfarm.phone.io.child

End of input ends the phone as `quit` does.
"""

import os
import select
import signal
import sys
import time
from typing import Final, Protocol

import msgspec

from sipfarm.phone.protocol import (
    LINE_BYTES_MAX,
    AnyCommand,
    AnyEvent,
    Closed,
    Failed,
    Quit,
    decode_command,
    encode,
)

POLL_MS: Final = 5
LEAVE_S: Final = 3.0
NOT_INSTALLED: Final = "pjsua2 is not installed: pip install sipfarm[phone]"


class Phone(Protocol):
    """What the process drives."""

    def poll(self, timeout_ms: int) -> list[AnyEvent]: ...
    def command(self, command: AnyCommand) -> None: ...
    def busy(self) -> bool: ...
    def close(self) -> None: ...


class Lines:
    """Whole lines out of a file descriptor that may block."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""
        self.ended = False

    def ready(self) -> list[bytes]:
        """The lines that have come, without waiting."""
        if self.ended or not select.select((self._descriptor,), (), (), 0)[0]:
            return []
        came = os.read(self._descriptor, LINE_BYTES_MAX)
        *lines, self._rest = (self._rest + came).split(b"\n")
        self.ended = not came or len(self._rest) > LINE_BYTES_MAX
        return lines


def serve(phone: Phone, commands: int, events: int) -> None:
    """Drive a phone until it is told to quit, then let calls and registration end."""
    lines = Lines(commands)
    leave_at: float | None = None
    while leave_at is None or (phone.busy() and time.monotonic() < leave_at):
        for line in lines.ready():
            if line.strip():
                quitting = _obey(phone, line, events)
                leave_at = time.monotonic() + LEAVE_S if quitting else leave_at
        if lines.ended and leave_at is None:
            phone.command(Quit())
            leave_at = time.monotonic() + LEAVE_S
        _write(events, phone.poll(POLL_MS))
    _write(events, phone.poll(POLL_MS))
    phone.close()
    _write(events, [Closed()])


def _obey(phone: Phone, line: bytes, events: int) -> bool:
    try:
        command = decode_command(line)
    except msgspec.DecodeError as error:
        _write(events, [Failed(do="", call=0, sentence=f"Not a command: {error}.")])
        return False
    phone.command(command)
    return isinstance(command, Quit)


def _write(descriptor: int, events: list[AnyEvent]) -> None:
    if not events:
        return
    rest = b"".join(encode(event) for event in events)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except BrokenPipeError:
        return


def main() -> int:
    """Own stdin and stdout; nothing else may print."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    events = os.dup(1)
    os.dup2(2, 1)
    try:
        from sipfarm.phone.io.pjsua_phone import PjsuaPhone
    except ImportError as error:
        sentence = NOT_INSTALLED if error.name == "pjsua2" else f"pjsua2 does not load: {error}."
        _write(events, [Failed(do="open", call=0, sentence=sentence)])
        return 1
    serve(PjsuaPhone(), 0, events)
    return 0


if __name__ == "__main__":
    sys.exit(main())
