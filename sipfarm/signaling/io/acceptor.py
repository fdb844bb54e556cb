"""Taking connections in: as many as are wanted, and through TLS in a bounded time."""

import asyncio
import errno
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Final

BACKLOG: Final = 1_024
ACCEPTS_PER_TURN_MAX: Final = 32
PAUSE_S: Final = 0.5  # where the machine has no descriptor left
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# A peer that has vanished is noticed within two minutes, or 20 s where something is sent to it.
KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000),
)

Admits = Callable[[str, int, int], bool]
"""Whether to take one more from a source, given the handshakes under way: its own, and all."""


class Acceptor:
    """One listening socket. A connection is made known when it is through its handshake."""

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[], asyncio.Protocol],
        admits: Admits,
        group: asyncio.TaskGroup,
        context: Callable[[], ssl.SSLContext] | None,
        handshake_s: float,
    ) -> None:
        self._listener = listener
        self._make = make
        self._admits = admits
        self._group = group
        self._context = context
        self._handshake_s = handshake_s if context is not None else None
        self._loop = asyncio.get_running_loop()
        self._under_way: Counter[str] = Counter()
        self._pause: asyncio.TimerHandle | None = None
        self.failed = 0
        """Handshakes that came to nothing."""
        listener.setblocking(False)
        listener.listen(BACKLOG)
        self._begin()

    @property
    def handshakes(self) -> int:
        return self._under_way.total()

    def close(self) -> None:
        """Take what has come, and no more; the socket stays its owner's."""
        while self._accept():
            pass
        self._loop.remove_reader(self._listener.fileno())
        if self._pause is not None:
            self._pause.cancel()

    def _begin(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> bool:
        """Whether there may be more."""
        for _ in range(ACCEPTS_PER_TURN_MAX):
            try:
                accepted, peer = self._listener.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._loop.remove_reader(self._listener.fileno())
                    self._pause = self._loop.call_later(PAUSE_S, self._begin)
                    return False
                continue  # the peer went before it was taken
            source = str(peer[0])
            if not self._admits(source, self._under_way[source], self.handshakes):
                accepted.close()
                continue
            accepted.setblocking(False)
            for level, option, value in KEEPALIVE:
                accepted.setsockopt(level, option, value)
            self._under_way[source] += 1
            self._group.create_task(self._take(accepted, source))
        return True

    async def _take(self, accepted: socket.socket, source: str) -> None:
        context = None if self._context is None else self._context()
        try:
            await self._loop.connect_accepted_socket(
                self._make, accepted, ssl=context, ssl_handshake_timeout=self._handshake_s
            )
        except OSError:  # what is wrong with a handshake, and its time-out, are some
            self.failed += 1
            accepted.close()
        except asyncio.CancelledError:
            accepted.close()
            raise
        finally:
            self._under_way[source] -= 1
            if not self._under_way[source]:
                del self._under_way[source]
