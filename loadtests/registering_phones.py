"""Phones that register with digest and refresh their bindings: many accounts on a few sockets.

Each keeps its Call-ID, counts its CSeq (RFC 3261 §10.2.4), uses a nonce until it is stale, and
sends again what is not answered (§17.1.2.2).
"""

import asyncio
import hashlib
import heapq
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, cast

from sipfarm.base.net import HostPort

T1_S: Final = 0.5
T2_S: Final = 4.0
TIMER_F_S: Final = 32.0
TURN_S: Final = 0.005
STALE_MOST: Final = 3
"""Challenges to one refresh."""
CHALLENGE: Final = re.compile(rb"(?im)^WWW-Authenticate: *Digest (.*algorithm=SHA-256.*?)\r$")
NONCE: Final = re.compile(rb'nonce="([^"]+)"')
BRANCH: Final = re.compile(rb"branch=z9hG4bK(\d+)-(\d+)")


class Registrations(NamedTuple):
    """What came of a number of refreshes."""

    done: int
    failed: int
    challenged: int
    again: int
    """Requests that were sent again."""
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: Counter[int]
    """What the failed ones were answered; 408: nothing."""


class _Phone:
    """One account. `number` names it everywhere."""

    __slots__ = ("began_s", "challenges", "cseq", "local", "nonce", "nonce_count", "sent", "socket")

    def __init__(self, socket: asyncio.DatagramTransport, local: HostPort) -> None:
        self.socket = socket
        self.local = local
        self.cseq = 0
        self.nonce = ""
        self.nonce_count = 0
        self.challenges = 0
        self.began_s = 0.0
        self.sent = b""
        """The request that waits for its answer."""


class RegisteringPhones(asyncio.DatagramProtocol):
    """Accounts u000000 … of a domain, bound to addresses that are not trusted."""

    def __init__(self, domain: str, server: HostPort, *, expires_s: int) -> None:
        self._domain = domain
        self._server = (server.host, server.port)
        self._expires_s = expires_s
        self._phones: list[_Phone] = []
        self._due: list[tuple[float, int, int, float]] = []
        """When a request is sent again: (time, number, CSeq, interval)."""
        self._waits_s: list[float] = []
        self._challenged = self._again = 0
        self._refused: Counter[int] = Counter()

    async def open(self, locals_: Sequence[HostPort], count: int) -> None:
        loop = asyncio.get_running_loop()
        sockets: list[asyncio.DatagramTransport] = []
        for local in locals_:
            address = (local.host, local.port)
            made, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=address)
            sockets.append(cast("asyncio.DatagramTransport", made))
        at = len(locals_)
        self._phones = [_Phone(sockets[n % at], locals_[n % at]) for n in range(count)]

    def close(self) -> None:
        for socket in {phone.socket for phone in self._phones}:
            socket.close()

    async def refresh(self, numbers: Iterable[int], per_second: float) -> Registrations:
        """Refresh these bindings at a rate, and wait for all answers."""
        self._waits_s, self._challenged, self._again = [], 0, 0
        self._refused = Counter()
        began_s = time.monotonic()
        begun = 0
        for number in numbers:
            self._begin(number)
            begun += 1
            while begun > (time.monotonic() - began_s) * per_second:
                self._send_again()
                await asyncio.sleep(TURN_S)
        while len(self._waits_s) + self._refused.total() < begun:
            self._send_again()
            await asyncio.sleep(TURN_S)
        waits = sorted(self._waits_s) or [0.0]
        return Registrations(
            len(self._waits_s), self._refused.total(), self._challenged, self._again,
            time.monotonic() - began_s,
            1e3 * waits[len(waits) // 2], 1e3 * waits[len(waits) * 99 // 100], self._refused,
        )  # fmt: skip

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        branch = BRANCH.search(data)
        if branch is None or not data.startswith(b"SIP/2.0 "):
            return
        number, cseq, status = int(branch[1]), int(branch[2]), int(data[8:11])
        phone = self._phones[number]
        if phone.cseq != cseq or not phone.sent or status < 200:
            return
        if status == 401 and phone.challenges < STALE_MOST:
            self._answer_challenge(number, phone, data)
            return
        phone.sent = b""
        if status == 200 and b";expires=" in data:
            self._waits_s.append(time.monotonic() - phone.began_s)
        else:
            self._refused[status] += 1

    def _answer_challenge(self, number: int, phone: _Phone, data: bytes) -> None:
        challenge = CHALLENGE.search(data)
        nonce = NONCE.search(challenge[1]) if challenge else None
        if nonce is None:
            phone.sent = b""
            self._refused[401] += 1
            return
        self._challenged += 1
        phone.challenges += 1
        phone.nonce, phone.nonce_count = nonce[1].decode(), 0
        self._send(number, phone)

    def _begin(self, number: int) -> None:
        phone = self._phones[number]
        phone.began_s = time.monotonic()
        phone.challenges = 0
        self._send(number, phone)

    def _send(self, number: int, phone: _Phone) -> None:
        phone.cseq += 1
        user, domain, at = f"u{number:06}", self._domain, phone.local
        phone.sent = (
            f"REGISTER sip:{domain} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {at};branch=z9hG4bK{number}-{phone.cseq};rport\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:{user}@{domain}>;tag={number}\r\n"
            f"To: <sip:{user}@{domain}>\r\nCall-ID: {number}@{at.host}\r\n"
            f"CSeq: {phone.cseq} REGISTER\r\nContact: <sip:{user}@{at}>\r\n"
            f"Expires: {self._expires_s}\r\nUser-Agent: registering-phones\r\n"
            f"{self._credentials(user, phone)}Content-Length: 0\r\n\r\n"
        ).encode()
        phone.socket.sendto(phone.sent, self._server)
        heapq.heappush(self._due, (time.monotonic() + T1_S, number, phone.cseq, T1_S))

    def _credentials(self, user: str, phone: _Phone) -> str:
        """RFC 7616 §3.4, SHA-256, qop auth."""
        if not phone.nonce:
            return ""
        phone.nonce_count += 1
        count, uri = f"{phone.nonce_count:08x}", f"sip:{self._domain}"
        secret = _hashed(user, self._domain, password_of(user))
        response = _hashed(secret, phone.nonce, count, "f00", "auth", _hashed("REGISTER", uri))
        return (
            f'Authorization: Digest username="{user}", realm="{self._domain}", '
            f'nonce="{phone.nonce}", uri="{uri}", response="{response}", '
            f'algorithm=SHA-256, qop=auth, nc={count}, cnonce="f00"\r\n'
        )

    def _send_again(self) -> None:
        now_s = time.monotonic()
        while self._due and self._due[0][0] <= now_s:
            _, number, cseq, interval_s = heapq.heappop(self._due)
            phone = self._phones[number]
            if phone.cseq != cseq or not phone.sent:
                continue
            if now_s - phone.began_s > TIMER_F_S:
                phone.sent = b""
                self._refused[408] += 1
                continue
            self._again += 1
            phone.socket.sendto(phone.sent, self._server)
            interval_s = min(2 * interval_s, T2_S)
            heapq.heappush(self._due, (now_s + interval_s, number, cseq, interval_s))


def password_of(user: str) -> str:
    return f"secret-{user}"


def _hashed(*parts: str) -> str:
    return hashlib.sha256(":".join(parts).encode()).hexdigest()
