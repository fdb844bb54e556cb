"""A phone over UDP that sends one request at a time and knows digest; what SIPp cannot do.

Requests are text, so that a test can send what no stack would.
"""

import hashlib
import os
import re
import socket
from random import Random
from types import TracebackType
from typing import Final, Self

import msgspec

from sipfarm.base.net import HostPort

DATAGRAM_BYTES_MAX: Final = 65_535
FIRST_WAIT_S: Final = 0.5
WAIT_MOST_S: Final = 4.0  # T1 and T2 of RFC 3261 §17.1.2.2
TRIES_MAX: Final = 8
HASHES: Final = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


class PlainAnswer(msgspec.Struct, frozen=True):
    """A final response."""

    status: int
    text: str

    def headers(self, name: str) -> list[str]:
        """The values of all lines with this name."""
        return re.findall(rf"(?im)^{name}:\s*(.*?)\r?$", self.text)


class PlainPhone:
    """Bound to an address while the block is open."""

    def __init__(self, local: HostPort, server: HostPort, loss: float = 0.0, seed: int = 0) -> None:
        """`loss` is the chance of a datagram to be lost, of both directions."""
        self.local = local
        self._loss = loss
        self._random = Random(seed)
        self._server = (server.host, server.port)
        self._count = 0
        self._life = os.urandom(4).hex()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((local.host, local.port))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._socket.close()

    def request(self, method: str, uri: str, caller: str, *more: str, to: str = "") -> str:
        """A request without a body; `caller` and `to` are user@host, `more` are further lines."""
        self._count += 1
        name = f"{method}{self._life}-{self._count}"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.local};branch=z9hG4bK{name};rport",
            "Max-Forwards: 70",
            f"From: <sip:{caller}>;tag={name}",
            f"To: <{f'sip:{to}' if to else uri}>",
            f"Call-ID: {name}@{self.local.host}",
            f"CSeq: {self._count} {method}",
            f"Contact: <sip:phone@{self.local}>",
            *more,
            "Content-Length: 0",
        ]
        return "\r\n".join([*lines, "", ""])

    def ask(self, request: str) -> PlainAnswer:
        """Send a request, again and again until its final response is there (RFC 3261 §17.1).

        An INVITE is acknowledged; what belongs to another request is passed over.
        """
        branch = re.search(r"branch=[^;\s]+", request)
        wait_s = FIRST_WAIT_S
        for _ in range(TRIES_MAX):
            self._send(request)
            self._socket.settimeout(wait_s)
            try:
                while True:
                    text = self._socket.recv(DATAGRAM_BYTES_MAX).decode(errors="replace")
                    if self._is_lost():
                        continue
                    status = int(text.split(" ", 2)[1])
                    if status >= 200 and (branch is None or branch[0] in text):
                        break
            except TimeoutError:
                wait_s = min(2 * wait_s, WAIT_MOST_S)
                continue
            answer = PlainAnswer(status, text)
            if request.startswith("INVITE "):
                self._send(_ack(request, answer))
            return answer
        raise AssertionError(f"no answer to {request.splitlines()[0]}")

    def register(self, user: str, domain: str, name: str = "phone") -> PlainAnswer:
        """Register `name` at our address as a contact of user@domain, with digest."""
        aor, uri = f"{user}@{domain}", f"sip:{domain}"

        def request(*more: str) -> str:
            text = self.request("REGISTER", uri, aor, "Expires: 600", *more, to=aor)
            return text.replace("Contact: <sip:phone@", f"Contact: <sip:{name}@")

        answer = self.ask(request())
        if answer.status != 401:
            return answer
        challenge = answer.headers("WWW-Authenticate")[0]
        return self.ask(request(authorization(challenge, "REGISTER", uri, user, f"{user}-secret")))

    def _send(self, text: str) -> None:
        if not self._is_lost():
            self._socket.sendto(text.encode(errors="surrogateescape"), self._server)

    def _is_lost(self) -> bool:
        return self._random.random() < self._loss


def authorization(
    challenge: str, method: str, uri: str, user: str, password: str, *, proxy: bool = False
) -> str:
    """The line that answers a challenge (RFC 7616 §3.4, qop auth)."""
    values = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))
    algorithm = values.get("algorithm", "MD5")
    made = HASHES[algorithm]

    def hashed(*parts: str) -> str:
        return made(":".join(parts).encode()).hexdigest()

    realm, nonce, count, own = values["realm"], values["nonce"], "00000001", "f00"
    response = hashed(hashed(user, realm, password), nonce, count, own, "auth", hashed(method, uri))
    return (
        f"{'Proxy-' if proxy else ''}Authorization: Digest "
        f'username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", '
        f'response="{response}", algorithm={algorithm}, qop=auth, nc={count}, cnonce="{own}"'
    )


def _ack(invite: str, answer: PlainAnswer) -> str:
    """The ACK to a response that is no success (RFC 3261 §17.1.1.3)."""
    text = re.sub(r"(?m)^To:.*?\r$", f"To: {answer.headers('To')[0]}\r", invite)
    text = re.sub(r"(?m)^(CSeq: \d+) INVITE", r"\1 ACK", text)
    return "ACK " + text.removeprefix("INVITE ")
