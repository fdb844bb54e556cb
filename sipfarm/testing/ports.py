"""Free ports that no other test takes, however many run at once.

The ports lie below the range that the kernel gives out by itself, and are held by file locks in the
temporary directory: a lock ends with its process, so nothing is left behind by a killed one.
"""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

FIRST_PORT = 10_000
BLOCK_PORTS = 10
LOCK_DIRECTORY = f"sipfarm-ports-{os.getuid()}"


class PortLease:
    """Ports in a row, held until `release`; free over UDP and TCP when they were taken."""

    def __init__(self, ports: Sequence[int], locks: Sequence[int]) -> None:
        self.ports = tuple(ports)
        self._locks = list(locks)

    @property
    def first(self) -> int:
        return self.ports[0]

    def release(self) -> None:
        while self._locks:
            os.close(self._locks.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lease_ports(count: int = 1, address: str = "127.0.0.1") -> PortLease:
    """Take `count` ports in a row that nobody has."""
    directory = Path(tempfile.gettempdir()) / LOCK_DIRECTORY
    directory.mkdir(exist_ok=True)
    blocks_wanted = -(-count // BLOCK_PORTS)
    starts = range(FIRST_PORT, _ephemeral_first() - blocks_wanted * BLOCK_PORTS, BLOCK_PORTS)
    for start in random.SystemRandom().sample(starts, len(starts)):
        locks = _lock_blocks(directory, start, blocks_wanted)
        if locks is None:
            continue
        lease = PortLease(range(start, start + count), locks)
        if all(_is_free(address, port) for port in lease.ports):
            return lease
        lease.release()
    raise OSError(f"no {count} free ports in a row below {starts.stop}")


def _lock_blocks(directory: Path, start: int, blocks: int) -> list[int] | None:
    locks: list[int] = []
    for block in range(blocks):
        path = directory / str(start + block * BLOCK_PORTS)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        locks.append(lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            for held in locks:
                os.close(held)
            return None
    return locks


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


def _ephemeral_first() -> int:
    text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii")
    return max(int(text.split()[0]), FIRST_PORT + 2_000)
