"""Session descriptions as values (RFC 8866).

Parsing is tolerant where phones in the field are loose (line ends, missing s= or t=, unknown lines)
and strict where a guess could send media to the wrong place (c= and m= lines). `format_sdp` writes
the canonical order.
"""

from enum import IntFlag
from itertools import pairwise
from typing import Final

import msgspec

from sipfarm.base.errors import PeerError

SDP_BYTES_MAX: Final = 65_535
LINES_MAX: Final = 2_000
MEDIA_MAX: Final = 32
FORMATS_MAX: Final = 128
PORT_MAX: Final = 65_535


class SdpError(PeerError):
    """A session description that cannot be read (400) or met (488)."""


class Direction(IntFlag):
    """Which way media flows, seen from the one who wrote it (RFC 8866 §6.7)."""

    INACTIVE = 0
    RECVONLY = 1
    SENDONLY = 2
    SENDRECV = 3

    @property
    def attribute(self) -> str:
        return _DIRECTION_NAMES[int(self)]

    @property
    def mirrored(self) -> "Direction":
        """The same flow seen from the other end."""
        return Direction((int(self) & 1) << 1 | int(self) >> 1)


_DIRECTION_NAMES: Final = ("inactive", "recvonly", "sendonly", "sendrecv")


class Attribute(msgspec.Struct, frozen=True):
    """An a= line; a property attribute has no value (RFC 8866 §5.13)."""

    name: str
    value: str | None = None


class Origin(msgspec.Struct, frozen=True):
    """The o= line (RFC 8866 §5.2). The numbers may exceed 64 bits.

    So they are kept as Python integers.
    """

    username: str
    session_id: int
    session_version: int
    address_type: str
    address: str


class Connection(msgspec.Struct, frozen=True):
    """The c= line (RFC 8866 §5.7)."""

    address_type: str
    address: str

    @property
    def is_unspecified(self) -> bool:
        """Whether this is how older phones hold (RFC 3264 §8.4, RFC 6157 §5)."""
        return self.address in {"0.0.0.0", "::", "::0"} or self.address.endswith(".invalid")


class Media(msgspec.Struct, frozen=True):
    """A media description: an m= line and what stands under it (RFC 8866 §5.14)."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    port_count: int = 1
    title: str | None = None
    connection: Connection | None = None
    bandwidths: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()

    @property
    def is_refused(self) -> bool:
        return self.port == 0


class SessionDescription(msgspec.Struct, frozen=True):
    """A whole session description (RFC 8866 §5)."""

    origin: Origin
    name: str = "-"
    information: str | None = None
    connection: Connection | None = None
    bandwidths: tuple[str, ...] = ()
    timing: tuple[str, ...] = ("t=0 0",)  # t=, r= and z= lines as they came
    attributes: tuple[Attribute, ...] = ()
    media: tuple[Media, ...] = ()


def attribute_of(attributes: tuple[Attribute, ...], name: str) -> str | None:
    """The first value of an attribute; "" for a property attribute, None where it is absent."""
    for attribute in attributes:
        if attribute.name == name:
            return attribute.value or ""
    return None


def direction_of(description: SessionDescription, media: Media) -> Direction:
    """The direction of a media description: its own, else the session's, else sendrecv.

    RFC 8866 §6.7.
    """
    for attributes in (media.attributes, description.attributes):
        for attribute in attributes:
            if attribute.name in _DIRECTION_NAMES:
                return Direction(_DIRECTION_NAMES.index(attribute.name))
    return Direction.SENDRECV


def parse_sdp(body: bytes) -> SessionDescription:
    """Read a session description, or say what is wrong with it."""
    if len(body) > SDP_BYTES_MAX:
        raise SdpError("session description too long", status=488)
    text = body.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
    lines = [line for line in text.strip("\n\0 ").split("\n") if line]
    if len(lines) > LINES_MAX:
        raise SdpError("too many lines", status=488)
    if not lines or lines[0].rstrip() != "v=0":
        raise SdpError("session description does not begin with v=0")
    starts = [index for index, line in enumerate(lines) if line.startswith("m=")]
    if len(starts) > MEDIA_MAX:
        raise SdpError("too many media descriptions", status=488)
    bounds = [*starts, len(lines)]
    media = tuple(_media(lines[start:end]) for start, end in pairwise(bounds))
    description = _session(lines[1 : bounds[0]], media)
    if any(m.connection is None and m.port for m in media) and description.connection is None:
        raise SdpError("a media description has no c= line")
    return description


def format_sdp(description: SessionDescription) -> bytes:
    """Write a session description in the order of RFC 8866 §5."""
    origin = description.origin
    lines = [
        "v=0",
        f"o={origin.username} {origin.session_id} {origin.session_version}"
        f" IN {origin.address_type} {origin.address}",
        f"s={description.name}",
    ]
    if description.information is not None:
        lines.append(f"i={description.information}")
    lines += _connection_lines(description.connection)
    lines += (f"b={value}" for value in description.bandwidths)
    lines += description.timing
    lines += _attribute_lines(description.attributes)
    for media in description.media:
        lines += _media_lines(media)
    return ("\r\n".join(lines) + "\r\n").encode("utf-8", "surrogateescape")


def _session(lines: list[str], media: tuple[Media, ...]) -> SessionDescription:
    origin: Origin | None = None
    connection: Connection | None = None
    name = "-"
    information: str | None = None
    bandwidths: list[str] = []
    timing: list[str] = []
    attributes: list[Attribute] = []
    for line in lines:
        value = line[2:].strip()
        match line[:2]:
            case "o=":
                origin = _origin(value)
            case "s=":
                name = value or "-"
            case "i=":
                information = value
            case "c=":
                connection = _connection(value)
            case "b=":
                bandwidths.append(value)
            case "t=" | "r=" | "z=":
                timing.append(line.strip())
            case "a=":
                attributes.append(_attribute(value))
            case _:
                continue  # u=, e=, p=, k= and what RFC 8866 §5 does not know have no use here
    if origin is None:
        raise SdpError("no o= line")
    return SessionDescription(
        origin=origin,
        name=name,
        information=information,
        connection=connection,
        bandwidths=tuple(bandwidths),
        timing=tuple(timing) or ("t=0 0",),
        attributes=tuple(attributes),
        media=media,
    )


def _media(lines: list[str]) -> Media:
    fields = lines[0][2:].split()
    if len(fields) < 4:
        raise SdpError("m= line with fewer than four fields")
    if len(fields) > 3 + FORMATS_MAX:
        raise SdpError("too many formats", status=488)
    kind, port, protocol, *formats = fields
    port, _, port_count = port.partition("/")
    connection: Connection | None = None
    title: str | None = None
    bandwidths: list[str] = []
    attributes: list[Attribute] = []
    for line in lines[1:]:
        value = line[2:].strip()
        match line[:2]:
            case "c=" if connection is None:
                connection = _connection(value)
            case "i=":
                title = value
            case "b=":
                bandwidths.append(value)
            case "a=":
                attributes.append(_attribute(value))
            case _:
                continue
    return Media(
        kind=kind,
        port=_number(port, PORT_MAX, "port"),
        protocol=protocol,
        formats=tuple(formats),
        port_count=_number(port_count, PORT_MAX, "port count") if port_count else 1,
        title=title,
        connection=connection,
        bandwidths=tuple(bandwidths),
        attributes=tuple(attributes),
    )


def _media_lines(media: Media) -> list[str]:
    port = f"{media.port}/{media.port_count}" if media.port_count != 1 else f"{media.port}"
    lines = [f"m={media.kind} {port} {media.protocol} {' '.join(media.formats)}"]
    if media.title is not None:
        lines.append(f"i={media.title}")
    lines += _connection_lines(media.connection)
    lines += (f"b={value}" for value in media.bandwidths)
    return lines + _attribute_lines(media.attributes)


def _connection_lines(connection: Connection | None) -> list[str]:
    if connection is None:
        return []
    return [f"c=IN {connection.address_type} {connection.address}"]


def _attribute_lines(attributes: tuple[Attribute, ...]) -> list[str]:
    return [
        f"a={attribute.name}"
        if attribute.value is None
        else f"a={attribute.name}:{attribute.value}"
        for attribute in attributes
    ]


def _attribute(text: str) -> Attribute:
    name, colon, value = text.partition(":")
    return Attribute(name.strip(), value.strip() if colon else None)


def _origin(text: str) -> Origin:
    fields = text.split()
    if len(fields) != 6 or fields[3] != "IN":
        raise SdpError("o= line is malformed")
    username, session_id, version, _, address_type, address = fields
    return Origin(
        username,
        _number(session_id, None, "session id"),
        _number(version, None, "session version"),
        address_type,
        address,
    )


def _connection(text: str) -> Connection:
    fields = text.split()
    if len(fields) != 3 or fields[0] != "IN" or fields[1] not in {"IP4", "IP6"}:
        raise SdpError("c= line is malformed")
    return Connection(fields[1], fields[2].partition("/")[0])


def _number(text: str, largest: int | None, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 40):
        raise SdpError(f"{what} is no number")
    number = int(text)
    if largest is not None and number > largest:
        raise SdpError(f"{what} is out of range")
    return number
