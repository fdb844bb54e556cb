"""The server and its client, over a real socket."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from sipfarm.admin.api import admin_api
from sipfarm.admin.face import NotReached, NotThere
from sipfarm.admin.io.client import AdminClient, Refused, asking
from sipfarm.admin.io.server import HEADER_BYTES_MAX, serving
from sipfarm.admin.views import CallView, MemberView
from sipfarm.base.secrets import Secret
from tests.admin.conftest import CALL, MEMBER, FakeFace

T = TypeVar("T")
Body = Callable[[str], Awaitable[T]]


def with_server(face: FakeFace, body: Body[T], token: Secret | None = None) -> T:
    async def run() -> T:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with serving(admin_api(face, token), listener):
                return await body(f"127.0.0.1:{listener.getsockname()[1]}")

    return asyncio.run(run())


def test_views_come_over_as_they_were(face: FakeFace) -> None:
    async def body(address: str) -> tuple[list[MemberView], list[CallView], MemberView]:
        client = AdminClient(f"http://{address}/")
        return (
            await asking(lambda: client.get("/api/v1/members", list[MemberView])),
            await asking(lambda: client.get("/api/v1/calls", list[CallView])),
            await asking(lambda: client.post("/api/v1/members/m1/undrain", MemberView)),
        )

    assert with_server(face, body) == ([MEMBER], [CALL], MEMBER)


def test_a_refusal_comes_with_its_reason(face: FakeFace) -> None:
    async def body(address: str) -> None:
        client = AdminClient(address)
        with pytest.raises(NotThere, match="there is no member m9"):
            await asking(lambda: client.post("/api/v1/members/m9/drain", MemberView))
        with pytest.raises(Refused, match="limit: allowed"):
            await asking(lambda: client.get("/api/v1/calls?limit=0", list[CallView]))
        with pytest.raises(Refused, match="something else"):
            await asking(lambda: client.get("/api/v1/calls", list[MemberView]))

    with_server(face, body)


def test_the_token_is_shown(face: FakeFace) -> None:
    token = Secret("a token of a test")

    async def body(address: str) -> None:
        with pytest.raises(Refused, match="token"):
            await asking(lambda: AdminClient(address).get("/api/v1/member", MemberView))
        member = await asking(lambda: AdminClient(address, token).get("/api/v1/member", MemberView))
        assert member == MEMBER

    with_server(face, body, token)


def test_endless_headers_are_refused(face: FakeFace) -> None:
    async def body(address: str) -> bytes:
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 2 * HEADER_BYTES_MAX)
        answer = await reader.read()
        writer.close()
        return answer

    assert b" 400 " in with_server(face, body).split(b"\r\n")[0]


def test_signals_stay_with_the_member(face: FakeFace) -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def body(address: str) -> object:
        await asking(lambda: AdminClient(address).get("/api/v1/member", MemberView))
        return signal.getsignal(signal.SIGTERM)

    assert with_server(face, body) is before


def test_serving_ends_when_its_block_is_left_by_an_error(face: FakeFace) -> None:
    async def body(address: str) -> None:
        raise ValueError(address)

    with pytest.raises(ExceptionGroup):
        with_server(face, body)


def test_nobody_there_is_told_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotReached, match=rf"127.0.0.1:{port} does not answer: "):
        AdminClient(f"127.0.0.1:{port}").get("/api/v1/member", MemberView)


def test_somebody_who_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = AdminClient(f"127.0.0.1:{listener.getsockname()[1]}", answer_s=0.05)
        with pytest.raises(NotReached, match="timed out"):
            client.get("/api/v1/member", MemberView)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "http://127.0.0.1:x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="is no address of an admin API"):
        AdminClient(url)
