"""The metrics of a member: what its parts count, under the names that Prometheus sees."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from sipfarm import __version__
from sipfarm.base.farm_view import View, ViewState
from sipfarm.base.metrics import Metrics
from sipfarm.cluster.io.farm import Farm
from sipfarm.config import Config
from sipfarm.media.io.native_plane import MediaPlane
from sipfarm.native import Engine, ExpressLane, build_info
from sipfarm.node.forwarding import Forwarding
from sipfarm.node.inheritance import Inheritance
from sipfarm.node.kept_calls import CallKeeper
from sipfarm.node.task_calls import TaskCalls
from sipfarm.signaling.io.packet_log import PacketLog
from sipfarm.signaling.io.streams import Streams

Samples = Iterable[tuple[Sequence[str], float]]

ENGINE_COUNTERS: Final = (
    ("received", "messages received"),
    ("requests", "requests received"),
    ("responses", "responses received"),
    ("retransmissions", "retransmissions absorbed"),
    ("forwarded", "messages forwarded"),
    ("passed_on", "packets passed on to their owner"),
    ("from_bus", "packets that came over the bus"),
    ("claims", "new requests claimed at the home of their Call-ID"),
    ("placed", "new requests given to another member"),
    ("undelivered", "ICMP errors for what was sent"),
    ("bans", "sources banned"),
    ("sources_forgotten", "sources with faults that others took the place of"),
)
ENGINE_GAUGES: Final = (
    ("server_transactions", "server transactions"),
    ("client_transactions", "client transactions"),
    ("forks", "requests being forked"),
    ("calls", "forwarded calls"),
    ("messages", "messages held"),
    ("timers", "timers set"),
    ("directory", "entries of the directory of Call-IDs"),
    ("waiting", "packets that wait for a claim"),
)
EXPRESS_COUNTERS: Final = (
    ("registered", "REGISTERs answered without a decision"),
    ("left", "REGISTERs written without a decision, and left to be answered"),
    ("crowded", "REGISTERs decided on because too many waited for the store"),
)
EXPRESS_GAUGES: Final = (
    ("admitted", "accounts whose REGISTERs need no decision"),
    ("waiting", "REGISTERs in the express lane that wait for the store"),
)
PLANE_COUNTERS: Final = (
    ("packets_relayed", "RTP and RTCP packets relayed"),
    ("packets_in_kernel", "of those, packets relayed by the kernel"),
    ("bytes_relayed", "bytes of RTP and RTCP relayed"),
    ("dropped", "packets of media dropped"),
    ("unauthentic", "media packets that were not SRTP by the key of their side"),
    ("replayed", "SRTP packets that came twice or too late"),
    ("late", "packets for media ports at rest"),
    ("queue_full", "packets lost since a media thread did not read in time"),
    ("wakeups", "turns of the media threads"),
    ("events_lost", "events of the media threads lost"),
    ("commands_refused", "commands to the media threads refused"),
)
PLANE_GAUGES: Final = (
    ("streams", "streams of media"),
    ("ports_bound", "media ports bound"),
    ("ports_foreign", "media ports that other programs have"),
    ("bind_errno", "why a media port could not be bound last, as errno (24: no descriptors)"),
)


class Load(Protocol):
    @property
    def loop_lag_ms(self) -> float: ...
    @property
    def cpu_s(self) -> float: ...


class Deciders(Protocol):
    @property
    def lane(self) -> ExpressLane | None: ...


class Duty(Protocol):
    @property
    def draining(self) -> bool: ...


class Measured(Protocol):
    """The parts that count."""

    @property
    def config(self) -> Config: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def plane(self) -> MediaPlane: ...
    @property
    def forwarding(self) -> Forwarding: ...
    @property
    def task_calls(self) -> TaskCalls: ...
    @property
    def keeper(self) -> CallKeeper: ...
    @property
    def inheritance(self) -> Inheritance: ...
    @property
    def streams(self) -> Streams: ...
    @property
    def farm(self) -> Farm: ...
    @property
    def packet_log(self) -> PacketLog | None: ...
    def view(self) -> View: ...
    @property
    def duty(self) -> Duty: ...
    @property
    def deciders(self) -> Deciders: ...


def member_metrics(member: Measured, load: Load) -> Metrics:
    """Read when they are shown."""
    metrics = Metrics({"member": member.config.member.name})
    _read_all(metrics, "sipfarm_sip_", ENGINE_COUNTERS, ENGINE_GAUGES, member.engine.counters)
    metrics.read_counter(
        "sipfarm_sip_drops",
        "messages dropped",
        ("reason",),
        lambda: _by_label(member.engine.counters()["drops"]),
    )
    metrics.read_counter(
        "sipfarm_sip_faults",
        "faults held against sources",
        ("fault",),
        lambda: _by_label(member.engine.counters()["faults"]),
    )
    lane = member.deciders.lane
    if lane is not None:
        _read_all(metrics, "sipfarm_express_", EXPRESS_COUNTERS, EXPRESS_GAUGES, lane.counters)
    totals = member.plane.plane.totals
    _read_all(metrics, "sipfarm_media_", PLANE_COUNTERS, PLANE_GAUGES, totals)
    pool = member.plane.pool
    gauges: tuple[tuple[str, str, Callable[[], float]], ...] = (
        ("sipfarm_media_ports_free", "media ports that wait for a call", lambda: pool.free),
        ("sipfarm_media_ports_resting", "media ports that rest", lambda: pool.resting),
        ("sipfarm_media_ports_taken", "media ports of calls", lambda: pool.taken),
        ("sipfarm_stream_connections", "connections of SIP", lambda: member.streams.count),
        (
            "sipfarm_calls_awaiting_registration",
            "calls whose phone has lost its connection",
            lambda: len(member.forwarding.reconnections),
        ),
        ("sipfarm_task_calls", "calls run by tasks", lambda: member.task_calls.count),
        (
            "sipfarm_loop_lag_seconds",
            "worst lag of the event loop in the last second",
            lambda: load.loop_lag_ms / 1_000,
        ),
        ("sipfarm_draining", "1 while the member takes no new work", lambda: member.duty.draining),
    )
    _read_farm(metrics, member)
    for name, text, read in gauges:
        metrics.read_gauge(name, text, (), _one(read))
    metrics.read_counter(
        "sipfarm_calls_refused_to_wait",
        "calls that found no room to wait for their phone's registration",
        (),
        _one(lambda: member.forwarding.reconnections.refused),
    )
    metrics.read_gauge(
        "sipfarm_media_sockets",
        "what carries packets of media, and why not one socket for each thread",
        ("mode", "reason"),
        lambda: [(member.plane.plane.socket_mode, 1.0)],
    )
    metrics.read_gauge(
        "sipfarm_media_kernel_relay",
        "the interfaces at which the kernel relays, and why it does not where that was wanted",
        ("at", "reason"),
        lambda: [(member.plane.plane.kernel_relay, 1.0)],
    )
    log = member.packet_log
    if log is not None:
        text = "packets that have no line in the packet log"
        metrics.read_counter("sipfarm_packet_log_lost", text, (), _one(lambda: log.lost))
    metrics.read_counter("sipfarm_cpu_seconds", "CPU time used", (), _one(lambda: load.cpu_s))
    build: Mapping[str, str] = build_info()
    labels = (__version__, build["commit"], build["compiler"])
    metrics.read_gauge(
        "sipfarm_build_info",
        "what runs here",
        ("version", "commit", "compiler"),
        lambda: [(labels, 1.0)],
    )
    return metrics


def _read_farm(metrics: Metrics, member: Measured) -> None:
    """The member's place in the farm, and its links."""
    metrics.read_gauge(
        "sipfarm_view_members",
        "members in the view of this one",
        ("state",),
        lambda: [
            ((state.value,), float(sum(seen.state is state for seen in member.view().members)))
            for state in ViewState
        ],
    )
    structs: tuple[tuple[str, Callable[[], msgspec.Struct]], ...] = (
        ("sipfarm_farm_", lambda: member.farm.counters),
        ("sipfarm_bus_", lambda: member.farm.bus.counters),
        ("sipfarm_keeper_", lambda: member.keeper.counters),
        ("sipfarm_inherited_", lambda: member.inheritance.counters),
    )
    for prefix, read in structs:
        names = read().__struct_fields__
        texts = [(name, name.replace("_", " ")) for name in names]
        _read_all(metrics, prefix, texts, (), _fields_of(read))


def _fields_of(read: Callable[[], msgspec.Struct]) -> Callable[[], Mapping[str, Any]]:
    return lambda: msgspec.structs.asdict(read())


def _read_all(
    metrics: Metrics,
    prefix: str,
    counters: Iterable[tuple[str, str]],
    gauges: Iterable[tuple[str, str]],
    read: Callable[[], Mapping[str, Any]],
) -> None:
    for key, text in counters:
        metrics.read_counter(f"{prefix}{key}", text, (), _one_of(read, key))
    for key, text in gauges:
        metrics.read_gauge(f"{prefix}{key}", text, (), _one_of(read, key))


def _one_of(read: Callable[[], Mapping[str, Any]], key: str) -> Callable[[], Samples]:
    return _one(lambda: read()[key])


def _one(read: Callable[[], float]) -> Callable[[], Samples]:
    return lambda: [((), float(read()))]


def _by_label(values: Mapping[str, int]) -> Samples:
    return [((label,), float(value)) for label, value in values.items()]
