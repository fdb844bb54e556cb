"""The admin API without a socket: one ASGI request, one answer."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from starlette.types import ASGIApp, Message

from sipfarm.admin.bodies import AccountBody, ApplicationBody, DomainBody, RolesBody
from sipfarm.admin.face import Conflicts, NotReached, NotThere
from sipfarm.admin.pages import BadCursor, Page
from sipfarm.admin.views import (
    AccountView,
    ApplicationView,
    BanView,
    CallView,
    ChangeView,
    DomainView,
    MemberView,
    RegistrationView,
)
from sipfarm.base.errors import CapacityError, SipfarmError


class Answered(msgspec.Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def ask(
    app: ASGIApp,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: object = b"",
) -> Answered:
    """What an application answers, on an event loop of its own."""
    return asyncio.run(asked_of(app, path, method, headers, body))


async def asked_of(
    app: ASGIApp,
    path: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: object = b"",
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
    told = body if isinstance(body, bytes) else msgspec.json.encode(body)

    async def receive() -> Message:
        return {"type": "http.request", "body": told, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = sent[0]
    answered = b"".join(message.get("body", b"") for message in sent[1:])
    lines = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answered(start["status"], lines, answered)


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
CHANGE = ChangeView(revision=7, added=("something",))


class FakeNames:
    """Names that are not there, and notes of what was asked of them."""

    def __init__(self, asked: list[tuple[object, ...]]) -> None:
        self.asked = asked
        self.refuses: SipfarmError | None = None

    async def domains(self) -> Sequence[DomainView]:
        return []

    async def domain(self, name: str) -> DomainView:
        raise NotThere(f"there is no domain {name}")

    async def put_domain(self, name: str, body: DomainBody, *, new: bool) -> ChangeView:
        return self._change("put_domain", name, body, new)

    async def remove_domain(self, name: str) -> ChangeView:
        return self._change("remove_domain", name)

    async def accounts(self, domain: str, limit: int) -> Sequence[AccountView]:
        self.asked.append(("accounts", domain, limit))
        return []

    async def account(self, domain: str, name: str) -> AccountView:
        raise NotThere(f"there is no account {name} in {domain}")

    async def put_account(
        self, domain: str, name: str, body: AccountBody, *, new: bool
    ) -> ChangeView:
        return self._change("put_account", domain, name, body, new)

    async def remove_account(self, domain: str, name: str) -> ChangeView:
        return self._change("remove_account", domain, name)

    async def applications(self, domain: str) -> Sequence[ApplicationView]:
        return []

    async def application(self, domain: str, name: str) -> ApplicationView:
        raise NotThere(f"there is no application {name} in {domain}")

    async def put_application(
        self, domain: str, name: str, body: ApplicationBody, *, new: bool
    ) -> ChangeView:
        return self._change("put_application", domain, name, body, new)

    async def remove_application(self, domain: str, name: str) -> ChangeView:
        return self._change("remove_application", domain, name)

    def _change(self, *asked: object) -> ChangeView:
        self.asked.append(asked)
        if self.refuses is not None:
            raise self.refuses
        return CHANGE


class FakeFace:
    """A face that notes what it was asked."""

    def __init__(self) -> None:
        self.is_ready = True
        self.store_is_away = False
        self.asked: list[tuple[object, ...]] = []
        self.names = FakeNames(self.asked)

    def member(self) -> MemberView:
        return MEMBER

    def calls(self, limit: int, after: str) -> Page[CallView]:
        self.asked.append(("calls", limit, after))
        if after == "bad":
            raise BadCursor
        return Page([CALL][:limit])

    def metrics(self) -> bytes:
        return b"# HELP x x\n"

    async def members(self) -> Sequence[MemberView]:
        if self.store_is_away:
            raise CapacityError("store unavailable: gone", retry_after_s=7)
        return [MEMBER]

    async def farm_calls(self, limit: int, after: str) -> Page[CallView]:
        self.asked.append(("farm_calls", limit, after))
        return Page([CALL, CALL], "" if after else "a-cursor")

    def bans(self) -> Sequence[BanView]:
        return [BAN]

    def unban(self, address: str) -> Sequence[BanView]:
        return [BAN] if address == BAN.address else []

    async def farm_bans(self) -> Sequence[BanView]:
        return [BAN, BAN]

    async def farm_unban(self, address: str) -> Sequence[BanView]:
        return [*self.unban(address), *self.unban(address)]

    async def registrations(
        self, domain: str | None, limit: int, after: str
    ) -> Page[RegistrationView]:
        self.asked.append(("registrations", domain, limit, after))
        return Page([], "" if after else "a&b")

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

    async def set_roles(self, name: str, body: RolesBody) -> MemberView:
        if name == "m8":
            raise Conflicts('m8 is the last member with the role "edge"')
        return msgspec.structs.replace(MEMBER, name=name, roles=body.roles)


@pytest.fixture
def face() -> FakeFace:
    return FakeFace()
