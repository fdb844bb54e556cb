"""The configuration of one member: read once, checked, and frozen from then on (DESIGN §6)."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from sipfarm.base.errors import ConfigError, ConfigProblem
from sipfarm.base.io.files import is_readable, read_text
from sipfarm.base.net import HostPort, Listen, PortRange, Transport
from sipfarm.base.roles import ROLES, Role, fault_of
from sipfarm.base.secrets import SECRET_BYTES_MIN, Secret
from sipfarm.base.toml_reader import Reader, TomlDocument, TomlTable
from sipfarm.base.toml_values import (
    IpNetwork,
    choice,
    function_name,
    integer,
    ip_network,
    ip_text,
    list_of,
    text,
    text_of,
)
from sipfarm.config_protect import ProtectConfig, protect_of

Balancing = Literal["packet", "flow"]
ReplyVia = Literal["any", "receiver"]
MediaMode = Literal["relay", "auto", "direct"]
DigestAlgorithm = Literal["SHA-256", "MD5"]

BALANCING: tuple[Balancing, ...] = ("packet", "flow")
REPLY_VIA: tuple[ReplyVia, ...] = ("any", "receiver")
MEDIA_MODES: tuple[MediaMode, ...] = ("relay", "auto", "direct")
DIGEST_ALGORITHMS: tuple[DigestAlgorithm, ...] = ("SHA-256", "MD5")

STOCK_ROUTING = "sipfarm.signaling.policy:stock_policy"
GOSSIP_INTERVAL_MS = 200
"""Load is told to the other members this often (DESIGN §4); a member is silent after twice that."""
SECTIONS = ("farm", "member", "sip", "protect", "bus", "media", "admin")
LISTEN_MAX = 64
TRUSTED_MAX = 256
NAMESERVERS_MAX = 3
DNS_PORT = 53
TOKEN_CHARACTERS_MIN = 8
RECONNECT_WAIT_MS_MAX = 30_000
"""Below 64*T1, when the sender of a request gives it up (RFC 3261 §17.1.2.2)."""
PACKET_LOG_MB = 200

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,30}[A-Za-z0-9])?")
_REDIS_SCHEMES = ("redis", "rediss", "redis+cluster", "unix")


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
    reconnect_wait_ms: int = 5_000
    """How long a call waits for a phone that has lost its flow to register again; 0: not at all."""


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


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Read a member's file; ConfigError tells everything that is wrong with it."""
    config = parse(read_text(path), str(path), environment, directory=path.absolute().parent)
    missing = [
        ConfigProblem(str(path), 0, f"[sip] {key}", f'cannot read "{file}"')
        for key, file in (("certificate", config.sip.certificate), ("key", config.sip.key))
        if file is not None and not is_readable(file)
    ]
    if missing:
        raise ConfigError(missing)
    return config


def parse(
    toml: str, file: str, environment: Mapping[str, str], directory: Path = Path("/")
) -> Config:
    """Make a configuration of TOML. Relative paths in it are meant from `directory`."""
    document = TomlDocument(toml, file)
    root = document.root
    tables = {name: root.table(name) for name in SECTIONS}
    config = Config(
        farm=_farm(tables["farm"], environment, directory),
        member=_member(tables["member"], directory),
        sip=_sip(tables["sip"], directory),
        protect=protect_of(tables["protect"]),
        bus=BusConfig(listen=tables["bus"].require("listen", text_of(_bus_address), _NOWHERE)),
        media=_media(tables["media"]),
        admin=_admin(tables["admin"], environment),
    )
    for table in (*tables.values(), root):
        table.close()
    if not document.problems:
        for section, key, reason in contradictions(config):
            tables[section].refuse(key, reason)
    document.finish()
    return config


def contradictions(config: Config) -> list[tuple[str, str, str]]:
    """What is wrong between keys that are each well by themselves: (section, key, reason)."""
    return [
        *_farm_contradictions(config.farm),
        *_role_contradictions(config),
        *_sip_contradictions(config),
        *_media_contradictions(config),
        *_admin_contradictions(config.admin),
    ]


_ROLES: Reader[tuple[Role, ...]] = list_of(choice(ROLES), len(ROLES))
_DIGESTS: Reader[tuple[DigestAlgorithm, ...]] = list_of(
    choice(DIGEST_ALGORITHMS), len(DIGEST_ALGORITHMS)
)
_NOWHERE = HostPort("127.0.0.1", 0)


def _farm(table: TomlTable, environment: Mapping[str, str], directory: Path) -> FarmConfig:
    secret = _secret(table, "secret", environment, _farm_secret)
    if secret is None and "secret" not in table and "secret_env" not in table:
        table.refuse("", "secret (or secret_env) is missing")
    return FarmConfig(
        name=table.take("name", text_of(_name), "farm"),
        secret=secret or Secret(""),
        secret_previous=table.take("secret_previous", text_of(_farm_secret), None),
        store=table.require("store", text_of(lambda value: _store(value, directory)), ""),
        balancing=table.take("balancing", choice(BALANCING), "packet"),
        suspect_after_ms=table.take("suspect_after_ms", _silence_ms, 1_000),
        dead_after_ms=table.take("dead_after_ms", _death_ms, 2_000),
    )


def _member(table: TomlTable, directory: Path) -> MemberConfig:
    return MemberConfig(
        name=table.require("name", text_of(_name), ""),
        roles=table.take("roles", _ROLES, ROLES),
        drain_deadline_s=table.take("drain_deadline_s", integer(0, 86_400), 300),
        packet_log=table.take("packet_log", text_of(lambda value: directory / value), None),
        packet_log_mb=table.take("packet_log_mb", integer(1, 1_000_000), PACKET_LOG_MB),
    )


def _sip(table: TomlTable, directory: Path) -> SipConfig:
    path = text_of(lambda value: directory / value)
    return SipConfig(
        listen=table.take("listen", list_of(text_of(Listen.parse), LISTEN_MAX), ()),
        advertise=table.take("advertise", text_of(_advertised), None),
        certificate=table.take("certificate", path, None),
        key=table.take("key", path, None),
        reply_via=table.take("reply_via", choice(REPLY_VIA), "any"),
        routing=table.take("routing", text_of(function_name), STOCK_ROUTING),
        trusted=table.take("trusted", list_of(text_of(_network), TRUSTED_MAX), ()),
        digest=table.take("digest", _DIGESTS, DIGEST_ALGORITHMS),
        nameservers=table.take("nameservers", list_of(text_of(_nameserver), NAMESERVERS_MAX), ()),
        reconnect_wait_ms=table.take("reconnect_wait_ms", integer(0, RECONNECT_WAIT_MS_MAX), 5_000),
    )


def _media(table: TomlTable) -> MediaConfig:
    return MediaConfig(
        mode=table.take("mode", choice(MEDIA_MODES), "relay"),
        address=table.take("address", text_of(ip_text), "127.0.0.1"),
        advertise=table.take("advertise", text_of(ip_text), None),
        ports=table.take("ports", text_of(PortRange.parse), PortRange(20_000, 29_999)),
        threads=table.take("threads", integer(1, 64), 1),
        silence_timeout_s=table.take("silence_timeout_s", integer(5, 86_400), 60),
    )


def _admin(table: TomlTable, environment: Mapping[str, str]) -> AdminConfig:
    return AdminConfig(
        listen=table.require("listen", text_of(_ip_address), _NOWHERE),
        token=_secret(table, "token", environment, _token),
    )


def _secret(
    table: TomlTable,
    key: str,
    environment: Mapping[str, str],
    parse_secret: Callable[[str], Secret],
) -> Secret | None:
    """A secret that stands in the file, or in the environment variable that the file names."""
    written = table.take(key, text_of(parse_secret), None)
    variable = table.take(f"{key}_env", text, None)
    if variable is None:
        return written
    if key in table:
        table.refuse(f"{key}_env", f"{key} is there too: only one of the two is allowed")
        return None
    value = environment.get(variable, "")
    if not value:
        table.refuse(f"{key}_env", f"the environment variable {variable} is not set")
        return None
    try:
        return parse_secret(value)
    except ValueError as error:
        table.refuse(f"{key}_env", f"the environment variable {variable}: {error}")
        return None


def _farm_contradictions(farm: FarmConfig) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    if farm.secret_previous == farm.secret:
        found.append(("farm", "secret_previous", "is the same as the secret"))
    if farm.suspect_after_ms >= farm.dead_after_ms:
        reason = f"must be below dead_after_ms, which is {farm.dead_after_ms}"
        found.append(("farm", "suspect_after_ms", reason))
    return found


def _role_contradictions(config: Config) -> list[tuple[str, str, str]]:
    roles = config.member.roles
    fault = fault_of(roles, by_flow=config.farm.balancing == "flow")
    if fault:
        return [("member", "roles", fault)]
    unbound = "edge" not in roles and any(not listen.address.port for listen in config.sip.listen)
    reason = "a member that binds none of them must be told the port that the others have"
    return [("sip", "listen", reason)] if unbound else []


def _sip_contradictions(config: Config) -> list[tuple[str, str, str]]:
    sip = config.sip
    found: list[tuple[str, str, str]] = []
    if not sip.listen:
        found.append(("sip", "listen", "says where phones reach the farm: one at least is needed"))
    if sip.advertise is None and any(listen.address.is_unspecified for listen in sip.listen):
        reason = "listening on all addresses needs advertise: the one that others reach us by"
        found.append(("sip", "listen", reason))
    if (sip.certificate is None) != (sip.key is None):
        lone = "certificate" if sip.key is None else "key"
        found.append(("sip", lone, "certificate and key go together: the other is missing"))
    secure = [listen for listen in sip.listen if listen.transport.is_secure]
    if secure and sip.certificate is None:
        found.append(("sip", "listen", f"{secure[0]} needs certificate and key"))
    taken: dict[HostPort, str] = {}
    streams = [
        *((listen.address, str(listen)) for listen in sip.listen if listen.transport.is_stream),
        (config.bus.listen, "[bus] listen"),
        (config.admin.listen, "[admin] listen"),
    ]
    for address, what in streams:
        if address.port and address in taken:
            found.append(("sip", "listen", f"{taken[address]} and {what} are the same address"))
        taken.setdefault(address, what)
    return found


def _media_contradictions(config: Config) -> list[tuple[str, str, str]]:
    media = config.media
    found: list[tuple[str, str, str]] = []
    if HostPort(media.address, 0).is_unspecified and media.advertise is None:
        found.append(("media", "address", "all addresses need advertise: the one that SDP tells"))
    if media.advertise is not None and HostPort(media.advertise, 0).is_unspecified:
        found.append(("media", "advertise", "must be one address that phones can reach"))
    for listen in config.sip.listen:
        port = listen.address.port
        if listen.transport is Transport.UDP and media.ports.first <= port <= media.ports.last:
            found.append(("media", "ports", f"{listen} is within {media.ports}"))
    return found


def _admin_contradictions(admin: AdminConfig) -> list[tuple[str, str, str]]:
    ip = admin.listen.ip
    if admin.token is None and (ip is None or not ip.is_loopback):
        return [
            ("admin", "listen", f"{admin.listen} is not loopback: token or token_env is needed")
        ]
    return []


def _silence_ms(value: object) -> int:
    return integer(2 * GOSSIP_INTERVAL_MS + 1, 600_000)(value)


def _death_ms(value: object) -> int:
    """Long enough for a member that may be dead to know it before the others do."""
    return integer(4 * GOSSIP_INTERVAL_MS + 1, 600_000)(value)


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f'"{value}": allowed are 1 to 32 letters, digits, "-" and "_"')
    return value


def _farm_secret(value: str) -> Secret:
    if len(value.encode()) < SECRET_BYTES_MIN:
        raise ValueError(f"too short: a farm's secret has at least {SECRET_BYTES_MIN} characters")
    return Secret(value)


def _token(value: str) -> Secret:
    if len(value) < TOKEN_CHARACTERS_MIN or not (value.isascii() and value.isprintable()):
        raise ValueError(f"must be at least {TOKEN_CHARACTERS_MIN} printable ASCII characters")
    return Secret(value)


def _store(value: str, directory: Path) -> str:
    """The URL of a store; a relative path of SQLite is meant from the file's directory."""
    if value.startswith("sqlite:"):
        path = value.removeprefix("sqlite:")
        if not path:
            raise ValueError("sqlite: needs a path, as in sqlite:/var/lib/sipfarm/farm.db")
        return f"sqlite:{directory / path}"
    try:
        url = urlsplit(value)
        if url.scheme == "redis+sentinel":  # several hosts, and the master's name
            valid = bool(url.netloc and url.path.strip("/"))
        else:
            valid = url.scheme in _REDIS_SCHEMES and (url.hostname or url.path) and url.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(
            f'"{value}": allowed are sqlite:PATH, redis://HOST:PORT/DATABASE and'
            " redis+sentinel://HOST:PORT,…/MASTER"
        )
    return value


def _network(value: str) -> IpNetwork:
    network = ip_network(value)
    if network.prefixlen == 0:
        raise ValueError(f'"{value}" is everybody: name the networks that may call without digest')
    return network


def _ip_address(value: str) -> HostPort:
    address = HostPort.parse(value)
    if address.ip is None:
        raise ValueError(f'"{value}" is a name: write an IP address of this machine')
    return address


def _nameserver(value: str) -> HostPort:
    address = HostPort.parse(value, DNS_PORT)
    if address.ip is None or address.port == 0:
        raise ValueError(f'"{value}": write the IP address of a name server')
    return address


def _bus_address(value: str) -> HostPort:
    address = _ip_address(value)
    if address.is_unspecified:
        raise ValueError(f'"{value}": write the one address that the other members reach us by')
    return address


def _advertised(value: str) -> HostPort:
    address = HostPort.parse(value, Transport.UDP.default_port)
    if address.is_unspecified or address.port == 0:
        raise ValueError(f'"{value}": write the address and port that phones reach the farm by')
    return address
