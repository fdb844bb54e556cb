"""When a UDP socket is read: at once while little comes in, every two milliseconds under load.

A packet that wakes the process by itself costs more than the packet. So where wake-ups follow each
other closely the socket is read by the clock instead, and everything that has come meanwhile is one
batch; where it is more than one read takes, the next follows at once. When nothing comes any more,
the next packet wakes us again. (Network drivers of Linux do the same between interrupts and
polling.)

libuv gives a descriptor up once it shows an error, as a socket does while ICMP errors wait in its
queue. So the loop watches an epoll instance that watches the socket, and is only ever readable.
"""

import asyncio
import select
from collections.abc import Callable
from typing import Final

POLL_S: Final = 0.002  # what a packet may wait under load
WAKES_LOOKED_AT: Final = 64
WAKES_PER_S_BUSY: Final = 1_000
EMPTY_POLLS_MAX: Final = 3


class UdpReader:
    """Calls `read` for a descriptor; it answers how many packets there were."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        descriptor: int,
        read: Callable[[], int],
        full: int,
    ) -> None:
        """`full`: after so many packets of one read there are more."""
        self._loop = loop
        self._watch = select.epoll()
        self._watch.register(descriptor, select.EPOLLIN)  # and errors, which are always told
        self._read = read
        self._full = full
        self._wakes = 0
        self._counted_since_s = loop.time()
        self._empty_polls = 0
        self._poll_timer: asyncio.Handle | None = None
        loop.add_reader(self._watch, self._woken)

    @property
    def is_polling(self) -> bool:
        return self._poll_timer is not None

    def stop(self) -> None:
        if self._poll_timer is None:
            self._loop.remove_reader(self._watch)
        else:
            self._poll_timer.cancel()
            self._poll_timer = None
        self._watch.close()

    def _woken(self) -> None:
        self._read()
        self._wakes += 1
        if self._wakes < WAKES_LOOKED_AT or self._watch.closed:
            return
        now_s = self._loop.time()
        if now_s - self._counted_since_s < WAKES_LOOKED_AT / WAKES_PER_S_BUSY:
            self._loop.remove_reader(self._watch)
            self._empty_polls = 0
            self._poll_timer = self._loop.call_later(POLL_S, self._poll)
        self._wakes, self._counted_since_s = 0, now_s

    def _poll(self) -> None:
        timer = self._poll_timer = self._loop.call_later(POLL_S, self._poll)
        received = self._read()
        if received >= self._full and self._poll_timer is timer:
            timer.cancel()
            self._poll_timer = self._loop.call_soon(self._poll)
        if received:
            self._empty_polls = 0
            return
        self._empty_polls += 1
        if self._empty_polls >= EMPTY_POLLS_MAX and self._poll_timer is timer:
            timer.cancel()
            self._poll_timer = None
            self._counted_since_s = self._loop.time()
            self._loop.add_reader(self._watch, self._woken)
