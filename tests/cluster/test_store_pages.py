"""Large domains, read page by page: the same on each database."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from sipfarm.base.errors import UsageError
from sipfarm.base.records import Account, Domain
from sipfarm.cluster.io.store import Store

UseStore = Callable[..., Any]
NAME = "example.test"
MANY = 1_500


def accounts(count: int) -> list[Account]:
    return [Account(NAME, f"user{number}", "0" * 32, "1" * 64) for number in range(count)]


async def read_all(store: Store, count: int) -> tuple[list[int], set[str]]:
    """The sizes of the pages, and the names on them."""
    sizes: list[int] = []
    names: set[str] = set()
    cursor = ""
    while not sizes or cursor:
        page, cursor = await store.account_page(NAME, cursor, count)
        sizes.append(len(page))
        names.update(account.name for account in page)
    return sizes, names


def test_pages_together_are_the_whole(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        wanted = accounts(MANY)
        await store.put_domain(Domain(NAME), wanted)
        assert await store.account_count(NAME) == MANY
        sizes, names = await read_all(store, 100)
        assert names == {account.name for account in wanted}
        assert len(sizes) > 5
        assert max(sizes) < MANY / 2, "a page is a small part"
        assert set(await store.accounts(NAME)) == set(wanted)

    use_store(body)


def test_a_page_may_hold_exactly_what_is_left(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        await store.put_domain(Domain(NAME), accounts(4))
        for count in (1, 2, 3, 4, 5):
            assert (await read_all(store, count))[1] == {f"user{number}" for number in range(4)}

    use_store(body)


def test_nothing_is_one_empty_page(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        assert await store.account_page("other.test", "", 10) == ((), "")
        assert await store.account_count("other.test") == 0

    use_store(body)


def test_a_cursor_that_no_store_gives_is_refused(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        with pytest.raises(UsageError):
            await store.account_page(NAME, "\0", 10)

    use_store(body)


def test_what_is_there_all_the_time_is_met_while_others_come_and_go(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        stays = {f"user{number}" for number in range(600)}
        await store.put_domain(Domain(NAME), accounts(800))
        leaving = [f"user{number}" for number in range(600, 800)]
        (_, names), *_ = await asyncio.gather(
            read_all(store, 50), store.remove_names(NAME, leaving)
        )
        assert stays <= names

    use_store(body)
