"""Sends requests that nobody waits for: `python -m sipfarm.testing.flood SERVER --count N …`.

Each is of its own call, and none is ever followed up. A line of JSON says how many went out.
"""

import argparse
import json
import random
import socket
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Final

from sipfarm.base.net import HostPort

DOMAIN: Final = "example.test"
BURST_S: Final = 0.01
JUNK_CREDENTIALS: Final = (
    f'Authorization: Digest username="alice", realm="{DOMAIN}", nonce="{"A" * 32}",'
    f' uri="sip:{DOMAIN}", response="{"0" * 32}", algorithm=MD5, qop=auth, nc=00000001,'
    ' cnonce="c"\r\n'
)
KINDS: Final = {
    "invite": ("INVITE", f"sip:bob@{DOMAIN}", ""),
    "register": ("REGISTER", f"sip:{DOMAIN}", JUNK_CREDENTIALS),
    "foreign": ("INVITE", "sip:evil@elsewhere.test", ""),
}


def requests(kind: str, sources: list[HostPort], life: int) -> Iterator[tuple[int, bytes]]:
    """Endlessly, from one source after the other: (its index, the request)."""
    method, uri, more = KINDS[kind]
    templates = [
        (
            f"{method} {uri} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {source};branch=z9hG4bK{life:x}-%d;rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:alice@{DOMAIN}>;tag={life:x}\r\n"
            f"To: <sip:alice@{DOMAIN}>\r\nCall-ID: {life:x}-%d\r\nCSeq: 1 {method}\r\n"
            f"Contact: <sip:alice@{source}>\r\n{more}Content-Length: 0\r\n\r\n"
        ).encode()
        for source in sources
    ]
    for number, (index, template) in enumerate(cycle(enumerate(templates))):
        yield index, template % (number, number)


def flood(
    server: HostPort, sources: list[HostPort], kind: str, count: int, per_second: int
) -> float:
    """Send them, as fast as can be where `per_second` is 0; the seconds it took."""
    sockets: list[socket.socket] = []
    for source in sources:
        sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sockets[-1].bind((source.host, source.port))
        sockets[-1].connect((server.host, server.port))
    burst = max(int(per_second * BURST_S), 1) if per_second else count
    begun_s = time.monotonic()
    for sent, (index, request) in enumerate(requests(kind, sources, random.getrandbits(32))):
        if sent == count:
            break
        if sent % burst == 0 and sent:
            due_s = begun_s + sent / per_second
            time.sleep(max(due_s - time.monotonic(), 0))
        try:
            sockets[index].send(request)
        except ConnectionRefusedError:
            continue  # what was sent before found nobody
    return time.monotonic() - begun_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", type=HostPort.parse)
    parser.add_argument("--source", type=HostPort.parse, action="append", required=True)
    parser.add_argument("--kind", choices=KINDS, default="invite")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--per-second", type=int, default=0)
    given = parser.parse_args()
    seconds = flood(given.server, given.source, given.kind, given.count, given.per_second)
    print(json.dumps({"sent": given.count, "seconds": round(seconds, 2)}), flush=True)


if __name__ == "__main__":
    main()
