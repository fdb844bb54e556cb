"""The admin API without a socket: one ASGI request, one answer."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from starlette.types import ASGIApp, Message

from sipfarm.admin.face import NotReached, NotThere
from sipfarm.admin.views import (
    AccountView,
    BanView,
    CallView,
    DomainView,
    MemberView,
    RegistrationView,
)
from sipfarm.base.errors import CapacityError


class Answered(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def ask(
    app: ASGIApp, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
) -> Answered:
    """What an application answers; HTTP clients send a Host with each request."""
    url = urlsplit(path)
    given = {"host": "127.0.0.1:8081", **(headers or {})}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": url.path,
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 40_000),
        "server": ("127.0.0.1", 8_081),
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start = sent[0]
    body = b"".join(message.get("body", b"") for message in sent[1:])
    lines = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answered(start["status"], lines, body)


MEMBER = MemberView(
    name="m1",
    state="ready",
    incarnation=7,
    number=1,
    pid=42,
    admin="127.0.0.1:8081",
    bus="127.0.0.1:7061",
)
CALL = CallView(
    id="m1-1",
    member="m1",
    kind="forwarded",
    state="answered",
    caller="sip:alice@example.test",
    callee="sip:bob@example.test",
    call_id="c1",
    started="2026-01-01T00:00:00.000+00:00",
    seconds=1.5,
)


BAN = BanView(address="2001:db8::", member="m1", fault="credentials", seconds=300)


class FakeFace:
    """A face that notes what it was asked."""

    def __init__(self) -> None:
        self.is_ready = True
        self.store_is_away = False
        self.asked: list[tuple[object, ...]] = []

    def member(self) -> MemberView:
        return MEMBER

    def calls(self, limit: int) -> Sequence[CallView]:
        self.asked.append(("calls", limit))
        return [CALL][:limit]

    def metrics(self) -> bytes:
        return b"# HELP x x\n"

    async def members(self) -> Sequence[MemberView]:
        if self.store_is_away:
            raise CapacityError("store unavailable: gone", retry_after_s=7)
        return [MEMBER]

    async def farm_calls(self, limit: int) -> Sequence[CallView]:
        self.asked.append(("farm_calls", limit))
        return [CALL, CALL]

    def bans(self) -> Sequence[BanView]:
        return [BAN]

    def unban(self, address: str) -> Sequence[BanView]:
        return [BAN] if address == BAN.address else []

    async def farm_bans(self) -> Sequence[BanView]:
        return [BAN, BAN]

    async def farm_unban(self, address: str) -> Sequence[BanView]:
        return [*self.unban(address), *self.unban(address)]

    async def registrations(self, domain: str | None, limit: int) -> Sequence[RegistrationView]:
        self.asked.append(("registrations", domain, limit))
        return []

    async def drain(self, name: str) -> MemberView:
        if name == "m9":
            raise NotThere("there is no member m9")
        if name == "m8":
            raise NotReached("member m8 does not answer")
        self.is_ready = False
        return msgspec.structs.replace(MEMBER, state="draining")

    async def undrain(self, name: str) -> MemberView:
        self.is_ready = True
        return MEMBER

    async def domains(self) -> Sequence[DomainView]:
        return []

    async def accounts(self, domain: str, limit: int) -> Sequence[AccountView]:
        self.asked.append(("accounts", domain, limit))
        return []


@pytest.fixture
def face() -> FakeFace:
    return FakeFace()
