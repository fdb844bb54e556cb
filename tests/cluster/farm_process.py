"""A process that has its place in a farm, and prints what it sees and hears.

python farm_process.py URL NAME
    joined NUMBER EPOCH             each time it begins an incarnation
    view 1.5:ready 2.6:suspected    at each change, by number, epoch and state
    packet FROM TEXT                a packet that it may work on
    dropped                         it found itself tombstoned
It sends "beat EPOCH" to all others, 20 times a second, as long as it may act.
"""

import asyncio
import os
import sys

import uvloop

from sipfarm.base.farm_view import Load, View
from sipfarm.base.io.clock import SystemClock
from sipfarm.base.io.entropy import SystemEntropy
from sipfarm.base.io.logs import configure_logs, get_log
from sipfarm.base.net import HostPort
from sipfarm.base.records import MemberRecord
from sipfarm.cluster.io.farm import Farm
from sipfarm.cluster.io.farm_parts import FarmHandlers, FarmSettings
from sipfarm.cluster.io.store import open_store

BEAT_S = 0.05


def say(*words: object) -> None:
    print(*words, flush=True)


def show(view: View) -> None:
    say("view", *(f"{m.number}.{m.epoch}:{m.state.value}" for m in view.members))


def joined(record: MemberRecord) -> None:
    say("joined", record.number, record.epoch)


async def refuse(method: str, arguments: bytes, number: int) -> bytes:
    return arguments


async def drop() -> None:
    say("dropped")


def ignore(*_: object) -> None:
    """Nothing is cached here."""


async def main(url: str, name: str) -> None:
    handlers = FarmHandlers(
        packets=lambda number, payloads: [say("packet", number, p.decode()) for p in payloads],
        invalidate=ignore,
        event=ignore,
        rpc=refuse,
        load=Load,
        view_changed=show,
        names_changed=ignore,
        member_gone=ignore,
        link_up=ignore,
        link_down=ignore,
        tombstoned=drop,
        rejoined=joined,
    )
    settings = FarmSettings(farm="farm", name=name, admin="", pid=os.getpid())
    async with open_store(url) as store, asyncio.TaskGroup() as group:
        clock, entropy, log = SystemClock(), SystemEntropy(), get_log(member=name)
        farm = Farm(group, store, clock, entropy, log, settings, handlers, keys=(bytes(32),))
        joined(await farm.join(HostPort("127.0.0.1", 0)))
        await farm.start()

        def beat() -> None:
            if farm.may_act():
                for number in farm.bus.linked:
                    farm.bus.send_packets(number, b"beat %d" % farm.record.epoch)
            loop.call_later(BEAT_S, beat)

        loop = asyncio.get_running_loop()
        beat()
        await asyncio.Event().wait()


if __name__ == "__main__":
    configure_logs(level="error")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
