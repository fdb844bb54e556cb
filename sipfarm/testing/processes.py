"""Child processes of a test: started, waited for by what they print, and ended by their own pid."""

import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

LINES_MAX = 20_000
END_WITHIN_S = 10.0


class ChildFailed(AssertionError):
    """A child ended, or said nothing, when the test needed it."""


class Child:
    """One child process. What it prints is kept, the oldest lines dropped beyond `LINES_MAX`."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._line_count = 0
        self._finished = False
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            self.arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            cwd=directory,
            text=True,
            errors="backslashreplace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def lines(self) -> list[str]:
        """What it has printed so far, standard error included."""
        with self._changed:
            return list(self._lines)

    @property
    def exit_status(self) -> int | None:
        """How it ended: negative for a signal, nothing while it runs."""
        return self._process.poll()

    def wait_for_line(self, pattern: str, timeout_s: float = 10.0, after: int = 0) -> re.Match[str]:
        """Wait for a line that the pattern is found in, leaving out the first `after` lines."""
        expression = re.compile(pattern)
        seen = after
        found: re.Match[str] | None = None

        def look() -> bool:
            nonlocal seen, found
            skipped = self._line_count - len(self._lines)
            for line in list(self._lines)[max(seen - skipped, 0) :]:
                found = expression.search(line)
                if found:
                    return True
            seen = max(seen, self._line_count)
            return self._finished

        with self._changed:
            self._changed.wait_for(look, timeout_s)
        if found is None:
            ended = f"ended with {self.exit_status}" if self._finished else f"ran for {timeout_s} s"
            raise ChildFailed(f"{self} {ended} without a line of /{pattern}/:\n{self.tail()}")
        return found

    @property
    def line_count(self) -> int:
        """How many lines it has printed: a mark for `wait_for_line(..., after=mark)`."""
        with self._changed:
            return self._line_count

    def wait(self, timeout_s: float = END_WITHIN_S) -> int:
        """Wait for its end; the exit status."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ChildFailed(f"{self} still runs after {timeout_s} s:\n{self.tail()}") from None
        self._reader.join(END_WITHIN_S)
        return status

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        self._process.send_signal(number)

    def end(self, timeout_s: float = END_WITHIN_S) -> int:
        """End it: by SIGTERM, and if that does not do within the time, by SIGKILL."""
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            return self.wait(timeout_s)
        except ChildFailed:
            return self.kill()

    def kill(self) -> int:
        """End it at once."""
        self._process.kill()
        return self.wait()

    def tail(self, count: int = 40) -> str:
        """Its last lines, for a message."""
        return "\n".join(f"  | {line}" for line in self.lines[-count:])

    def __str__(self) -> str:
        return f"{Path(self.arguments[0]).name} (pid {self.pid})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _read(self) -> None:
        output = self._process.stdout
        assert output is not None
        with output:
            for line in output:
                with self._changed:
                    self._lines.append(line.rstrip("\n"))
                    self._line_count += 1
                    self._changed.notify_all()
        with self._changed:
            self._finished = True
            self._changed.notify_all()


class Children:
    """The child processes of one test or one session: all are ended when it is left."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def start(
        self,
        arguments: Sequence[str | Path],
        *,
        ready: str = "",
        timeout_s: float = 20.0,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> Child:
        """Start a child, and wait for the line that says it is ready if one is named."""
        child = Child(arguments, environment=environment, directory=directory)
        self._children.append(child)
        if ready:
            child.wait_for_line(ready, timeout_s)
        return child

    def end_all(self) -> None:
        """End them, the last started first."""
        while self._children:
            self._children.pop().end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_all()
