"""Calls and registrations a page at a time, while entries come and go."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from sipfarm.admin.pages import BadCursor, CallsCursor, Page, RegistrationsCursor
from sipfarm.admin.views import CallView
from sipfarm.base.records import Account, Binding, Domain, RegisterUpdate
from sipfarm.cluster.io.store import Store, open_store
from sipfarm.node.calls_face import CallsOfMember
from sipfarm.node.registrations_face import RegistrationsOfFarm
from sipfarm.node.task_calls import TaskCallView

NOW_MS = 50_000
WALL_MS = 1_800_000_000_000
OWN_NUMBER = 1


class Calls:
    """A member with calls, and their face."""

    def __init__(self) -> None:
        self.forwarded: list[int] = []
        self.tasks: list[int] = []
        member: Any = SimpleNamespace(
            clock=SimpleNamespace(now_ms=lambda: NOW_MS, wall_ms=lambda: WALL_MS),
            engine=SimpleNamespace(calls=self._forwarded),
            plane=SimpleNamespace(plane=SimpleNamespace(stats=lambda stream: None)),
            task_calls=SimpleNamespace(views=self._views),
        )
        self.face = CallsOfMember(member, "m1", lambda: OWN_NUMBER)

    def shown(self, page: Page[CallView]) -> list[str]:
        return [call.id for call in page.entries]

    def by_pages(self, limit: int) -> list[str]:
        found: list[str] = []
        after = ""
        while True:
            page = self.face.page(limit, after)
            assert len(page.entries) <= limit
            found += self.shown(page)
            if not page.next:
                return found
            after = page.next

    def _forwarded(self, limit: int, after: int) -> list[dict[str, Any]]:
        like = {"call_id": "c", "caller": "", "callee": "", "answered": True, "started_ms": 0}
        behind = [handle for handle in self.forwarded if handle > after]
        return [{**like, "handle": handle, "streams": []} for handle in behind[:limit]]

    def _views(self, limit: int, after: int) -> list[TaskCallView]:
        behind = [number for number in self.tasks if number > after]
        return [
            TaskCallView("c", f"t{number}", "echo", "", "", True, 0, 0, number)
            for number in behind[:limit]
        ]


def test_calls_are_shown_page_by_page_as_they_come_and_go() -> None:
    calls = Calls()
    assert calls.face.page(1, "") == Page([])
    calls.forwarded, calls.tasks = [3, 5, 8], [2, 4, 6]
    whole = calls.shown(calls.face.page(6, ""))
    assert whole == ["m1-3", "m1-5", "m1-8", "m1-t2", "m1-t4", "m1-t6"]
    assert calls.face.page(6, "").next == ""
    for limit in range(1, 7):
        assert calls.by_pages(limit) == whole
    first = calls.face.page(2, "")
    calls.forwarded = [9]  # those shown are over, and another has begun
    second = calls.face.page(2, first.next)
    assert calls.shown(second) == ["m1-9", "m1-t2"]
    calls.tasks = [6]
    assert calls.shown(calls.face.page(2, second.next)) == ["m1-t6"]


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "é",
        "=",
        "AAAA",
        "A" * 5_000,
        CallsCursor(OWN_NUMBER + 1).text,
        RegistrationsCursor("example.test").text,
        base64.urlsafe_b64encode(msgspec.msgpack.encode([OWN_NUMBER, False, -1])).decode(),
        base64.urlsafe_b64encode(msgspec.msgpack.encode([OWN_NUMBER, False, 1, 1])).decode(),
    ],
)
def test_what_is_no_place_among_a_members_calls_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor, match="after: that is no cursor"):
        Calls().face.page(10, cursor)


def with_store(folder: Path, body: Callable[[Store, RegistrationsOfFarm], Awaitable[None]]) -> None:
    async def run() -> None:
        async with open_store(f"sqlite:{folder / 'farm.db'}") as store:
            face = RegistrationsOfFarm(store, lambda: WALL_MS, lambda flow, received: None)
            await body(store, face)

    asyncio.run(run())


async def bind(store: Store, aor: str, count: int) -> list[str]:
    """The contacts, in the order of their q."""
    until = WALL_MS + 60_000
    bindings = tuple(
        [
            Binding(aor, f"{aor}-{index}", f"k{index}", "c", 1, until, q=900 - index)
            for index in range(count)
        ]
    )
    await store.register(RegisterUpdate(aor, "c", 1, bindings), WALL_MS)
    return [binding.contact for binding in bindings]


async def by_pages(face: RegistrationsOfFarm, domain: str | None, limit: int) -> list[str]:
    found: list[str] = []
    after = ""
    while True:
        page = await face.page(domain, limit, after)
        assert len(page.entries) <= limit
        found += [binding.contact for binding in page.entries]
        if not page.next:
            return found
        after = page.next


def test_registrations_are_shown_page_by_page(tmp_path: Path) -> None:
    """Over domains, over pages of the store, and in the middle of an account's bindings."""

    async def body(store: Store, face: RegistrationsOfFarm) -> None:
        await store.put_domain(Domain("few.test"), [Account("few.test", "alice", "", "")])
        many = [Account("many.test", f"u{number:03}", "", "") for number in range(300)]
        await store.put_domain(Domain("many.test"), many)
        of_few = await bind(store, "sip:alice@few.test", 1)
        of_many: list[str] = []
        for user, count in (("u000", 3), ("u255", 2), ("u256", 1), ("u299", 2)):
            of_many += await bind(store, f"sip:{user}@many.test", count)
        for limit in (1, 2, 4, 9, 10):
            assert await by_pages(face, None, limit) == of_few + of_many
            assert await by_pages(face, "many.test", limit) == of_many
        assert await by_pages(face, "other.test", 1) == []

    with_store(tmp_path, body)


def test_an_account_that_is_removed_between_pages_is_passed_over(tmp_path: Path) -> None:
    async def body(store: Store, face: RegistrationsOfFarm) -> None:
        accounts = [Account("d.test", name, "", "") for name in ("a", "b", "c")]
        await store.put_domain(Domain("d.test"), accounts)
        for name in ("a", "b", "c"):
            await bind(store, f"sip:{name}@d.test", 2)
        first = await face.page(None, 3, "")
        await store.remove_names("d.test", ["b"])
        rest = await face.page(None, 3, first.next)
        assert [binding.contact for binding in rest.entries] == [
            "sip:c@d.test-0",
            "sip:c@d.test-1",
        ]

    with_store(tmp_path, body)


def test_what_is_no_place_among_the_registrations_is_refused(tmp_path: Path) -> None:
    negative = base64.urlsafe_b64encode(msgspec.msgpack.encode(["d.test", "", "", -1])).decode()
    of_other = RegistrationsCursor("other.test").text
    of_no_store = RegistrationsCursor("d.test", "\0").text

    async def body(store: Store, face: RegistrationsOfFarm) -> None:
        for cursor in ("x", CallsCursor(1).text, negative, of_other, of_no_store):
            with pytest.raises(BadCursor):
                await face.page("d.test", 10, cursor)

    with_store(tmp_path, body)
