"""The farm that a newcomer gets: `sipfarm run` with its demo domain, on ports of a test."""

import http.client
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from sipfarm.admin.face import NotReached
from sipfarm.admin.io.client import AdminClient, Answer
from sipfarm.testing.eventually import eventually
from sipfarm.testing.ports import lease_ports
from sipfarm.testing.processes import Child, ChildFailed

SIPFARM: Final = (sys.executable, "-m", "sipfarm.cli.main")
READY_WITHIN_S: Final = 40.0


class DemoFarm:
    """A farm of `members`, ready when this is made. Its ports go back when it is ended."""

    def __init__(self, data: Path, members: int = 2, options: Sequence[str] = ()) -> None:
        self.host = "127.0.0.1"
        self.members = members
        self._sip_lease, self._admin_lease = lease_ports(1), lease_ports(members + 1)
        self.port = self._sip_lease.first
        """SIP, over UDP and TCP."""
        self.admin_port = self._admin_lease.first
        """The port that answers for the farm; member k is at k above it."""
        self.child = Child(
            [
                *(*SIPFARM, "run", "--members", str(members), "--data", data),
                *("--listen", f"{self.host}:{self.port}"),
                *("--admin", f"{self.host}:{self.admin_port}"),
                *options,
            ]
        )
        try:
            self.child.wait_for_line(r"^ready\b", READY_WITHIN_S)
        except ChildFailed:
            self.end()
            raise

    def ask(self, path: str, method: str = "GET", member: int = 0) -> Answer:
        """The answer of the farm's port, or of a member's (from 1), whatever it says."""
        return AdminClient(f"{self.host}:{self.admin_port + member}").exchange(method, path)

    def shown(self, path: str, method: str = "GET", member: int = 0) -> Any:  # noqa: ANN401
        """A view of the API under `/api/v1/`."""
        answer = self.ask(f"/api/v1/{path}", method, member)
        if answer.status != http.client.OK:
            raise AssertionError(f"{path}: {answer}")
        return msgspec.json.decode(answer.body)

    def pid_of(self, member: str) -> int:
        return next(view["pid"] for view in self.shown("members") if view["name"] == member)

    def wait_until(self, holds: Callable[[], bool], what: str, within_s: float = 15.0) -> None:
        """Look until it holds; an answer that does not come, or is a refusal, does not count."""

        def look() -> bool:
            try:
                return holds()
            except (NotReached, AssertionError):
                return False

        eventually(look, what, within_s, self.child.tail)

    def wait_whole(self) -> None:
        """Until each member says that all of them are ready."""

        def is_whole() -> bool:
            views = [
                view for at in range(self.members + 1) for view in self.shown("members", member=at)
            ]
            return {view["state"] for view in views} == {"ready"}

        self.wait_until(is_whole, "all members see all of them ready")

    def kill(self, member: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a member a signal; its process."""
        pid = self.pid_of(member)
        os.kill(pid, number)
        return pid

    def end(self) -> int:
        status = self.child.end()
        self._sip_lease.release()
        self._admin_lease.release()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
