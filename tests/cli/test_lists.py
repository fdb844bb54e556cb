"""`sipfarm calls` and `sipfarm registrations` show all there is, however many pages it takes."""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from sipfarm.admin.api import admin_api
from sipfarm.admin.io.client import PAGE
from sipfarm.admin.pages import CallsCursor, Page
from sipfarm.admin.views import CallView, RegistrationView
from tests.cli.served import Served
from tests.cli.test_main import run

Command = Callable[..., tuple[int, str, str]]
MANY = 2 * PAGE + 5
CALL = CallView(
    id="",
    member="m1",
    kind="forwarded",
    state="answered",
    caller="sip:alice@example.test",
    callee="sip:bob@example.test",
    call_id="",
    started="",
    seconds=1.5,
)
BINDING = RegistrationView(
    aor="",
    contact="sip:alice@192.0.2.1",
    expires="2026-01-01T00:00:00.000+00:00",
    expires_s=60,
    q=1.0,
    received="",
    user_agent="",
    instance_id="",
    path=(),
    member=None,
)


class ManyEntries:
    """A face with many calls, the longest last, and many registrations."""

    def __init__(self) -> None:
        self.names: Any = SimpleNamespace()
        self.asked: list[tuple[object, ...]] = []
        self.gone_on_with = True

    async def farm_calls(self, limit: int, after: str) -> Page[CallView]:
        self.asked.append(("calls", limit))
        first, end, following = self._page(limit, after)
        found = [
            msgspec.structs.replace(CALL, id=str(number), started=f"{MANY - number:06}")
            for number in range(first, end)
        ]
        return Page(found, following)

    async def registrations(
        self, domain: str | None, limit: int, after: str
    ) -> Page[RegistrationView]:
        self.asked.append(("registrations", domain, limit))
        first, end, following = self._page(limit, after)
        found = [
            msgspec.structs.replace(BINDING, aor=f"sip:{number}@d.test")
            for number in range(first, end)
        ]
        return Page(found, following)

    def _page(self, limit: int, after: str) -> tuple[int, int, str]:
        place = CallsCursor.of(after)
        first = 0 if place is None else place.call
        end = min(first + limit, MANY)
        more = self.gone_on_with and end < MANY
        return first, end, CallsCursor(1, call=end).text if more else ""


@pytest.fixture
def face() -> ManyEntries:
    return ManyEntries()


@pytest.fixture
def sipfarm(face: ManyEntries, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    served = Served(lambda: nullcontext(admin_api(cast("Any", face), None)))
    yield lambda *words: run(capsys, *words, "--admin", served.address)
    served.end()


def test_all_calls_are_shown_the_longest_first(sipfarm: Command, face: ManyEntries) -> None:
    status, out, error = sipfarm("calls", "--json")
    assert (status, error) == (0, "")
    assert [int(call["id"]) for call in json.loads(out)] == list(reversed(range(MANY)))
    assert face.asked == [("calls", PAGE)] * 3


def test_a_table_has_all_registrations_too(sipfarm: Command, face: ManyEntries) -> None:
    status, out, _ = sipfarm("registrations", "--domain", "d.test")
    assert status == 0
    assert all(f"sip:{number}@d.test " in out for number in range(MANY))
    assert face.asked == [("registrations", "d.test", PAGE)] * 3


@pytest.mark.parametrize("limit", [1, PAGE, PAGE + 1])
def test_no_more_is_asked_for_than_is_wanted(
    sipfarm: Command, face: ManyEntries, limit: int
) -> None:
    _, out, _ = sipfarm("registrations", "--json", "--limit", str(limit))
    assert len(json.loads(out)) == limit
    assert sum(int(str(asked[-1])) for asked in face.asked) == limit


def test_a_list_may_end_before_its_limit(sipfarm: Command, face: ManyEntries) -> None:
    face.gone_on_with = False
    assert len(json.loads(sipfarm("calls", "--json")[1])) == PAGE
