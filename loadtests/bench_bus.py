"""What does one hop of a packet over the bus cost in Python?

`python -m loadtests.bench_bus` links two buses over loopback TCP and uvloop, passes packets from
one to the other and prints microseconds of CPU per packet: both sides and the kernel together, as
they share one process here. A line names how many packets leave in one turn of the loop, and in how
many payloads (the engine hands over one payload a turn). Writes one JSON line at the end.
"""

import asyncio
import json
import platform
import sys
from collections.abc import Callable, Sequence
from time import perf_counter_ns, process_time_ns

import msgspec
import uvloop

from loadtests.cpu import model_name
from sipfarm.base.farm_view import Load
from sipfarm.base.io.clock import SystemClock
from sipfarm.base.io.entropy import SystemEntropy
from sipfarm.base.io.logs import configure_logs, get_log
from sipfarm.base.net import HostPort
from sipfarm.cluster.handshake import Identity
from sipfarm.cluster.io.bus import Bus, BusHandlers
from sipfarm.cluster.wire import FrameReader, Heartbeat, OwnState, Packets, encode

PACKET = bytes(range(256)) * 3  # 768 bytes: an INVITE with SDP, about
ROUNDS = 3
PACKETS_PER_ROUND = 60_000
WINDOW = 2_048
CALLS = 5_000
KEY = bytes(32)


class Party:
    """A bus that counts what it gets."""

    def __init__(self, group: asyncio.TaskGroup, number: int) -> None:
        self.identity = Identity("bench", number, 1, f"m{number}")
        self.received_bytes = 0
        self.linked = asyncio.Event()
        self.moved = asyncio.Event()
        handlers = BusHandlers(
            packets=self._packets,
            heartbeat=lambda incarnation, frame: None,
            invalidate=lambda number, what, key: None,
            event=lambda number, name, body: None,
            rpc=self._rpc,
            accepts=lambda incarnation: True,
            link_up=lambda incarnation: self.linked.set(),
            link_down=lambda incarnation: None,
            refused=lambda refused: None,
        )
        log = get_log(member=self.identity.name)
        self.bus = Bus(group, SystemClock(), SystemEntropy(), log, (KEY,), handlers)

    def _packets(self, number: int, payloads: Sequence[bytes]) -> None:
        self.received_bytes += sum(map(len, payloads))
        self.moved.set()

    async def _rpc(self, method: str, arguments: bytes, number: int) -> bytes:
        return arguments


class Sender:
    """Passes packets on, so many each turn, and never more than a window ahead."""

    def __init__(self, one: Party, two: Party, turn: int, payloads: int) -> None:
        self._one, self._two = one, two
        self._payload = PACKET * (turn // payloads)
        self._payloads = payloads
        self._turn = turn

    async def run(self, packets: int) -> None:
        start = self._two.received_bytes // len(PACKET)
        sent = 0
        while sent < packets:
            for _ in range(self._payloads):
                assert self._one.bus.send_packets(2, self._payload)
            sent += self._turn
            await asyncio.sleep(0)
            while start + sent - self._two.received_bytes // len(PACKET) > WINDOW:
                await self._wait()
        while self._two.received_bytes // len(PACKET) < start + sent:
            await self._wait()

    async def _wait(self) -> None:
        self._two.moved.clear()
        await self._two.moved.wait()


async def hop_us(one: Party, two: Party, turn: int, payloads: int) -> float:
    """CPU microseconds of one packet, in the best round."""
    sender = Sender(one, two, turn, payloads)
    rounds: list[float] = []
    for _ in range(ROUNDS):
        packets = min(PACKETS_PER_ROUND, 20_000 * turn)
        begun = process_time_ns()
        await sender.run(packets)
        rounds.append((process_time_ns() - begun) / 1_000 / packets)
    return min(rounds)


async def call_us(one: Party) -> tuple[float, float]:
    """CPU and elapsed microseconds of one call and its answer, one after the other."""
    begun_cpu, begun = process_time_ns(), perf_counter_ns()
    for _ in range(CALLS):
        await one.bus.call(2, "claim", b"x" * 100, 5.0)
    return (
        (process_time_ns() - begun_cpu) / 1_000 / CALLS,
        (perf_counter_ns() - begun) / 1_000 / CALLS,
    )


def codec_us(frame: Packets | Heartbeat) -> tuple[float, float]:
    """Microseconds of writing and of reading one frame, without a network."""
    wire = encode(frame, 1)

    def read() -> None:
        reader = FrameReader()
        reader.push(wire)
        reader.pop()

    return best_us(lambda: encode(frame, 1)), best_us(read)


def best_us(act: Callable[[], object], count: int = 20_000) -> float:
    rounds: list[float] = []
    for _ in range(ROUNDS):
        begun = process_time_ns()
        for _ in range(count):
            act()
        rounds.append((process_time_ns() - begun) / 1_000 / count)
    return min(rounds)


async def measure() -> dict[str, float]:
    figures: dict[str, float] = {}
    async with asyncio.TaskGroup() as group:
        one, two = Party(group, 1), Party(group, 2)
        address = await two.bus.listen(HostPort("127.0.0.1", 0))
        one.bus.identify(one.identity)
        two.bus.identify(two.identity)
        one.bus.dial((2, 1), address)
        await asyncio.gather(one.linked.wait(), two.linked.wait())
        for turn, payloads in ((1, 1), (8, 1), (8, 8), (32, 1), (32, 32)):
            name = f"packet, {turn} a turn in {payloads} payloads"
            figures[name] = await hop_us(one, two, turn, payloads)
        figures["call and answer, CPU"], figures["call and answer, elapsed"] = await call_us(one)
        one.bus.close()
        two.bus.close()
    written, read = codec_us(Packets([PACKET]))
    figures["frame of one packet, written"], figures["frame of one packet, read"] = written, read
    written, read = codec_us(Heartbeat(OwnState.READY, Load(1, 2, 3, 4), 1 << 60))
    figures["heartbeat, written"], figures["heartbeat, read"] = written, read
    return figures


def main() -> None:
    configure_logs(level="error")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(measure())
    for name, figure in figures.items():
        print(f"{name:40} {figure:8.2f} us")
    record = {
        "us": figures,
        "python": platform.python_version(),
        "cpu": model_name(),
        "msgspec": msgspec.__version__,
    }
    json.dump(record, sys.stdout)
    print()


if __name__ == "__main__":
    main()
