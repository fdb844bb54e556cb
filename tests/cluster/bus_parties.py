"""Members' buses on loopback, and a stranger who speaks the protocol by hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from sipfarm.base.farm_view import Incarnation
from sipfarm.base.io.clock import SystemClock
from sipfarm.base.io.entropy import SystemEntropy
from sipfarm.base.io.logs import get_log
from sipfarm.base.net import HostPort
from sipfarm.base.secrets import Secret, farm_keys
from sipfarm.cluster.handshake import Handshake, Identity, Refused, Role
from sipfarm.cluster.io.bus import Bus, BusHandlers, BusTls, DialTimes
from sipfarm.cluster.io.link import LinkLimits
from sipfarm.cluster.wire import Frame, FrameReader, Heartbeat, Received, encode

LOOPBACK = HostPort("127.0.0.1", 0)
KEY = farm_keys(Secret("a secret of the whole farm")).bus
PATIENCE_S = 20.0
LOOK_AGAIN_S = 0.01

T = TypeVar("T")


class Happenings:
    """Lets a test wait for what it is about, instead of for a time."""

    def __init__(self) -> None:
        self._something = asyncio.Event()

    def note(self) -> None:
        self._something.set()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until it holds; what nobody tells of is looked at again every now and then."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                self._something.clear()
                try:
                    async with asyncio.timeout(LOOK_AGAIN_S):
                        await self._something.wait()
                except TimeoutError:
                    continue


class Party:
    """One member's bus, and all that it heard."""

    ups: list[Incarnation]
    downs: list[Incarnation]
    dead: set[Incarnation]

    def __init__(
        self,
        happenings: Happenings,
        group: asyncio.TaskGroup,
        number: int,
        *,
        epoch: int = 1,
        keys: Sequence[bytes] = (KEY,),
        limits: LinkLimits | None = None,
        times: DialTimes | None = None,
        tls: BusTls | None = None,
    ) -> None:
        self.identity = Identity("farm", number, epoch, f"m{number}")
        self.happenings = happenings
        self.packets: list[tuple[int, bytes]] = []
        self.said: list[tuple[object, ...]] = []
        self.ups = []
        self.downs = []
        self.refused: list[Refused] = []
        self.dead = set()
        self.answer: Callable[[str, bytes], Awaitable[bytes]] = echo
        handlers = BusHandlers(
            packets=self._packets,
            heartbeat=lambda incarnation, frame: self._say(incarnation, frame),
            invalidate=lambda number, what, key: self._say(number, what, key),
            event=lambda number, name, body: self._say(number, name, body),
            rpc=self._rpc,
            accepts=lambda incarnation: incarnation not in self.dead,
            link_up=lambda incarnation: self._note(self.ups, incarnation),
            link_down=lambda incarnation: self._note(self.downs, incarnation),
            refused=lambda refused: self._note(self.refused, refused),
        )
        self.bus = Bus(
            group,
            SystemClock(),
            SystemEntropy(),
            get_log(member=self.identity.name),
            keys,
            handlers,
            limits=limits,
            times=times,
            tls=tls,
        )
        self.address = LOOPBACK

    @property
    def number(self) -> int:
        return self.identity.number

    async def open(self, address: HostPort = LOOPBACK) -> "Party":
        self.address = await self.bus.listen(address)
        self.bus.identify(self.identity)
        return self

    def dial(self, other: "Party") -> None:
        self.bus.dial(other.identity.incarnation, other.address)

    def links(self) -> int:
        """Connections that are open, in use or not."""
        return len(self.bus._open)

    def _packets(self, number: int, payloads: Sequence[bytes]) -> None:
        self.packets += [(number, payload) for payload in payloads]
        self.happenings.note()

    async def _rpc(self, method: str, arguments: bytes, number: int) -> bytes:
        self._say(number, method, arguments)
        return await self.answer(method, arguments)

    def _say(self, *said: object) -> None:
        self._note(self.said, said)

    def _note(self, where: list[T], what: T) -> None:
        where.append(what)
        self.happenings.note()


async def echo(method: str, arguments: bytes) -> bytes:
    return method.encode() + b" " + arguments


@asynccontextmanager
async def parties(
    *numbers: int, **more: object
) -> AsyncIterator[tuple[Happenings, asyncio.TaskGroup, list[Party]]]:
    """Open buses; they are closed, and all their tasks over, when the block ends."""
    happenings = Happenings()
    async with asyncio.TaskGroup() as group:
        made = [Party(happenings, group, number, **more) for number in numbers]  # type: ignore[arg-type]
        try:
            yield happenings, group, [await party.open() for party in made]
        finally:
            for party in made:
                party.bus.close()


class Stranger:
    """Speaks frames over a plain connection, reading only when it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader = reader
        self._frames = FrameReader()

    @classmethod
    async def connect(cls, party: Party, read_bytes_max: int = 1 << 16) -> "Stranger":
        reader, writer = await asyncio.open_connection(
            party.address.host, party.address.port, limit=read_bytes_max
        )
        return cls(reader, writer)

    async def shake_hands(self, own: Identity, key: bytes = KEY) -> None:
        """Become a member."""
        handshake = Handshake(Role.DIALER, own, (key,), SystemEntropy().token_bytes(32))
        frames: Sequence[Frame] = handshake.begin()
        while handshake.peer is None:
            for frame in frames:
                self.writer.write(encode(frame, 0))
            frame = await self.read()
            assert frame is not None, "the link was closed"
            frames = handshake.receive(frame)

    async def read(self) -> Received | None:
        """The next frame that is no heartbeat; None at the end."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                frame = self._frames.pop()
                if frame is not None and not isinstance(frame, Heartbeat):
                    return frame
                if frame is None:
                    data = await self._reader.read(1 << 16)
                    if not data:
                        return None
                    self._frames.push(data)

    async def closed(self) -> None:
        """Wait until the other side has ended the connection."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while await self._reader.read(1 << 16):
                    pass
            except ConnectionError:
                pass
        self.close()

    def close(self) -> None:
        self.writer.transport.abort()
