"""Ports that nothing on the machine uses."""

import socket
from contextlib import ExitStack
from typing import Final

ATTEMPTS_MAX: Final = 100


def free_udp_ports(host: str, count: int = 1) -> int:
    """The first of `count` UDP ports in a row that could be bound a moment ago."""
    for _ in range(ATTEMPTS_MAX):
        with ExitStack() as stack:
            first = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            first.bind((host, 0))
            port: int = first.getsockname()[1]
            port += port % 2 if count > 1 else 0
            try:
                for number in range(port, port + count):
                    if number == first.getsockname()[1]:
                        continue
                    one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                    one.bind((host, number))
            except (OSError, OverflowError):
                continue
            return port
    raise OSError(f"no {count} free UDP ports in a row on {host}")
