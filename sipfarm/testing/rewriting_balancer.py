"""A balancer that rewrites addresses, as a NAT does: a member sees the balancer, not the phone.

Each datagram of a phone goes to a member at random, from a port of its own for that phone and that
member; only what this member sends back to that port reaches the phone, as with conntrack. It can
lose packets, in both directions.
"""

import contextlib
import os
import random
import select
import socket
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Self

from sipfarm.base.net import HostPort

PAIRS_MAX: Final = 1_000
DATAGRAM_BYTES_MAX: Final = 65_535
DATAGRAMS_PER_TURN_MAX: Final = 64
BUFFER_BYTES: Final = 4 << 20

Address = tuple[str, int]


class RewritingBalancer:
    """Runs on a thread of its own while the block is open."""

    def __init__(
        self, public: HostPort, members: Sequence[HostPort], seed: int, loss: float = 0.0
    ) -> None:
        """`loss` is the chance of a datagram to be dropped."""
        self.public = public
        self.loss = loss
        self.to_members = [0] * len(members)
        """Datagrams that went to each member."""
        self.to_phones = 0
        self.lost = 0
        self._members = [(member.host, member.port) for member in members]
        self._random = random.Random(seed)
        self._pairs: OrderedDict[tuple[Address, int], socket.socket] = OrderedDict()
        self._phones: dict[int, tuple[Address, int]] = {}
        self._front = _socket((public.host, public.port))
        self._wake_read, self._wake_write = os.pipe()
        self._poll = select.epoll()
        self._poll.register(self._front.fileno(), select.EPOLLIN)
        self._poll.register(self._wake_read, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="balancer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._wake_write)
        self._thread.join()
        self._poll.close()
        self._front.close()
        os.close(self._wake_read)
        for back in self._pairs.values():
            back.close()

    def _run(self) -> None:
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._wake_read:
                    return
                if descriptor == self._front.fileno():
                    self._take_from_phones()
                elif descriptor in self._phones:
                    self._take_from_member(descriptor)

    def _take_from_phones(self) -> None:
        for _ in range(DATAGRAMS_PER_TURN_MAX):
            try:
                data, phone = self._front.recvfrom(DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                return
            member = self._random.randrange(len(self._members))
            self.to_members[member] += 1
            if self._is_lost():
                continue
            with contextlib.suppress(OSError):  # nobody is there: as if it were lost
                self._pair(phone, member).send(data)

    def _take_from_member(self, descriptor: int) -> None:
        phone, member = self._phones[descriptor]
        back = self._pairs[phone, member]
        for _ in range(DATAGRAMS_PER_TURN_MAX):
            try:
                data = back.recv(DATAGRAM_BYTES_MAX)
            except OSError:
                return
            self.to_phones += 1
            if not self._is_lost():
                with contextlib.suppress(OSError):
                    self._front.sendto(data, phone)

    def _is_lost(self) -> bool:
        if self._random.random() >= self.loss:
            return False
        self.lost += 1
        return True

    def _pair(self, phone: Address, member: int) -> socket.socket:
        """The socket of a phone at a member; the one unused for longest gives way."""
        back = self._pairs.get((phone, member))
        if back is not None:
            self._pairs.move_to_end((phone, member))
            return back
        back = _socket((self.public.host, 0))
        back.connect(self._members[member])
        self._pairs[phone, member] = back
        self._phones[back.fileno()] = phone, member
        self._poll.register(back.fileno(), select.EPOLLIN)
        if len(self._pairs) > PAIRS_MAX:
            _, oldest = self._pairs.popitem(last=False)
            del self._phones[oldest.fileno()]
            self._poll.unregister(oldest.fileno())
            oldest.close()
        return back


def _socket(address: Address) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    bound.bind(address)
    return bound
