"""What is SQLite's own: several processes on one file, locks, schemas, the GIL."""

import asyncio
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sipfarm.base.errors import StartError
from sipfarm.base.records import Binding, Domain, RegisterUpdate
from sipfarm.cluster.io import sqlite_schema, sqlite_worker
from sipfarm.cluster.io.store import StoreUnavailable, open_store
from sipfarm.testing.eventually import turn
from sipfarm.testing.processes import Children

WRITER = Path(__file__).with_name("store_writer.py")
NOW = 1_800_000_000_000
LIFE_MS = 3_600_000


def update(aor: str, cseq: int, contact: str = "c") -> RegisterUpdate:
    binding = Binding(aor, contact, contact, contact, cseq, NOW + LIFE_MS)
    return RegisterUpdate(aor, contact, cseq, (binding,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "farm.db"


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody holds the write lock and does not let go."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


@pytest.mark.slow
def test_three_processes_share_a_file_from_its_making(path: Path, children: Children) -> None:
    rounds = 100
    writers = [
        children.start([sys.executable, WRITER, f"sqlite:{path}", f"m{n}", "shared", str(rounds)])
        for n in range(3)
    ]
    numbers = {writer.wait_for_line(r"number (\d+)", 30)[1] for writer in writers}
    assert [writer.wait(40) for writer in writers] == [0, 0, 0]
    assert numbers == {"1", "2", "3"}

    async def read() -> None:
        async with open_store(f"sqlite:{path}") as store:
            for n in range(20):
                bindings = await store.bindings(f"sip:{n}@x", NOW)
                assert {(b.contact, b.cseq) for b in bindings} == {
                    ("m0", rounds),
                    ("m1", rounds),
                    ("m2", rounds),
                }

    asyncio.run(read())


@pytest.mark.slow
def test_what_was_answered_survives_the_death_of_the_process(
    path: Path, children: Children
) -> None:
    writer = children.start([sys.executable, WRITER, f"sqlite:{path}", "m1", "on"])
    writer.wait_for_line(r"cseq 50\b", 20)
    writer.kill()
    answered = [int(line.split()[1]) for line in writer.lines if line.startswith("cseq ")]

    async def read() -> int:
        async with open_store(f"sqlite:{path}") as store:
            (binding,) = await store.bindings("sip:on@x", NOW)
            return binding.cseq

    assert asyncio.run(read()) >= max(answered)


def test_a_write_lock_held_by_another_ends_in_a_bounded_error_and_reads_go_on(path: Path) -> None:
    async def body() -> None:
        async with open_store(f"sqlite:{path}", timeout_s=0.2) as store:
            await store.register(update("sip:a@x", 1), NOW)
            with locked(path):
                began = time.monotonic()
                with pytest.raises(StoreUnavailable):
                    await store.register(update("sip:a@x", 2), NOW)
                assert time.monotonic() - began < 1.0
                assert len(await store.bindings("sip:a@x", NOW)) == 1
            async with asyncio.timeout(5):
                while not await accepted(store.register(update("sip:a@x", 3), NOW)):
                    pass

    async def accepted(registering: object) -> bool:
        try:
            await registering  # type: ignore[misc]
        except StoreUnavailable:
            return False
        return True

    asyncio.run(body())


def test_what_nobody_waits_for_any_more_is_not_written(path: Path) -> None:
    async def body() -> None:
        async with open_store(f"sqlite:{path}", timeout_s=0.2) as store:
            with locked(path):
                first = store.register(update("sip:a@x", 1), NOW)
                outcomes = await asyncio.gather(
                    first,
                    *(store.register(update(f"sip:{n}@x", 1), NOW) for n in range(5)),
                    return_exceptions=True,
                )
                assert all(isinstance(outcome, StoreUnavailable) for outcome in outcomes)
        async with open_store(f"sqlite:{path}") as store:
            assert (await store.register(update("sip:z@x", 1), NOW)).status == "applied"

    asyncio.run(body())


def test_a_register_that_is_done_after_it_was_given_up_is_told(path: Path) -> None:
    async def body() -> None:
        told: list[str] = []
        async with open_store(f"sqlite:{path}") as store:
            store.tell_late(told.append)
            assert (await store.register(update("sip:a@x", 1), NOW)).status == "applied"
            given_up = store.register(update("sip:b@x", 1), NOW)
            assert isinstance(given_up, asyncio.Future)
            given_up.set_exception(StoreUnavailable("as the time limit does"))
            with pytest.raises(StoreUnavailable):
                await given_up
            async with asyncio.timeout(5):
                while not told:
                    await turn()
            assert told == ["sip:b@x"]
            assert len(await store.bindings("sip:b@x", NOW)) == 1

    asyncio.run(body())


def test_a_queue_that_is_full_refuses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_worker, "QUEUED_MAX", 4)

    async def body() -> None:
        async with open_store(f"sqlite:{path}") as store:
            results = await asyncio.gather(
                *(store.register(update(f"sip:{n}@x", 1), NOW) for n in range(10)),
                return_exceptions=True,
            )
            assert sum(isinstance(result, StoreUnavailable) for result in results) == 6
            assert (await store.register(update("sip:z@x", 1), NOW)).status == "applied"

    asyncio.run(body())


def test_a_newer_schema_is_refused_in_one_sentence(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        newer = (*sqlite_schema.MIGRATIONS, ("CREATE TABLE later (x)",))
        sqlite_schema.migrate(connection, newer)

    async def body() -> None:
        async with open_store(f"sqlite:{path}"):
            raise AssertionError("it was opened")

    with pytest.raises(StartError, match="schema 2, this release knows up to 1"):
        asyncio.run(body())


def test_an_older_schema_is_brought_forward_and_keeps_its_data(path: Path) -> None:
    async def write() -> None:
        async with open_store(f"sqlite:{path}") as store:
            await store.put_domain(Domain("example.test"))

    asyncio.run(write())
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        newer = (*sqlite_schema.MIGRATIONS, ("ALTER TABLE cell ADD COLUMN extra TEXT",))
        sqlite_schema.migrate(connection, newer)
        sqlite_schema.migrate(connection, newer)
        versions = connection.execute("SELECT version FROM schema_version").fetchall()
        assert versions == [(1,), (2,)]
        assert connection.execute("SELECT count(*), max(extra) FROM cell").fetchone() == (4, None)


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        sqlite_schema.migrate(connection)
        broken = (*sqlite_schema.MIGRATIONS, ("CREATE TABLE later (x)", "no SQL"))
        with pytest.raises(sqlite3.OperationalError):
            sqlite_schema.migrate(connection, broken)
        assert connection.execute("SELECT max(version) FROM schema_version").fetchone() == (1,)
        sqlite_schema.migrate(connection)


@pytest.mark.parametrize("place", ["missing/farm.db", ".", "text"])
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "text").write_text("this is no database, " * 100)

    async def body() -> None:
        async with open_store(f"sqlite:{tmp_path / place}"):
            raise AssertionError("it was opened")

    with pytest.raises(StartError, match=r"store .*: (unable to open|file is not a database)"):
        asyncio.run(body())


@pytest.mark.parametrize("url", ["sqlite:", "sqlite::memory:", "postgres://x", "farm.db"])
def test_another_kind_of_store_is_refused(url: str) -> None:
    async def body() -> None:
        async with open_store(url):
            raise AssertionError("it was opened")

    with pytest.raises(StartError, match="store"):
        asyncio.run(body())


def test_purging_goes_through_the_table_in_steps(path: Path) -> None:
    async def body() -> None:
        async with open_store(f"sqlite:{path}") as store:
            await asyncio.gather(
                *(store.register(update(f"sip:{n}@x", 1), NOW) for n in range(100))
            )
            await store.put_domain(Domain("example.test"))
            assert sum([await store.purge(NOW, 10) for _ in range(30)]) == 0
            purged = [await store.purge(NOW + LIFE_MS + 1, 10) for _ in range(30)]
            assert max(purged) <= 10
            assert sum(purged) == 100
            assert await store.domains() == (Domain("example.test"),)

    asyncio.run(body())


@pytest.mark.slow
@pytest.mark.parametrize("turn_s", [0.000_3, 0.002])
def test_a_loop_that_never_rests_does_not_starve_the_store(path: Path, turn_s: float) -> None:
    """CPython's GIL would let it: `sipfarm.cluster.io.store_sqlite` says how."""

    async def body() -> None:
        done = False

        async def work() -> None:
            while not done:
                until = time.perf_counter() + turn_s
                while time.perf_counter() < until:
                    pass
                await turn()

        async with (
            open_store(f"sqlite:{path}", timeout_s=5.0) as store,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(work())
            began = time.monotonic()
            for cseq in range(1, 6):
                await asyncio.gather(
                    *(store.register(update(f"sip:{n}@x", cseq), NOW) for n in range(200))
                )
            assert time.monotonic() - began < 3.0
            done = True

    asyncio.run(body())


def test_the_switch_interval_is_given_back(path: Path) -> None:
    before = sys.getswitchinterval()

    async def body() -> None:
        async with open_store(f"sqlite:{path}"):
            assert sys.getswitchinterval() < before

    asyncio.run(body())
    assert sys.getswitchinterval() == before
