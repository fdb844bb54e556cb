"""What the media plane is asked for, as values: the outcome of offer and answer."""

from typing import Literal

import msgspec

from sipfarm.media.codecs import Codec
from sipfarm.media.sdp import Direction
from sipfarm.media.securing import Security

MediaKind = Literal["echo"]


class LocalMedia(msgspec.Struct, frozen=True):
    """Our end of a stream: the address that SDP shows and a pair of ports taken from the pool."""

    address: str
    rtp_port: int
    rtcp_port: int


class Endpoint(msgspec.Struct, frozen=True):
    """Where the peer takes packets; the address may be a host name."""

    address: str
    port: int


class Format(msgspec.Struct, frozen=True):
    """A codec of a stream. The numbers differ where the answer gave its own (RFC 3264 §5.1)."""

    codec: Codec
    receive_payload_type: int
    send_payload_type: int


class Stream(msgspec.Struct, frozen=True):
    """One negotiated audio stream.

    Seen from us. Without endpoints the peer takes no packets (it holds).
    """

    local: LocalMedia
    rtp: Endpoint | None
    rtcp: Endpoint | None
    rtcp_mux: bool
    direction: Direction
    formats: tuple[Format, ...]
    ptime_ms: int
    security: Security | None = None
    """None: plain RTP."""

    @property
    def is_sending(self) -> bool:
        return bool(self.direction & Direction.SENDONLY) and self.rtp is not None

    @property
    def is_receiving(self) -> bool:
        return bool(self.direction & Direction.RECVONLY)


class OpenMedia(msgspec.Struct, frozen=True):
    """Begin a stream; comes once for a call, before the message that lets packets in."""

    kind: MediaKind
    stream: Stream


class UpdateMedia(msgspec.Struct, frozen=True):
    """The stream is now this one: new endpoints, payload types or direction."""

    stream: Stream


class CloseMedia(msgspec.Struct, frozen=True):
    """The ports go back, whether or not a stream was opened on them.

    Comes once for a call, at its end.
    """

    local: LocalMedia


MediaCommand = OpenMedia | UpdateMedia | CloseMedia
