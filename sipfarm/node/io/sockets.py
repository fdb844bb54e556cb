"""The sockets that SIP comes in by, shared with the other members of the machine (SO_REUSEPORT)."""

import ctypes
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final

from sipfarm.base.errors import StartError
from sipfarm.base.net import HostPort, Listen

BUFFER_BYTES: Final = 4 << 20
NOBODY_PORT: Final = 9  # discard: nothing is ever received from it

_SO_ATTACH_FILTER: Final = 26  # <asm-generic/socket.h>; the module `socket` does not know them
_SO_DETACH_FILTER: Final = 27
# Classic BPF over the TCP header: what has SYN set is dropped, everything else passes.
_WITHOUT_SYN: Final = b"".join(
    struct.pack("HBBI", code, if_true, if_false, value)
    for code, if_true, if_false, value in (
        (0x30, 0, 0, 13),  # ldb [13]: the flags
        (0x45, 0, 1, 0x02),  # jset SYN
        (0x06, 0, 0, 0),  # ret: drop
        (0x06, 0, 0, 0xFFFF),  # ret: pass
    )
)


class SipSockets:
    """One socket for each listening point, in the order of the config."""

    def __init__(self, listens: Iterable[Listen]) -> None:
        """Raises StartError, and binds none, where one cannot be bound."""
        self._bound: list[tuple[Listen, socket.socket]] = []
        try:
            for listen in listens:
                bound = _bind(listen)
                host, port = bound.getsockname()[:2]
                self._bound.append((Listen(listen.transport, HostPort(host, port)), bound))
        except StartError:
            self.close()
            raise

    @property
    def listens(self) -> list[Listen]:
        """What they are bound to; a port of 0 has become a real one."""
        return [listen for listen, _ in self._bound]

    def __iter__(self) -> Iterator[tuple[int, Listen, socket.socket]]:
        """(index, listening point, socket)"""
        for index, (listen, bound) in enumerate(self._bound):
            yield index, listen, bound

    def leave_group(self) -> None:
        """Get no new datagram any more, while what is queued can still be read.

        The kernel passes a connected UDP socket over when it picks one of a port's group; it still
        sends anywhere.
        """
        for listen, bound in self._bound:
            if not listen.transport.is_stream:
                bound.connect((listen.address.host, NOBODY_PORT))

    def hold_back(self) -> None:
        """Begin no new connection, while those that have begun can still be accepted.

        A listener that is closed takes with it what it has not accepted. So it hears no SYN for a
        while before: whoever sent one sends it again, and finds another member.
        """
        program = ctypes.create_string_buffer(_WITHOUT_SYN, len(_WITHOUT_SYN))
        filtering = struct.pack("HL", len(_WITHOUT_SYN) // 8, ctypes.addressof(program))
        for _, listener in self._listeners():
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filtering)

    def close_listeners(self) -> None:
        """The kernel gives new connections to the other members of the group from now on."""
        for _, listener in self._listeners():
            listener.close()

    def open_listeners(self) -> list[tuple[int, Listen, socket.socket]]:
        """Take connections again; those that were closed, bound anew. Raises StartError."""
        opened: list[tuple[int, Listen, socket.socket]] = []
        for index, (listen, bound) in enumerate(self._bound):
            if listen.transport.is_stream and bound.fileno() < 0:
                again = _bind(listen)
                self._bound[index] = (listen, again)
                opened.append((index, listen, again))
            elif listen.transport.is_stream:
                _hear_all(bound)
        return opened

    def close(self) -> None:
        for _, bound in self._bound:
            bound.close()

    def _listeners(self) -> list[tuple[Listen, socket.socket]]:
        return [
            (listen, bound)
            for listen, bound in self._bound
            if listen.transport.is_stream and bound.fileno() >= 0
        ]


def _hear_all(listener: socket.socket) -> None:
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    except FileNotFoundError:  # it was not held back
        return


def _bind(listen: Listen) -> socket.socket:
    kind = socket.SOCK_STREAM if listen.transport.is_stream else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in listen.address.host else socket.AF_INET
    bound = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family is socket.AF_INET6:  # an IPv4 address is listened on by itself
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if listen.transport.is_stream:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        bound.bind((listen.address.host, listen.address.port))
    except OSError as error:
        bound.close()
        raise StartError(f"cannot listen on {listen}: {error.strerror}") from error
    return bound
