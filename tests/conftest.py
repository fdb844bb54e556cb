"""What all tests share: ports, child processes, and an order that is drawn anew for each run."""

import os
import random
from collections.abc import Callable, Iterator

import pytest

from sipfarm.testing.ports import PortLease, lease_ports
from sipfarm.testing.processes import Children

ORDER_SEED = "SIPFARM_ORDER_SEED"


def pytest_configure() -> None:
    os.environ.setdefault(ORDER_SEED, str(random.SystemRandom().randrange(1_000_000)))


def pytest_report_header() -> str:
    return f"order of tests: {ORDER_SEED}={os.environ[ORDER_SEED]}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Draw the order of modules, and of the tests in each, from the seed that all workers share.

    Those marked `early` come first.
    """
    order = random.Random(int(os.environ[ORDER_SEED]))
    modules: dict[str, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(str(item.path), []).append(item)
        if "e2e" in item.path.parts:
            item.add_marker("e2e")
    paths = sorted(modules)
    order.shuffle(paths)
    paths.sort(key=lambda path: modules[path][0].get_closest_marker("early") is None)
    for path in paths:
        order.shuffle(modules[path])
    items[:] = [item for path in paths for item in modules[path]]


@pytest.fixture
def ports() -> Iterator[Callable[[int], PortLease]]:
    """Take ports in a row: `ports(3).first`. They are given back after the test."""
    leases: list[PortLease] = []

    def take(count: int) -> PortLease:
        leases.append(lease_ports(count))
        return leases[-1]

    yield take
    for lease in leases:
        lease.release()


@pytest.fixture
def free_port(ports: Callable[[int], PortLease]) -> Callable[[], int]:
    """Take one port that no other test has."""
    return lambda: ports(1).first


@pytest.fixture
def children() -> Iterator[Children]:
    """Start child processes; they are ended after the test."""
    with Children() as started:
        yield started


@pytest.fixture(scope="session")
def session_children() -> Iterator[Children]:
    """Start child processes that live as long as the test session."""
    with Children() as started:
        yield started
