"""Domains, accounts, applications and numbers in the store: the same on each database."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sipfarm.base.records import (
    Account,
    Application,
    Domain,
    DomainChange,
    NumberTarget,
    TargetKind,
)
from sipfarm.base.secrets import Secret
from sipfarm.cluster.io import provision
from sipfarm.cluster.io.store import (
    NameConflict,
    NoDomain,
    PasswordNeeded,
    Store,
    StoreUnavailable,
)
from sipfarm.cluster.provision import ha1
from sipfarm.provisioning import ProvisionAccount, ProvisionDomain, ProvisionFile

UseStore = Callable[..., Any]
NAME = "example.test"
DOMAIN = Domain(NAME, media_address="192.0.2.1")


def account(name: str, *numbers: str, aliases: Sequence[str] = (), md5: str = "0") -> Account:
    return Account(NAME, name, md5, "1", aliases=tuple(aliases), numbers=numbers)


ALICE = account("alice", "1001", aliases=["al"])
BOB = account("bob", "1002")
ECHO = Application(NAME, "echo", numbers=("600",))


def test_what_was_provisioned_is_found(use_store: UseStore) -> None:
    async def write(store: Store) -> None:
        change = await store.put_domain(DOMAIN, [ALICE, BOB], [ECHO])
        added = ("domain example.test", "account alice", "account bob", "application echo")
        assert change == DomainChange(NAME, 1, added)

    async def read(store: Store) -> None:
        assert await store.domain(NAME) == DOMAIN
        assert await store.domains() == (DOMAIN,)
        assert await store.account(NAME, "alice") == ALICE
        assert await store.accounts(NAME) == (ALICE, BOB)
        assert await store.application(NAME, "echo") == ECHO
        assert await store.applications(NAME) == (ECHO,)
        for number, kind, name in (
            ("1001", TargetKind.ACCOUNT, "alice"),
            ("al", TargetKind.ACCOUNT, "alice"),
            ("600", TargetKind.APPLICATION, "echo"),
        ):
            assert await store.number(NAME, number) == NumberTarget(kind, name)

    use_store(write)
    use_store(read)


def test_what_is_not_there_is_none(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        assert await store.domain(NAME) is None
        assert await store.domains() == ()
        assert await store.revision(NAME) == 0
        assert await store.account(NAME, "alice") is None
        assert await store.accounts(NAME) == ()
        assert await store.application(NAME, "echo") is None
        assert await store.number(NAME, "1001") is None
        assert await store.remove_names(NAME, ["alice"]) == DomainChange(NAME, 0)
        assert await store.domain(NAME) is None

    use_store(body)


def test_a_repeat_changes_nothing_not_even_the_revision(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        await store.put_domain(DOMAIN, [ALICE], [ECHO])
        assert await store.put_domain(DOMAIN, [ALICE], [ECHO]) == DomainChange(NAME, 1)
        assert await store.revision(NAME) == 1

    use_store(body)


def test_a_changed_account_gives_up_the_numbers_it_no_longer_has(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        await store.put_domain(DOMAIN, [ALICE, BOB])
        change = await store.put_domain(DOMAIN, [account("alice", "1003")])
        assert change == DomainChange(NAME, 2, changed=("account alice",))
        assert await store.number(NAME, "1001") is None
        assert await store.number(NAME, "al") is None
        assert await store.number(NAME, "1003") == NumberTarget(TargetKind.ACCOUNT, "alice")
        assert await store.account(NAME, "bob") == BOB

    use_store(body)


def test_a_number_moves_in_one_change_but_is_never_taken(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        await store.put_domain(DOMAIN, [ALICE, BOB])
        with pytest.raises(
            NameConflict, match=r"number '1002' of 'alice' belongs to account 'bob'"
        ):
            await store.put_domain(DOMAIN, [account("alice", "1002")])
        assert await store.account(NAME, "alice") == ALICE
        await store.put_domain(DOMAIN, [account("alice", "1002"), account("bob", "1001")])
        assert await store.number(NAME, "1001") == NumberTarget(TargetKind.ACCOUNT, "bob")
        assert await store.number(NAME, "1002") == NumberTarget(TargetKind.ACCOUNT, "alice")

    use_store(body)


@pytest.mark.parametrize(
    ("accounts", "applications", "reason"),
    [
        ([account("a", "1"), account("b", "1")], [], "number '1' is wanted by 'a' and 'b'"),
        ([account("a"), account("a")], [], "'a' is given twice"),
        ([account("a")], [Application(NAME, "a")], "'a' is given twice"),
        ([Account("other.test", "a", "", "")], [], "'a' is of domain 'other.test'"),
        ([], [Application(NAME, "bob")], "'bob' is an account already"),
    ],
)
def test_a_contradiction_is_refused_as_a_whole(
    use_store: UseStore, accounts: list[Account], applications: list[Application], reason: str
) -> None:
    async def body(store: Store) -> None:
        await store.put_domain(DOMAIN, [BOB])
        with pytest.raises(NameConflict, match=reason):
            await store.put_domain(DOMAIN, accounts, applications)
        assert await store.accounts(NAME) == (BOB,)
        assert await store.revision(NAME) == 1

    use_store(body)


def test_removed_names_leave_nothing_behind(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        await store.put_domain(DOMAIN, [ALICE, BOB], [ECHO])
        change = await store.remove_names(NAME, ["alice", "nobody"], ["echo"])
        assert change == DomainChange(NAME, 2, removed=("account alice", "application echo"))
        assert await store.accounts(NAME) == (BOB,)
        assert await store.applications(NAME) == ()
        for number in ("1001", "al", "600"):
            assert await store.number(NAME, number) is None

    use_store(body)


def test_concurrent_changes_of_a_domain_all_hold(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        each = [account(f"a{n}", f"{n}") for n in range(8)]
        await asyncio.gather(*(store.put_domain(DOMAIN, [one]) for one in each))
        assert await store.accounts(NAME) == tuple(each)
        assert await store.revision(NAME) == 8

    use_store(body)


def test_of_two_who_want_a_number_at_once_one_gets_it(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        wants = [store.put_domain(DOMAIN, [account(f"a{n}", "1")]) for n in range(6)]
        results = await asyncio.gather(*wants, return_exceptions=True)
        assert sum(isinstance(result, NameConflict) for result in results) == 5
        assert len(await store.accounts(NAME)) == 1

    use_store(body)


def provisioned(accounts: int, password: str) -> ProvisionFile:
    names = tuple(
        ProvisionAccount(name=f"user{n}", password=Secret(password), numbers=(f"{n}",))
        for n in range(accounts)
    )
    return ProvisionFile((ProvisionDomain(name=NAME, accounts=names),))


@pytest.mark.slow
def test_a_provisioning_file_is_loaded_in_steps_and_once(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        (change,) = await provision.apply(provisioned(2_300, "secret"), store)
        assert len(change.added) == 2_301
        steps = math.ceil(2_300 / provision.TOGETHER_MAX)
        assert change.revision == steps
        (repeat,) = await provision.apply(provisioned(2_300, "secret"), store)
        assert repeat == DomainChange(NAME, steps)
        assert len(await store.accounts(NAME)) == 2_300
        (changed,) = await provision.apply(provisioned(2, "other"), store)
        assert changed.changed == ("account user0", "account user1")

    use_store(body)


class BusyOnce:
    """A store whose first step is not done in time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked = 0

    async def put_domain(self, *what: Any) -> DomainChange:
        self.asked += 1
        if self.asked == 1:
            raise StoreUnavailable("database is locked")
        return await self._store.put_domain(*what)


def test_a_step_that_a_busy_store_has_not_done_is_tried_again(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        busy = BusyOnce(store)
        (change,) = await provision.apply(provisioned(1, "secret"), busy)
        assert (busy.asked, len(change.added)) == (2, 2)

    use_store(body)


def test_of_a_password_only_its_digests_are_stored(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        await provision.apply(provisioned(1, "a plain password"), store)
        stored = await store.account(NAME, "user0")
        assert stored is not None
        assert (stored.ha1_md5, stored.ha1_sha256) == ha1("user0", NAME, "a plain password")
        assert stored.ha1_md5 not in repr(stored)

    use_store(body)


def test_ha1_is_that_of_the_rfc() -> None:
    # The user, realm and password of RFC 7616 §3.9.1.
    md5, sha256 = ha1("Mufasa", "http-auth@example.org", "Circle of Life")
    assert md5 == "3d78807defe7de2157e2b0b6573a855f"
    assert sha256 == "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232"


def test_the_farms_revision_rises_with_each_change_of_any_domain(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        assert await store.names_revision() == 0
        await store.put_domain(DOMAIN, [ALICE])
        await store.put_domain(Domain("other.test"))
        assert await store.names_revision() == 2
        await store.put_domain(DOMAIN, [ALICE])
        assert await store.names_revision() == 2, "a repeat changes nothing"
        await store.remove_names(NAME, ["alice"])
        await store.remove_domain("other.test")
        assert await store.names_revision() == 4

    use_store(body)


def test_concurrent_changes_of_several_domains_are_all_counted(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        names = [f"d{n}.test" for n in range(12)]
        await asyncio.gather(*(store.put_domain(Domain(name)) for name in names))
        assert await store.names_revision() == 12

    use_store(body)


def test_a_change_that_was_refused_raises_no_revision(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        await store.put_domain(DOMAIN, [ALICE])
        with pytest.raises(NameConflict):
            await store.put_names(NAME, [account("bob", "1001")])
        assert await store.names_revision() == 1

    use_store(body)


def test_a_domain_is_added_once(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        assert (await store.add_domain(DOMAIN)).added == ("domain example.test",)
        with pytest.raises(NameConflict, match=r"there is a domain example\.test already"):
            await store.add_domain(Domain(NAME))
        assert await store.domain(NAME) == DOMAIN

    use_store(body)


def test_names_go_into_a_domain_that_is_there_and_only_new_ones_if_asked(
    use_store: UseStore,
) -> None:
    async def body(store: Store) -> None:
        with pytest.raises(NoDomain, match=r"there is no domain example\.test"):
            await store.put_names(NAME, [ALICE])
        await store.add_domain(DOMAIN)
        assert (await store.put_names(NAME, [ALICE], new=True)).added == ("account alice",)
        with pytest.raises(NameConflict, match="there is an account 'alice' already"):
            await store.put_names(NAME, [account("alice")], new=True)
        assert await store.account(NAME, "alice") == ALICE
        assert (await store.put_names(NAME, [account("alice")])).changed == ("account alice",)

    use_store(body)


def test_an_account_without_a_password_keeps_the_one_it_has(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        await store.add_domain(DOMAIN)
        plain = Account(NAME, "alice", "", "", numbers=("7",))
        with pytest.raises(PasswordNeeded, match="'alice' needs a password"):
            await store.put_names(NAME, [plain])
        await store.put_names(NAME, [ALICE])
        await store.put_names(NAME, [plain])
        assert await store.account(NAME, "alice") == account("alice", "7")

    use_store(body)


def test_a_removed_domain_takes_everything_along(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        accounts = [account(f"a{n:03}", f"{n}") for n in range(300)]
        await store.put_domain(DOMAIN, accounts, [ECHO])
        change = await store.remove_domain(NAME)
        assert change.removed[0] == "domain example.test"
        assert len(change.removed) == 302
        assert await store.domains() == ()
        assert (await store.remove_domain(NAME)).removed == ()
        await store.add_domain(DOMAIN)
        assert await store.account_count(NAME) == 0
        assert await store.number(NAME, "600") is None
        assert await store.revision(NAME) > change.revision

    use_store(body)


def test_a_removal_that_broke_off_is_finished_by_a_repeat(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        await store.put_domain(DOMAIN, [ALICE, BOB])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                await store.remove_domain(NAME)
        await store.remove_domain(NAME)
        assert await store.accounts(NAME) == ()
        assert await store.number(NAME, "1001") is None

    use_store(body)
