"""The sections of a member's file, and what stands in each (DESIGN §6)."""

import ipaddress
from pathlib import Path
from typing import Literal

import msgspec

from sipfarm.base.net import HostPort, Listen, PortRange
from sipfarm.base.roles import ROLES, Role
from sipfarm.base.secrets import Secret
from sipfarm.base.toml_values import IpNetwork

Balancing = Literal["packet", "flow"]
ReplyVia = Literal["any", "receiver"]
MediaMode = Literal["relay", "auto", "direct"]
MediaSockets = Literal["auto", "per_port"]
DigestAlgorithm = Literal["SHA-256", "MD5"]

BALANCING: tuple[Balancing, ...] = ("packet", "flow")
REPLY_VIA: tuple[ReplyVia, ...] = ("any", "receiver")
MEDIA_MODES: tuple[MediaMode, ...] = ("relay", "auto", "direct")
MEDIA_SOCKETS: tuple[MediaSockets, ...] = ("auto", "per_port")
DIGEST_ALGORITHMS: tuple[DigestAlgorithm, ...] = ("SHA-256", "MD5")

STOCK_ROUTING = "sipfarm.signaling.policy:stock_policy"
PACKET_LOG_MB = 200
LOOPBACK: tuple[IpNetwork, ...] = (
    ipaddress.IPv4Network("127.0.0.0/8"),
    ipaddress.IPv6Network("::1/128"),
)


class FarmConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What all members of a farm agree on."""

    name: str = "farm"
    secret: Secret
    """Keys of marks, bus and nonces derive from it."""
    secret_previous: Secret | None = None
    """Still accepted while the secret is being changed, member by member."""
    store: str
    """`sqlite:PATH`, or the URL of a Redis."""
    balancing: Balancing = "packet"
    """`flow`: the balancer keeps a flow on one member, so new requests need no claim."""
    suspect_after_ms: int = 1_000
    """A member silent for so long gets no new work."""
    dead_after_ms: int = 2_000
    """A member silent for so long is tombstoned in the store."""


class MemberConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who this member is, and what it does."""

    name: str
    roles: tuple[Role, ...] = ROLES
    """`edge` binds the farm's addresses, `pbx` takes new work, and `media` relays for it."""
    drain_deadline_s: int = 300
    """A draining member ends what is still running after so long."""
    packet_log: Path | None = None
    """What became of each packet is written here, a line of JSON each."""
    packet_log_mb: int = PACKET_LOG_MB
    """The file and the one before it hold so much together."""


class SipConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where SIP comes in, and how it is routed."""

    listen: tuple[Listen, ...] = ()
    advertise: HostPort | None = None
    """What stands in our Via, Record-Route and Contact; by default where we listen."""
    certificate: Path | None = None
    """PEM, with the chain."""
    key: Path | None = None
    reply_via: ReplyVia = "any"
    """`receiver`: an answer leaves where the request came in (balancers that rewrite addresses)."""
    routing: str = STOCK_ROUTING
    trusted: tuple[IpNetwork, ...] = ()
    """Sources that may call without digest: gateways, load tests."""
    digest: tuple[DigestAlgorithm, ...] = DIGEST_ALGORITHMS
    """What callers are challenged with, the preferred algorithm first (RFC 8760 §2.4)."""
    nameservers: tuple[HostPort, ...] = ()
    """Asked for next hops (RFC 3263); by default those of the machine, and its hosts file."""
    origins: tuple[str, ...] = ()
    """Of the pages that may open a WebSocket (RFC 6455 §10.2); none named: any may."""
    reconnect_wait_ms: int = 5_000
    """How long a call waits for a phone that has lost its flow to register again; 0: not at all."""


class ProtectConfig(msgspec.Struct, frozen=True, kw_only=True):
    """By source: an IPv4 address, or an IPv6 network of 64 bits; `[sip] trusted` is exempt."""

    unproven_per_second: int = 200
    """New requests of one source that has proven nothing; ten times as many may come at once."""
    unproven_total_per_second: int = 5_000
    """Of all such sources together."""
    faults_max: int = 30
    """Wrong passwords, malformed requests, requests for foreign domains; then it is banned."""
    fault_forgiven_s: int = 10
    """One fault is forgiven each time."""
    ban_s: int = 300
    exempt: tuple[IpNetwork, ...] = LOOPBACK
    """Never held off."""


class BusConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where other members reach this one."""

    listen: HostPort


class MediaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where RTP comes in, and which calls' does."""

    mode: MediaMode = "relay"
    """`auto`: only where phones cannot reach each other; `direct`: never."""

    address: str = "127.0.0.1"
    advertise: str | None = None
    """What stands in SDP; by default the address."""
    ports: PortRange = PortRange(20_000, 29_999)
    threads: int = 1
    sockets: MediaSockets = "auto"
    """`auto`: one for each thread where the kernel allows it, else, and `per_port`: one a port."""
    kernel_relay: bool = True
    """Packets that only change their addresses are relayed by the kernel, where it allows that."""
    silence_timeout_s: int = 60
    """A call is ended when neither side has sent RTP or RTCP for so long; not one on hold."""


class AdminConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the HTTP API, the console and the metrics are."""

    listen: HostPort
    token: Secret | None = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """One member's configuration."""

    farm: FarmConfig
    member: MemberConfig
    sip: SipConfig
    protect: ProtectConfig = ProtectConfig()
    bus: BusConfig
    media: MediaConfig
    admin: AdminConfig
