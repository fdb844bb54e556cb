"""Errors, typed by whose fault they are; each carries its verdict."""

from collections.abc import Iterable

import msgspec


class SipfarmError(Exception):
    """What the project raises itself."""


class PeerError(SipfarmError):
    """The other side broke the protocol: `status` is what to answer, where an answer is allowed."""

    def __init__(self, reason: str, *, status: int = 400, section: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.section = section


class UsageError(SipfarmError):
    """Our own caller did what it must not: a fault in the program, never in a peer."""


class CapacityError(SipfarmError):
    """A limit is reached: answered with 503 and Retry-After, or dropped and counted."""

    def __init__(self, reason: str, *, status: int = 503, retry_after_s: int = 5) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.retry_after_s = retry_after_s


class StartError(SipfarmError):
    """The program cannot start here, and one sentence says why: a taken port, a missing library."""


class ConfigProblem(msgspec.Struct, frozen=True):
    """One thing wrong in a file: where it stands, and what is allowed there."""

    file: str
    line: int
    key: str
    """The key with its section, `[sip] listen`; empty where the whole file is meant."""
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.key}: {self.reason}" if self.key else f"{where}: {self.reason}"


class ConfigError(SipfarmError):
    """A file that the operator wrote is wrong; all that is wrong in it is told at once."""

    def __init__(self, problems: Iterable[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
