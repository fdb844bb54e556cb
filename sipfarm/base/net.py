"""Addresses and transports as values, and the way they are written."""

import ipaddress
import re
from enum import StrEnum
from typing import Self

import msgspec

PORT_MAX = 65_535

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_HOST_NAME_MAX = 253


class Transport(StrEnum):
    """What carries SIP (RFC 3261 §18, RFC 7118 for WebSocket)."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    WS = "ws"
    WSS = "wss"

    @property
    def is_stream(self) -> bool:
        return self is not Transport.UDP

    @property
    def is_secure(self) -> bool:
        return self in {Transport.TLS, Transport.WSS}

    @property
    def default_port(self) -> int:
        """The port where none is written (RFC 3261 §19.1.2, RFC 7118 §5.2)."""
        return {Transport.TLS: 5061, Transport.WS: 80, Transport.WSS: 443}.get(self, 5060)


class HostPort(msgspec.Struct, frozen=True, order=True):
    """A host and a port; an IPv6 address stands without its brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> Self:
        """Read `host:port`, `1.2.3.4:port` or `[v6]:port`; a port only misses with a default.

        Raises ValueError that says what is allowed.
        """
        host, port_text = _split(text)
        if port_text is None:
            if default_port is None:
                raise ValueError(f'"{text}" has no port: write HOST:PORT, for IPv6 [ADDRESS]:PORT')
            port = default_port
        else:
            port = parse_port(port_text)
        return cls(host, port)

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host as an address, or nothing if it is a name."""
        return parse_ip(self.host)

    @property
    def is_unspecified(self) -> bool:
        """All addresses of the machine: `0.0.0.0` or `::`."""
        ip = self.ip
        return ip is not None and ip.is_unspecified

    @property
    def bracketed_host(self) -> str:
        """The host as it stands in a URI: IPv6 in brackets (RFC 3261 §25.1)."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return f"{self.bracketed_host}:{self.port}"

    def with_port(self, port: int) -> "HostPort":
        return HostPort(self.host, port)


class Listen(msgspec.Struct, frozen=True, order=True):
    """A transport and the address it listens on: `udp:127.0.0.1:5061`."""

    transport: Transport
    address: HostPort

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `TRANSPORT:ADDRESS:PORT`; raises ValueError that says what is allowed."""
        kind, colon, rest = text.partition(":")
        if not colon or kind.lower() not in set(Transport):
            allowed = ", ".join(Transport)
            raise ValueError(
                f'"{text}" does not begin with a transport: write TRANSPORT:ADDRESS:PORT, '
                f"the transport one of {allowed}"
            )
        transport = Transport(kind.lower())
        address = HostPort.parse(rest, transport.default_port)
        if address.ip is None:
            raise ValueError(f'"{text}" listens on a name: write an IP address of this machine')
        return cls(transport, address)

    def __str__(self) -> str:
        return f"{self.transport}:{self.address}"


class PortRange(msgspec.Struct, frozen=True, order=True):
    """The ports from first to last, both included: `20000-29999`."""

    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `FIRST-LAST`; raises ValueError that says what is allowed."""
        first, dash, last = text.partition("-")
        if not dash:
            raise ValueError(f'"{text}" is no range of ports: write FIRST-LAST, as in 20000-29999')
        value = cls(parse_port(first.strip()), parse_port(last.strip()))
        if value.first < 1 or value.first >= value.last:
            raise ValueError(f'"{text}": the first port must be at least 1 and below the last')
        return value

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def share(self, index: int, count: int) -> "PortRange":
        """The index-th of count equal parts, each starting at an even port (RFC 3550 §11)."""
        pairs = ((self.last + 1) // 2 - (self.first + 1) // 2) // count
        first = (self.first + 1) // 2 * 2 + index * pairs * 2
        if not 0 <= index < count or pairs < 1:
            raise ValueError(f"{self} has no part {index} of {count}")
        return PortRange(first, first + pairs * 2 - 1)


def parse_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IP literal, IPv6 with or without brackets; a host name is nothing."""
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def parse_port(text: str) -> int:
    """A port number; 0 asks the system for a free one."""
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or int(text) > PORT_MAX:
        raise ValueError(f'"{text}" is no port: allowed are 0 to {PORT_MAX}')
    return int(text)


def _split(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        inner, bracket, rest = text[1:].partition("]")
        ip = parse_ip(inner)
        if not bracket or ip is None or ip.version != 6 or (rest and not rest.startswith(":")):
            raise ValueError(f'"{text}" is no IPv6 address in brackets: write [ADDRESS]:PORT')
        return str(ip), rest[1:] if rest else None
    host, colon, port = text.partition(":")
    if ":" in port:
        raise ValueError(f'"{text}": an IPv6 address stands in brackets: write [ADDRESS]:PORT')
    if re.fullmatch(r"[0-9.]+", host):
        if parse_ip(host) is None:
            raise ValueError(f'"{host}" is no IPv4 address')
    elif len(host) > _HOST_NAME_MAX or not _HOST_NAME.fullmatch(host):
        raise ValueError(f'"{host}" is neither an IP address nor a host name')
    return host, port if colon else None
