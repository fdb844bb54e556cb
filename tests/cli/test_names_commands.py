"""`sipfarm domain` and `sipfarm account` against the admin API over a real store."""

import io
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette

from sipfarm.admin.api import REFUSALS
from sipfarm.admin.names_api import names_routes
from sipfarm.base.records import Account
from sipfarm.cluster.io.store import open_store
from sipfarm.cluster.provision import ha1
from sipfarm.node.names_face import NamesOfFarm
from tests.cli.served import Served
from tests.cli.test_main import run

Command = Callable[..., tuple[int, str, str]]


class Told:
    """Nobody: nothing is cached here."""

    def names_changed(self) -> None:
        """Nothing to do."""

    def unbound(self, aor: str) -> None:
        """Nothing to do."""


class ServedNames(Served):
    """The names of a farm."""

    def __init__(self, url: str) -> None:
        self._url = url
        super().__init__(self._opened_names)

    def account(self, domain: str, name: str) -> Account | None:
        return self.ask(self._store.account(domain, name))

    @asynccontextmanager
    async def _opened_names(self) -> AsyncGenerator[Starlette]:
        async with open_store(self._url) as store:
            self._store = store
            names = NamesOfFarm(store, lambda: 1, Told())
            yield Starlette(routes=names_routes(names), exception_handlers=REFUSALS)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedNames]:
    served = ServedNames(f"sqlite:{tmp_path / 'farm.db'}")
    yield served
    served.end()


@pytest.fixture
def sipfarm(served: ServedNames, capsys: pytest.CaptureFixture[str]) -> Command:
    return lambda *words: run(capsys, *words, "--admin", served.address)


def test_a_domain_and_an_account_are_added_set_shown_and_removed(
    sipfarm: Command, served: ServedNames
) -> None:
    assert sipfarm("domain", "add", "d.test") == (0, "added domain d.test\nrevision 1\n", "")
    added = sipfarm("account", "add", "al@d.test", "--password", "x", "--number", "1001")
    assert added == (0, "added account al\nrevision 2\n", "")
    assert "sip:al@d.test" in sipfarm("account", "list", "d.test")[1]
    sipfarm("account", "set", "al@d.test", "--alias", "albert", "--voicemail")
    account = served.account("d.test", "al")
    assert account == Account(
        "d.test", "al", *ha1("al", "d.test", "x"), ("albert",), ("1001",), True
    )
    again = sipfarm("account", "set", "al@d.test")
    assert again == (0, "nothing changed\nrevision 3\n", "")
    sipfarm("account", "set", "al@d.test", "--no-numbers", "--no-voicemail", "--password", "y")
    assert served.account("d.test", "al") == Account(
        "d.test", "al", *ha1("al", "d.test", "y"), ("albert",)
    )
    assert '"aliases": [\n      "albert"' in sipfarm("account", "show", "al@d.test", "--json")[1]
    assert sipfarm("account", "remove", "sip:al@d.test")[1].startswith("removed account al\n")
    assert "d.test" in sipfarm("domain", "show", "d.test")[1]
    sipfarm("domain", "set", "d.test", "--media-address", "192.0.2.1")
    assert '"192.0.2.1"' in sipfarm("domain", "show", "d.test", "--json")[1]
    assert sipfarm("domain", "remove", "d.test")[1].startswith("removed domain d.test\n")
    assert sipfarm("domain", "list")[1] == "Domains: none\n"


def test_a_password_comes_from_the_input_and_is_shown_nowhere(
    sipfarm: Command, served: ServedNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    sipfarm("domain", "add", "d.test")
    monkeypatch.setattr("sys.stdin", io.StringIO("from the input\n"))
    status, out, error = sipfarm("account", "add", "al@d.test", "--password-stdin")
    assert (status, error) == (0, "")
    assert "from the input" not in out
    account = served.account("d.test", "al")
    assert account is not None
    assert account.ha1_md5 == ha1("al", "d.test", "from the input")[0]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("domain", "add", "d.test"), "already"),
        (("domain", "show", "other.test"), "no domain other.test"),
        (("domain", "remove", "other.test"), "no domain other.test"),
        (("domain", "set", "other.test"), "no domain other.test"),
        (("account", "add", "al@d.test"), "no password"),
        (("account", "add", "al", "--password", "x"), "no address"),
        (("account", "add", "a@d.test", "--password", "x", "--password-stdin"), "only one"),
        (("account", "add", "a@d.test", "--password-stdin"), "1 to 256"),
        (("account", "add", "a@d.test", "--password", "x", "--number", "y"), "numbers"),
        (("account", "add", "a@other.test", "--password", "x"), "no domain"),
        (("account", "set", "al@d.test", "--ask-password"), "no account al"),
        (("account", "remove", "al@d.test"), "no account al"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(
    sipfarm: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], reason: str
) -> None:
    sipfarm("domain", "add", "d.test")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    status, _, error = sipfarm(*words)
    assert status != 0
    assert reason in " ".join(error.replace("│", " ").split())
