"""Ports of this machine: whether one is free, and which one is."""

import contextlib
import random
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from sipfarm.base.errors import StartError
from sipfarm.base.net import HostPort, Listen, Transport

FIRST_PORT: Final = 10_240
TRIES_MAX: Final = 1_000
EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def refuse_taken(listens: Iterable[Listen]) -> None:
    """StartError if one is taken. Members share their ports, so they would not notice by themselves
    that another farm listens there too.
    """
    for listen in listens:
        if listen.address.port:
            _bind(listen).close()


def free_port(host: str, count: int = 1) -> int:
    """The first of `count` ports in a row that are free over UDP and TCP, and that the kernel gives
    to no connection by itself.
    """
    firsts = range(FIRST_PORT, _ephemeral_first() - count)
    for first in random.SystemRandom().sample(firsts, TRIES_MAX):
        with contextlib.suppress(StartError):
            for port in range(first, first + count):
                address = HostPort(host, port)
                refuse_taken((Listen(Transport.UDP, address), Listen(Transport.TCP, address)))
            return first
    raise StartError(f"there is no free port on {host}")


def listening(address: HostPort) -> socket.socket:
    """A listening TCP socket; StartError says that the port is taken."""
    bound = _bind(Listen(Transport.TCP, address))
    bound.listen()
    return bound


def _bind(listen: Listen) -> socket.socket:
    address = listen.address
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    kind = socket.SOCK_STREAM if listen.transport.is_stream else socket.SOCK_DGRAM
    bound = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if listen.transport.is_stream:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address.host, address.port))
    except OSError as error:
        bound.close()
        raise StartError(f"cannot listen on {listen}: {(error.strerror or '').lower()}") from error
    return bound


def _ephemeral_first() -> int:
    try:
        first = int(EPHEMERAL.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        first = 32_768
    return max(first, FIRST_PORT + 2 * TRIES_MAX)
