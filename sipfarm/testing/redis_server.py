"""A Redis server of a test: started on a free port, killed and started again at will."""

import time
from pathlib import Path

import redis

from sipfarm.testing.ports import PortLease, lease_ports
from sipfarm.testing.processes import Child, ChildFailed

SLOTS = 16_384
READY_WITHIN_S = 20.0


class RedisServer:
    """One `redis-server` with its data in `directory`; as a cluster of one node if wanted."""

    def __init__(
        self, directory: Path, *, cluster: bool = False, replica_of: int | None = None
    ) -> None:
        self._directory = directory
        self._cluster = cluster
        self._replica_of = replica_of
        self._lease: PortLease = lease_ports(2)
        self._child: Child | None = None
        self.start()
        if cluster:
            self._form_cluster()

    @property
    def port(self) -> int:
        return self._lease.first

    @property
    def url(self) -> str:
        """What `[farm] store` would say."""
        return f"redis{'+cluster' if self._cluster else ''}://127.0.0.1:{self.port}/0"

    @property
    def child(self) -> Child:
        """The process, for signals."""
        if self._child is None:
            raise ChildFailed("the redis-server is not running")
        return self._child

    def start(self) -> None:
        """Start it with the data it had, and wait until it takes connections."""
        arguments = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port)]
        arguments += ["--dir", str(self._directory), "--save", "", "--appendonly", "yes"]
        # By default a write is put off, though answered, while the disk is slow.
        arguments += ["--appendfsync", "no"]
        if self._cluster:
            arguments += ["--cluster-enabled", "yes", "--cluster-port", str(self.port + 1)]
        if self._replica_of is not None:
            arguments += ["--replicaof", "127.0.0.1", str(self._replica_of)]
        self._child = Child(arguments)
        self._child.wait_for_line("Ready to accept connections", READY_WITHIN_S)

    def kill(self) -> None:
        """End it at once; what it had acknowledged is in its file, as far as the kernel goes."""
        self.child.kill()
        self._child = None

    def end(self) -> None:
        """End it, and give its ports back."""
        if self._child is not None:
            self._child.end()
            self._child = None
        self._lease.release()

    def _form_cluster(self) -> None:
        with redis.Redis(port=self.port) as client:
            self._ask(client, "CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
            deadline = time.monotonic() + READY_WITHIN_S
            while b"cluster_state:ok" not in self._ask(client, "CLUSTER", "INFO"):
                if time.monotonic() > deadline:
                    raise ChildFailed(f"no cluster:\n{self.child.tail()}")
                time.sleep(0.02)

    @staticmethod
    def _ask(client: redis.Redis, *command: str | int) -> bytes:
        answer: object = client.execute_command(*command)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return answer if isinstance(answer, bytes) else b""
