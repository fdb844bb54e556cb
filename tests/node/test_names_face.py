"""Looking at domains, accounts and applications and setting them, over a real store."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sipfarm.admin.bodies import AccountBody, ApplicationBody, DomainBody
from sipfarm.admin.face import Conflicts, NotThere, Unfit
from sipfarm.base.errors import SipfarmError
from sipfarm.base.records import Binding, NumberTarget, RegisterUpdate, TargetKind
from sipfarm.cluster.io.store import Store, open_store
from sipfarm.cluster.provision import ha1
from sipfarm.cluster.registration import CLOSED_MS
from sipfarm.node.names_face import ACCOUNTS_TOGETHER, NamesOfFarm

D = "d.test"
WALL_MS = 1_800_000_000_000
PASSWORD = AccountBody(password="a password")


class Names:
    """The face, its store, and what it told."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.face = NamesOfFarm(store, lambda: WALL_MS, self)
        self.told: list[str] = []

    def names_changed(self) -> None:
        self.told.append("names")

    def unbound(self, aor: str) -> None:
        self.told.append(aor)


Body = Callable[[Names], Awaitable[None]]
WithNames = Callable[[Body], None]


@pytest.fixture
def with_names(tmp_path: Path) -> WithNames:
    """Run a coroutine with a farm that has the domain d.test."""

    def run(body: Body) -> None:
        async def live() -> None:
            async with open_store(f"sqlite:{tmp_path / 'farm.db'}") as store:
                names = Names(store)
                await names.face.put_domain(D, DomainBody(), new=True)
                await body(names)

        asyncio.run(live())

    return run


def test_of_a_password_only_the_digests_are_kept(with_names: WithNames) -> None:
    async def body(names: Names) -> None:
        told = AccountBody(password="a password", numbers=("1001",), aliases=("al",))
        change = await names.face.put_account(D, "alice", told, new=True)
        assert (change.revision, change.added) == (2, ("account alice",))
        account = await names.store.account(D, "alice")
        assert account is not None
        assert (account.ha1_md5, account.ha1_sha256) == ha1("alice", D, "a password")
        assert await names.store.number(D, "al") == NumberTarget(TargetKind.ACCOUNT, "alice")
        shown = await names.face.account(D, "alice")
        assert (shown.aor, shown.numbers, shown.aliases) == ("sip:alice@d.test", ("1001",), ("al",))
        assert names.told == ["names", "names"]

    with_names(body)


def test_a_put_may_be_repeated_and_keeps_the_password_it_does_not_name(
    with_names: WithNames,
) -> None:
    async def body(names: Names) -> None:
        await names.face.put_account(D, "alice", PASSWORD, new=False)
        for _ in range(2):
            change = await names.face.put_account(D, "alice", AccountBody(), new=False)
            assert (change.revision, change.added, change.changed) == (2, (), ())
        account = await names.store.account(D, "alice")
        assert account is not None
        assert account.ha1_md5 == ha1("alice", D, "a password")[0]

    with_names(body)


def test_names_of_domains_are_the_same_however_they_are_written(with_names: WithNames) -> None:
    async def body(names: Names) -> None:
        await names.face.put_account("D.Test.", "alice", PASSWORD, new=True)
        assert (await names.face.account("d.TEST", "alice")).domain == D
        with pytest.raises(Conflicts):
            await names.face.put_domain("D.TEST", DomainBody(), new=True)

    with_names(body)


@pytest.mark.parametrize(
    ("act", "error", "reason"),
    [
        (lambda f: f.put_domain(D, DomainBody(), new=True), Conflicts, "already"),
        (lambda f: f.put_domain("a b", DomainBody(), new=True), Unfit, "name"),
        (lambda f: f.put_domain(D, DomainBody(key="/k"), new=False), Unfit, "go together"),
        (
            lambda f: f.put_domain(D, DomainBody(key="k", certificate="c"), new=False),
            Unfit,
            "absolute",
        ),
        (lambda f: f.put_domain(D, DomainBody(media_address="x"), new=False), Unfit, "media"),
        (lambda f: f.remove_domain("other.test"), NotThere, "no domain other.test"),
        (lambda f: f.domain("a b"), NotThere, "no domain"),
        (lambda f: f.put_account("other.test", "a", PASSWORD, new=True), NotThere, "no domain"),
        (lambda f: f.put_account(D, "alice", AccountBody(), new=False), Unfit, "password"),
        (lambda f: f.put_account(D, "a", AccountBody(password=""), new=True), Unfit, "password"),
        (lambda f: f.put_account(D, "a b", PASSWORD, new=True), Unfit, "name"),
        (lambda f: f.put_account(D, "bob", PASSWORD, new=True), Conflicts, "'bob' already"),
        (
            lambda f: f.put_account(
                D, "alice", AccountBody(password="x", numbers=("1",)), new=False
            ),
            Conflicts,
            "belongs to account 'bob'",
        ),
        (
            lambda f: f.put_account(
                D, "alice", AccountBody(password="x", numbers=("x",)), new=False
            ),
            Unfit,
            "numbers",
        ),
        (lambda f: f.account(D, "alice"), NotThere, "no account alice"),
        (lambda f: f.remove_account(D, "alice"), NotThere, "no account alice"),
        (lambda f: f.put_application(D, "odd", ApplicationBody(), new=True), Unfit, "task"),
        (
            lambda f: f.put_application(D, "odd", ApplicationBody(task="x"), new=True),
            Unfit,
            "task",
        ),
        (
            lambda f: f.put_application(D, "bob", ApplicationBody(task="m:f"), new=True),
            Conflicts,
            "account already",
        ),
        (lambda f: f.remove_application(D, "echo"), NotThere, "no application echo"),
        (lambda f: f.application(D, "echo"), NotThere, "no application echo"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(
    with_names: WithNames,
    act: Callable[[NamesOfFarm], Awaitable[object]],
    error: type[SipfarmError],
    reason: str,
) -> None:
    async def body(names: Names) -> None:
        told = AccountBody(password="x", numbers=("1",))
        await names.face.put_account(D, "bob", told, new=True)
        with pytest.raises(error, match=reason):
            await act(names.face)
        assert await names.store.names_revision() == 2

    with_names(body)


def test_an_application_is_added_shown_and_removed(with_names: WithNames) -> None:
    async def body(names: Names) -> None:
        told = ApplicationBody(numbers=("600",))
        await names.face.put_application(D, "echo", told, new=True)
        (shown,) = await names.face.applications(D)
        assert (shown.name, shown.task, shown.numbers) == ("echo", "", ("600",))
        assert (await names.face.domain(D)).applications == ("echo",)
        removed = await names.face.remove_application(D, "echo")
        assert removed.removed == ("application echo",)
        assert await names.face.applications(D) == []

    with_names(body)


@pytest.mark.parametrize("whole", [True, False], ids=["domain", "account"])
def test_who_gets_a_name_later_does_not_inherit_its_phones(
    with_names: WithNames, whole: bool
) -> None:
    async def body(names: Names) -> None:
        aor = "sip:alice@d.test"
        await names.face.put_account(D, "alice", PASSWORD, new=True)
        phone = Binding(aor, "sip:a@192.0.2.1", "c", "x", 1, WALL_MS + 60_000)
        await names.store.register(RegisterUpdate(aor, "x", 1, (phone,)), WALL_MS)
        if whole:
            await names.face.remove_domain(D)
            await names.face.put_domain(D, DomainBody(), new=True)
        else:
            await names.face.remove_account(D, "alice")
        assert await names.store.bindings(aor, WALL_MS) == ()
        assert aor in names.told
        await names.store.register(RegisterUpdate(aor, "x", 2, (phone,)), WALL_MS)  # under way
        await names.face.put_account(D, "alice", PASSWORD, new=True)
        assert await names.store.bindings(aor, WALL_MS) == ()

    with_names(body)


def test_nor_where_the_removal_broke_off(with_names: WithNames) -> None:
    async def body(names: Names) -> None:
        aor = "sip:alice@d.test"
        phone = Binding(aor, "sip:a@192.0.2.1", "c", "x", 1, WALL_MS + 60_000)
        await names.store.register(RegisterUpdate(aor, "x", 1, (phone,)), WALL_MS)
        await names.face.put_account(D, "alice", PASSWORD, new=False)
        assert await names.store.bindings(aor, WALL_MS) == ()
        await names.store.register(RegisterUpdate(aor, "x", 2, (phone,)), WALL_MS + CLOSED_MS)
        await names.face.put_account(D, "alice", AccountBody(numbers=("1001",)), new=False)
        assert await names.store.bindings(aor, WALL_MS) == (phone,), "it was there already"

    with_names(body)


@pytest.mark.slow
def test_a_large_domain_is_shown_up_to_the_limit_and_removed_whole(with_names: WithNames) -> None:
    async def body(names: Names) -> None:
        count = 2 * ACCOUNTS_TOGETHER + 1
        for number in range(count):
            await names.face.put_account(D, f"a{number}", PASSWORD, new=True)
        assert len(await names.face.accounts(D, 10)) == 10
        assert len(await names.face.accounts(D, 10_000)) == count
        assert len((await names.face.remove_domain(D)).removed) == count + 1

    with_names(body)
