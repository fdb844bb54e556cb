"""A process that writes to a store; what it has got an answer for, it prints.

python store_writer.py URL NAME shared COUNT    as one of several that share addresses-of-record
python store_writer.py URL NAME on              refreshes one binding until it is killed
"""

import asyncio
import os
import sys

from sipfarm.base.records import Binding, RegisterUpdate
from sipfarm.cluster.io.store import Store, open_store

SHARED = 20
NOW = 1_800_000_000_000


def update(aor: str, contact: str, cseq: int) -> RegisterUpdate:
    binding = Binding(aor, contact, contact, contact, cseq, NOW + 3_600_000)
    return RegisterUpdate(aor, contact, cseq, (binding,))


async def shared(store: Store, name: str, count: int) -> None:
    member = await store.join(name, bus="", admin="", pid=os.getpid(), lease_ms=1, wall_ms=NOW)
    print(f"number {member.number}", flush=True)

    async def refresh(aor: str) -> None:
        for cseq in range(1, count + 1):
            outcome = await store.register(update(aor, name, cseq), NOW)
            assert outcome.status == "applied", outcome

    await asyncio.gather(*(refresh(f"sip:{n}@x") for n in range(SHARED)))
    print("done", flush=True)


async def on(store: Store, name: str) -> None:
    cseq = 0
    while True:
        cseq += 1
        await store.register(update("sip:on@x", name, cseq), NOW)
        print(f"cseq {cseq}", flush=True)


async def main(url: str, name: str, act: str, *count: str) -> None:
    async with open_store(url, timeout_s=20.0) as store:
        await (shared(store, name, int(count[0])) if act == "shared" else on(store, name))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
