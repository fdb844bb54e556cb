"""Bindings in the store: the same on each database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sipfarm.base.errors import UsageError
from sipfarm.base.records import Binding, RegisterOutcome, RegisterUpdate, Removal
from sipfarm.cluster.io.store import Store, open_store
from sipfarm.cluster.registration import CLOSED_MS, closing, register
from sipfarm.testing.eventually import turn

NOW = 1_000_000
LATER = NOW + 3_600_000


class StoreUser(Protocol):
    """The fixture, where a test opens a second store itself."""

    url: str
    farm: str

    def __call__(self, body: Callable[[Store], Awaitable[None]]) -> None: ...


UseStore = Callable[..., Any]
EXAMPLES = iter(range(1_000_000))


def bind(aor: str, contact: str, call_id: str, cseq: int, expires: int = LATER) -> Binding:
    return Binding(
        aor,
        f"<sip:{contact}>",
        contact,
        call_id,
        cseq,
        expires,
        path=("<sip:edge.example.test;lr>",),
        user_agent="phone \N{TELEPHONE LOCATION SIGN}",
    )


def add(aor: str, contact: str, call_id: str, cseq: int, expires: int = LATER) -> RegisterUpdate:
    return RegisterUpdate(aor, call_id, cseq, (bind(aor, contact, call_id, cseq, expires),))


def test_a_binding_is_there_after_the_store_was_closed(use_store: UseStore) -> None:
    update = add("sip:a@example.test", "c", "x", 1)

    async def write(store: Store) -> None:
        outcome = await store.register(update, NOW)
        assert outcome == RegisterOutcome("applied", update.contacts)

    async def read(store: Store) -> None:
        assert await store.bindings("sip:a@example.test", NOW) == update.contacts
        assert await store.bindings("sip:b@example.test", NOW) == ()

    use_store(write)
    use_store(read)


def test_an_expired_binding_is_not_seen(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        await store.register(add("sip:a@x", "c", "x", 1, expires=NOW + 1_000), NOW)
        assert len(await store.bindings("sip:a@x", NOW + 999)) == 1
        assert await store.bindings("sip:a@x", NOW + 1_000) == ()

    use_store(body)


def test_no_register_that_was_under_way_outlives_the_closing_of_its_address_of_record(
    use_store: UseStore,
) -> None:
    """The account is removed while its phones register at other members."""

    async def body(store: Store) -> None:
        aor = "sip:a@x"
        phones = [add(aor, f"c{n}", f"call{n}", 1) for n in range(16)]
        updates = (*phones[:8], closing(aor), *phones[8:])
        await asyncio.gather(*[store.register(update, NOW) for update in updates])
        assert await store.bindings(aor, NOW) == ()
        then = NOW + CLOSED_MS
        assert (await store.register(add(aor, "new", "new", 1), then)).status == "applied"
        assert [found.contact_key for found in await store.bindings(aor, then)] == ["new"]

    use_store(body)


def test_concurrent_updates_of_one_address_of_record_are_all_there(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        updates = [add("sip:a@x", f"c{n}", f"call{n}", 1) for n in range(12)]
        outcomes = await asyncio.gather(*(store.register(update, NOW) for update in updates))
        assert {outcome.status for outcome in outcomes} == {"applied"}
        assert sorted(len(outcome.bindings) for outcome in outcomes) == list(range(1, 13))
        assert len(await store.bindings("sip:a@x", NOW)) == 12

    use_store(body)


def test_of_concurrent_repeats_one_is_applied(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        update = add("sip:a@x", "c", "call", 1)
        outcomes = await asyncio.gather(*(store.register(update, NOW) for _ in range(20)))
        assert sorted(outcome.status for outcome in outcomes) == ["applied"] + ["repeated"] * 19
        assert {outcome.bindings for outcome in outcomes} == {update.contacts}

    use_store(body)


def test_two_stores_open_at_once_order_their_updates(
    use_store: "StoreUser",
) -> None:
    async def inner(first: Store, second: Store) -> None:
        updates = [add("sip:a@x", f"c{n}", f"call{n}", 1) for n in range(14)]
        outcomes = await asyncio.gather(
            *(store.register(u, NOW) for u in updates for store in (first, second))
        )
        statuses = [outcome.status for outcome in outcomes]
        assert (statuses.count("applied"), statuses.count("repeated")) == (14, 14)

    async def body(first: Store) -> None:
        async with open_store(use_store.url, farm=use_store.farm, timeout_s=5.0) as second:
            await inner(first, second)

    use_store(body)


def test_a_cancelled_update_leaves_the_store_usable(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        waiting = [asyncio.ensure_future(store.register(add("sip:a@x", "c", "x", n), NOW))
                   for n in range(1, 5)]  # fmt: skip
        await turn()
        waiting[1].cancel()
        await asyncio.wait(waiting)
        assert waiting[1].cancelled()
        assert (await store.register(add("sip:a@x", "c", "x", 9), NOW)).status == "applied"

    use_store(body)


def test_odd_texts_are_kept_as_they_are(use_store: UseStore) -> None:
    odd = [
        "sip:{a}@x",
        "sip:}@x",
        "sip:%7ba%7d@x",
        "sip:'; drop@x",
        "sip:ü\N{SNOWMAN}@x",
        '"\\',
        "",
    ]

    async def body(store: Store) -> None:
        for number, aor in enumerate(odd):
            await store.register(add(aor, f"c{number}", "x", 1), NOW)
        for number, aor in enumerate(odd):
            assert [b.contact_key for b in await store.bindings(aor, NOW)] == [f"c{number}"]

    use_store(body)


def test_what_no_database_can_hold_is_refused_and_harms_nobody(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        good = store.register(add("sip:a@x", "c", "x", 1), NOW)
        for aor in ("sip:\0@x", "sip:\udc80@x"):
            with pytest.raises(UsageError):
                await store.bindings(aor, NOW)
        assert (await good).status == "applied"

    use_store(body)


def test_purging_leaves_what_is_alive(use_store: UseStore) -> None:
    async def body(store: Store) -> None:
        for number in range(50):
            expires = NOW + (1_000 if number % 2 else 3_600_000)
            await store.register(add(f"sip:{number}@x", "c", "x", 1, expires), NOW)
        for _ in range(20):
            await store.purge(NOW + 2_000, 7)
        for number in range(0, 50, 2):
            assert len(await store.bindings(f"sip:{number}@x", NOW + 2_000)) == 1

    use_store(body)


CONTACTS = st.sampled_from(["a", "b"])
STEP = st.tuples(
    st.sampled_from(["add", "remove", "clear"]),
    CONTACTS,
    st.sampled_from(["x", "y"]),
    st.integers(1, 4),
    st.integers(0, 40_000),
)


def step_update(aor: str, step: tuple[str, str, str, int, int], wall_ms: int) -> RegisterUpdate:
    act, contact, call_id, cseq, _ = step
    if act == "add":
        return add(aor, contact, call_id, cseq, wall_ms + 60_000)
    if act == "clear":
        return RegisterUpdate(aor, call_id, cseq, wildcard=True)
    return RegisterUpdate(aor, call_id, cseq, removals=(Removal(contact),))


@pytest.mark.slow
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(STEP, max_size=8), min_size=1, max_size=8))
def test_the_store_agrees_with_the_rules_applied_in_memory(
    use_store: UseStore, histories: list[list[tuple[str, str, str, int, int]]]
) -> None:
    """Several addresses-of-record at once, so that batches mix changed and unchanged ones."""

    async def one(store: Store, aor: str, history: list[tuple[str, str, str, int, int]]) -> None:
        wall_ms, model = NOW, None
        for step in history:
            wall_ms += step[4]
            update = step_update(aor, step, wall_ms)
            expected = register(model, update, wall_ms)
            model = expected.value or model
            assert await store.register(update, wall_ms) == expected.outcome
            assert await store.bindings(aor, wall_ms) == expected.outcome.bindings

    run = next(EXAMPLES)

    async def body(store: Store) -> None:
        await asyncio.gather(
            *(one(store, f"sip:{run}-{n}@x", history) for n, history in enumerate(histories))
        )

    use_store(body)
