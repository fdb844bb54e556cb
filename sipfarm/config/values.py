"""How single values of a member's file are read; each raises ValueError with a sentence."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from sipfarm.base.net import HostPort, Transport
from sipfarm.base.secrets import SECRET_BYTES_MIN, Secret
from sipfarm.base.toml_values import IpNetwork, integer, ip_network

GOSSIP_INTERVAL_MS = 200
"""Load is told to the other members this often (DESIGN §4); a member is silent after twice that."""
DNS_PORT = 53
PORT_MAX = 65_535
TOKEN_CHARACTERS_MIN = 8

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,30}[A-Za-z0-9])?")
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://"
    r"(?P<host>[a-z0-9_.-]+|\[[0-9a-f:.]+\])(:(?P<port>[0-9]{1,5}))?"
)
_WEB_PORTS = {"http": 80, "https": 443}
_REDIS_SCHEMES = ("redis", "rediss", "redis+cluster", "unix")


def silence_ms(value: object) -> int:
    return integer(2 * GOSSIP_INTERVAL_MS + 1, 600_000)(value)


def death_ms(value: object) -> int:
    """Long enough for a member that may be dead to know it before the others do."""
    return integer(4 * GOSSIP_INTERVAL_MS + 1, 600_000)(value)


def name_of(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f'"{value}": allowed are 1 to 32 letters, digits, "-" and "_"')
    return value


def farm_secret(value: str) -> Secret:
    if len(value.encode()) < SECRET_BYTES_MIN:
        raise ValueError(f"too short: a farm's secret has at least {SECRET_BYTES_MIN} characters")
    return Secret(value)


def token_of(value: str) -> Secret:
    if len(value) < TOKEN_CHARACTERS_MIN or not (value.isascii() and value.isprintable()):
        raise ValueError(f"must be at least {TOKEN_CHARACTERS_MIN} printable ASCII characters")
    return Secret(value)


def store_url(value: str, directory: Path) -> str:
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


def trusted_network(value: str) -> IpNetwork:
    network = ip_network(value)
    if network.prefixlen == 0:
        raise ValueError(f'"{value}" is everybody: name the networks that may call without digest')
    return network


def ip_address(value: str) -> HostPort:
    address = HostPort.parse(value)
    if address.ip is None:
        raise ValueError(f'"{value}" is a name: write an IP address of this machine')
    return address


def nameserver_address(value: str) -> HostPort:
    address = HostPort.parse(value, DNS_PORT)
    if address.ip is None or address.port == 0:
        raise ValueError(f'"{value}": write the IP address of a name server')
    return address


def web_origin(value: str) -> str:
    """As browsers write it (RFC 6454 §6.2): without the port that its scheme has anyway."""
    found = _ORIGIN.fullmatch(value.lower())
    port = int(found["port"] or 0) if found else 0
    if not found or port > PORT_MAX:
        raise ValueError(f'"{value}": write it as browsers do, as in "https://phone.example.com"')
    origin = f"{found['scheme']}://{found['host']}"
    return origin if port in {0, _WEB_PORTS.get(found["scheme"])} else f"{origin}:{port}"


def bus_address(value: str) -> HostPort:
    address = ip_address(value)
    if address.is_unspecified:
        raise ValueError(f'"{value}": write the one address that the other members reach us by')
    return address


def advertised_address(value: str) -> HostPort:
    address = HostPort.parse(value, Transport.UDP.default_port)
    if address.is_unspecified or address.port == 0:
        raise ValueError(f'"{value}": write the address and port that phones reach the farm by')
    return address
