"""The transaction users of a simulated member: the shipped ones, over a store in memory."""

from collections.abc import Callable, Coroutine
from random import Random
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

import msgspec

from sipfarm.base.farm_view import Incarnation, View
from sipfarm.base.ids import Entropy
from sipfarm.native import Engine, NameAddr, Output, OwnAddresses, Uri
from sipfarm.node.forwarding import Forwarding, HolderOf
from sipfarm.node.inheritance import Inheritance, InheritanceParts
from sipfarm.node.kept_calls import CallKeeper
from sipfarm.node.task_calls import TaskCallParts, TaskCalls
from sipfarm.pbx.call import Call
from sipfarm.pbx.task import Task, TaskTable
from sipfarm.signaling.authentication import TrustedSources
from sipfarm.signaling.digest import Digest, DigestSettings
from sipfarm.signaling.location import Locations
from sipfarm.signaling.lookup_cache import CacheSettings
from sipfarm.signaling.message import Syntax
from sipfarm.signaling.policy import stock_policy
from sipfarm.signaling.registrar import Registrar, RegistrarSettings
from sipfarm.signaling.registration import Registration
from sipfarm.signaling.router import Router
from sipfarm.signaling.routing import PolicySettings, RoutingParts
from sipfarm.signaling.tenants import Tenants
from sipfarm.testing.clock import VirtualClock
from sipfarm.testing.fake_plane import FakePlane
from sipfarm.testing.memory_store import MemoryStore
from sipfarm.testing.net import Endpoint

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from sipfarm.media.io.native_plane import MediaPlane

SYNTAX: Final = Syntax(Uri.parse, NameAddr.parse)


class Users(msgspec.Struct, frozen=True):
    """Everybody that the dispatcher hands events to."""

    registration: Registration
    router: Router
    bindings: MemoryStore
    locations: Locations
    forwarding: Forwarding
    task_calls: TaskCalls
    tasks: TaskTable
    keeper: CallKeeper
    inheritance: Inheritance


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What the users of a member are built from."""

    incarnation: Incarnation
    directory_key: bytes
    engine: Engine
    out: Output
    plane: FakePlane
    clock: VirtualClock
    random: Random
    store: MemoryStore
    nonce_key: bytes
    address: Endpoint
    trusted: tuple[str, ...]
    policy: PolicySettings
    tasks: TaskTable
    wake: Callable[[], None]
    view: Callable[[], View]
    """As heirs are chosen by it."""
    holder_of: HolderOf


class LogThatRaises:
    """Nothing in a simulation may go wrong unseen."""

    def info(self, event: str, **fields: object) -> None:
        return

    def warning(self, event: str, **fields: object) -> NoReturn:
        raise AssertionError(f"{event} {fields}")

    def exception(self, event: str, **fields: object) -> None:
        raise


class SimRunner:
    """Stands where a TaskRunner does, without a loop: a task takes its call, and lets it last."""

    def start(self, task: Task, call: Call) -> None:
        call.take()


class DrawnBytes(Entropy):
    """Entropy from a seed."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def token_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)


class NoNames:
    """A resolver for a network where everything has a literal address."""

    async def locate(
        self, host: str, port: int, transport: str, *, chosen: bool = True
    ) -> list[NoReturn]:
        return []


class SimGroup:
    """Stands where a TaskGroup does, for coroutines that wait for the store alone."""

    def __init__(self, run_later: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._run_later = run_later

    def create_task(self, work: Coroutine[Any, Any, None]) -> None:
        self._run_later(work)


def silent_log() -> "FilteringBoundLogger":
    # The cast: it has the methods that are used, and nothing is logged where all goes well.
    return cast("FilteringBoundLogger", LogThatRaises())


def build_users(given: Given) -> Users:
    """The users of one incarnation."""
    cache = CacheSettings()
    tenants, locations = Tenants(given.store, cache), Locations(given.store, cache)
    host, port = given.address
    own = OwnAddresses((host,), (port,))
    digest = Digest(DigestSettings(), (given.nonce_key,), given.incarnation[0], own)
    trusted = TrustedSources(given.trusted)
    routing = RoutingParts(
        tenants=tenants,
        locations=locations,
        digest=digest,
        trusted=trusted,
        own=own,
        syntax=SYNTAX,
        settings=given.policy,
    )
    # The cast: what stands in for the plane has the methods that are used.
    plane = cast("MediaPlane", given.plane)
    keeper = CallKeeper(given.store, given.incarnation, given.clock)
    task_calls = TaskCalls(
        TaskCallParts(
            engine=given.engine,
            out=given.out,
            plane=plane,
            entropy=DrawnBytes(given.random),
            keeper=keeper,
            tasks=given.tasks,
            now_ms=given.clock.now_ms,
            wake=given.wake,
        )
    )
    task_calls.use_runner(SimRunner())
    inheritance = Inheritance(
        InheritanceParts(
            store=given.store,
            keeper=keeper,
            heir=task_calls,
            own=given.incarnation,
            key=given.directory_key,
            view=given.view,
            clock=given.clock,
            log=silent_log(),
        )
    )
    registrar = Registrar(RegistrarSettings(), own)
    return Users(
        Registration(registrar, digest, trusted, (tenants, locations), own),
        Router(routing, stock_policy),
        given.store,
        locations,
        Forwarding(given.engine, given.out, {"udp": 0}, given.holder_of),
        task_calls,
        given.tasks,
        keeper,
        inheritance,
    )
