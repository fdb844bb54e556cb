"""Frames of the bus: what members say to each other, and how it stands on a TCP link.

    4 bytes, big endian: frame version (8 bits), length of the rest (24 bits)
    a msgpack array [kind, field, ...]

Two releases share a farm by these rules. A frame says its own version. Both sides of a link name
at its start the versions they know, and write the highest they have in common. The frames of the
handshake are of version 0 for ever. Within a version a field may be added at the end of a kind,
with a default, and a kind may be added: a reader ignores the fields, and counts and skips the
kinds, that it does not know.
"""

import struct
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from sipfarm.base.errors import PeerError, UsageError
from sipfarm.base.farm_view import Load, Standing
from sipfarm.base.limits import BUS_FRAME_BYTES_MAX
from sipfarm.base.records import EPOCH_MAX, MEMBER_NUMBER_MAX

HANDSHAKE_VERSION: Final = 0
VERSION_MIN: Final = 1
"""The oldest version that this release reads and writes."""
VERSION_MAX: Final = 1
HEADER_BYTES: Final = 4
HANDSHAKE_FRAME_BYTES_MAX: Final = 1_024
"""What is read of a peer that has not shown who it is."""
PAYLOADS_PER_FRAME_MAX: Final = 4_096
PAYLOAD_BYTES_MAX: Final = BUS_FRAME_BYTES_MAX - 64
"""One payload of packets, or the body of an event or a call, with the fields around it."""
NONCE_BYTES: Final = 32
MAC_BYTES: Final = 32
SECRETS_MAX: Final = 2
"""The farm's secret, and the one before while it is being changed."""
_SHORT: Final = 64
_LONG: Final = 512
_U63: Final = (1 << 63) - 1

Number = Annotated[int, msgspec.Meta(ge=1, le=MEMBER_NUMBER_MAX)]
Epoch = Annotated[int, msgspec.Meta(ge=1, le=EPOCH_MAX)]
Short = Annotated[str, msgspec.Meta(max_length=_SHORT)]
Long = Annotated[str, msgspec.Meta(max_length=_LONG)]
Version = Annotated[int, msgspec.Meta(ge=0, le=255)]
RequestId = Annotated[int, msgspec.Meta(ge=0, le=_U63)]


class WireError(PeerError):
    """The other side of a link sent what is no frame: the link is closed."""


class OwnState(StrEnum):
    """What a member says of itself."""

    READY = "ready"
    DRAINING = "draining"


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """What goes over a link; the tag is its kind."""


class Hello(Frame, frozen=True, tag=1):
    """The first frame of each side: who it says it is, and the challenge to the other."""

    version_min: Version
    version_max: Version
    farm: Short
    number: Number
    epoch: Epoch
    name: Short
    nonce: Annotated[bytes, msgspec.Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]


class Proof(Frame, frozen=True, tag=2):
    """The answer to the challenge, once for each secret that the sender goes by."""

    macs: Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1, max_length=SECRETS_MAX)]


class Refusal(Frame, frozen=True, tag=3):
    """Why the link is closed now. Anybody may have sent it, so it proves nothing."""

    reason: Short


class Heartbeat(Frame, frozen=True, tag=4):
    """The sender lives; its state, its load, the digest of its view, and what else it says of
    itself. (Of a release that did not say it, it has all roles.)
    """

    state: OwnState
    load: Load
    view_digest: Annotated[int, msgspec.Meta(ge=0)]
    standing: Standing = Standing()


class Packets(Frame, frozen=True, tag=5):
    """What the SIP engine of one member tells that of another; opaque here."""

    payloads: Annotated[list[bytes], msgspec.Meta(max_length=PAYLOADS_PER_FRAME_MAX)]


class Invalidate(Frame, frozen=True, tag=6):
    """What others may have cached under this key is no longer true."""

    what: Short
    key: Long


class Request(Frame, frozen=True, tag=7):
    """A call to the other member; `arguments` are the method's own."""

    id: RequestId
    method: Short
    arguments: bytes


class Reply(Frame, frozen=True, tag=8):
    """The result of a call."""

    id: RequestId
    result: bytes


class Failure(Frame, frozen=True, tag=9):
    """A call that was refused; `status` as SIP would say it."""

    id: RequestId
    status: Annotated[int, msgspec.Meta(ge=100, le=699)]
    reason: Long


class Event(Frame, frozen=True, tag=10):
    """Something that others may want to know; no answer."""

    name: Short
    body: bytes


class Unknown(msgspec.Struct, frozen=True):
    """A kind that this release does not know: to be counted and passed over."""

    kind: int


Handshaking = Hello | Proof | Refusal
Received = (
    Handshaking | Heartbeat | Packets | Invalidate | Request | Reply | Failure | Event | Unknown
)

_HANDSHAKE: Final[dict[int, msgspec.msgpack.Decoder[Handshaking]]] = {
    1: msgspec.msgpack.Decoder(Hello),
    2: msgspec.msgpack.Decoder(Proof),
    3: msgspec.msgpack.Decoder(Refusal),
}
_KINDS: Final[dict[int, msgspec.msgpack.Decoder[Received]]] = {
    4: msgspec.msgpack.Decoder(Heartbeat),
    5: msgspec.msgpack.Decoder(Packets),
    6: msgspec.msgpack.Decoder(Invalidate),
    7: msgspec.msgpack.Decoder(Request),
    8: msgspec.msgpack.Decoder(Reply),
    9: msgspec.msgpack.Decoder(Failure),
    10: msgspec.msgpack.Decoder(Event),
}
_HEADER: Final = struct.Struct(">I")
_LENGTH_MASK: Final = (1 << 24) - 1
_ARRAY_FIRST, _ARRAY_LAST = 0x91, 0x9F  # msgpack fixarray of at least one item
_KIND_LAST: Final = 0x7F  # msgpack positive fixint
_ENCODER: Final = msgspec.msgpack.Encoder()

assert BUS_FRAME_BYTES_MAX <= _LENGTH_MASK


def append(frame: Frame, buffer: bytearray, version: int) -> None:
    """Write a frame at the end of a buffer; UsageError if it is too large for a link."""
    start = len(buffer)
    buffer += bytes(HEADER_BYTES)
    _ENCODER.encode_into(frame, buffer, start + HEADER_BYTES)
    length = len(buffer) - start - HEADER_BYTES
    if length > BUS_FRAME_BYTES_MAX:
        del buffer[start:]
        raise UsageError(f"a frame of {length} bytes, more than {BUS_FRAME_BYTES_MAX}")
    _HEADER.pack_into(buffer, start, version << 24 | length)


def encode(frame: Frame, version: int) -> bytes:
    """One frame as bytes; UsageError if it is too large for a link."""
    buffer = bytearray()
    append(frame, buffer, version)
    return bytes(buffer)


def decode(body: bytes | bytearray, version: int) -> Received:
    """Read what follows the header; raises WireError."""
    if len(body) < 2 or not _ARRAY_FIRST <= body[0] <= _ARRAY_LAST or body[1] > _KIND_LAST:
        raise WireError("not an array that begins with a kind")
    kind = body[1]
    decoder = _HANDSHAKE.get(kind) if version == HANDSHAKE_VERSION else _KINDS.get(kind)
    if decoder is None:
        return Unknown(kind)
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError) as error:  # msgspec's own are ValueErrors
        raise WireError(f"kind {kind}: {error}"[:200]) from None


def common_version(ours: tuple[int, int], theirs: tuple[int, int]) -> int | None:
    """The highest frame version that both sides know, given what each has from and to."""
    highest = min(ours[1], theirs[1])
    return highest if highest >= max(ours[0], theirs[0]) else None


class FrameReader:
    """Cuts the bytes of one link into frames: `push` what came, then `pop` until None.

    `frame_bytes_max` may be changed between two frames. After a WireError the link is good for
    nothing.
    """

    def __init__(self, frame_bytes_max: int = BUS_FRAME_BYTES_MAX) -> None:
        self.frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()
        self._at = 0

    def push(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._buffer += data

    def pop(self) -> Received | None:
        """The next frame, or None until more bytes have come; raises WireError."""
        buffer, at = self._buffer, self._at
        body_at = at + HEADER_BYTES
        if len(buffer) < body_at:
            self._compact()
            return None
        (header,) = _HEADER.unpack_from(buffer, at)
        version, length = header >> 24, header & _LENGTH_MASK
        if version != HANDSHAKE_VERSION and not VERSION_MIN <= version <= VERSION_MAX:
            raise WireError(f"frame version {version}")
        if length > self.frame_bytes_max:
            raise WireError(f"a frame of {length} bytes, more than {self.frame_bytes_max}")
        if len(buffer) < body_at + length:
            self._compact()
            return None
        self._at = body_at + length
        return decode(buffer[body_at : self._at], version)

    def _compact(self) -> None:
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
