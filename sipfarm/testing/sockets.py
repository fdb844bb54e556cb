"""Sockets of other processes of this machine: who is bound where, and a copy of one of them.

By /proc/net, /proc/PID/fd and pidfd_getfd, which needs the right to trace the other process.
"""

import contextlib
import ctypes
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sipfarm.base.net import HostPort

PIDFD_GETFD: Final = 438  # the same number on every machine since Linux 5.6
TCP_LISTEN: Final = 0x0A

_libc: Final = ctypes.CDLL(None, use_errno=True)


def udp_inodes(address: HostPort) -> frozenset[int]:
    """The sockets bound to an IPv4 address and port; members share theirs (SO_REUSEPORT)."""
    return frozenset(inode for local, _, inode in _rows("udp") if local == address)


def is_listening(address: HostPort) -> bool:
    """Whether somebody takes TCP connections at an IPv4 address."""
    return any(local == address and state == TCP_LISTEN for local, state, _ in _rows("tcp"))


def owner_of(inode: int, pids: list[int]) -> tuple[int, int] | None:
    """Which of the processes holds a socket, and its descriptor there."""
    for pid in pids:
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                if _target(link) == f"socket:[{inode}]":
                    return pid, int(link.name)
    return None


def copied_socket(pid: int, descriptor: int) -> socket.socket:
    """The same socket as a descriptor of another process; ours to close."""
    process = os.pidfd_open(pid)
    try:
        copy: int = _libc.syscall(PIDFD_GETFD, process, descriptor, 0)
        if copy < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"pidfd_getfd: {os.strerror(number)}")
    finally:
        os.close(process)
    return socket.socket(fileno=copy)


def children_of(pid: int) -> list[int]:
    """The processes that one has started and that still run."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text("ascii").split()]
    return found


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _rows(protocol: str) -> Iterator[tuple[HostPort, int, int]]:
    """Local address, state and inode of each socket."""
    for line in Path(f"/proc/net/{protocol}").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        host, _, port = fields[1].partition(":")
        address = ipaddress.IPv4Address(int(host, 16).to_bytes(4, sys.byteorder))
        yield HostPort(str(address), int(port, 16)), int(fields[3], 16), int(fields[9])
