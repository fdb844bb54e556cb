"""Offer and answer (RFC 3264) for a party with one audio stream; all other media is refused.

All three functions are pure: what was agreed before comes in as `previous`, our last session
description.
"""

from ipaddress import ip_address
from typing import Final

import msgspec

from sipfarm.media import securing
from sipfarm.media.codecs import DYNAMIC_PAYLOAD_TYPES, G722, OPUS, PCMA, PCMU, Codec
from sipfarm.media.formats import ReadFormat, is_telephone_event, read_formats
from sipfarm.media.plan import Endpoint, Format, LocalMedia, Stream
from sipfarm.media.sdp import (
    PORT_MAX,
    Attribute,
    Connection,
    Direction,
    Media,
    Origin,
    SdpError,
    SessionDescription,
    attribute_of,
    direction_of,
)
from sipfarm.media.securing import Security, Terms

PROTOCOLS: Final = frozenset({"RTP/AVP", "RTP/AVPF"})
PTIME_MS_MAX: Final = 200
TELEPHONE_EVENT_PAYLOAD_TYPE: Final = 101
TELEPHONE_EVENTS: Final = "0-15"  # RFC 4733 §3.2


class Capabilities(msgspec.Struct, frozen=True):
    """What a party can do. `reflects`.

    It sends back what it receives, so the peer's fmtp is also its own.
    """

    codecs: tuple[Codec, ...] = (OPUS, G722, PCMU, PCMA)
    telephone_event: bool = True
    rtcp_mux: bool = True
    reflects: bool = False


class Party(msgspec.Struct, frozen=True):
    """Our side of an offer/answer exchange; `session_id` stays the same for the whole session."""

    media: LocalMedia
    session_id: int
    capabilities: Capabilities = Capabilities()
    srtp: Terms = Terms()


class Negotiated(msgspec.Struct, frozen=True):
    """What we say and what it means; no stream where neither side has audio to exchange."""

    description: SessionDescription
    stream: Stream | None


def answer(
    offer: SessionDescription,
    party: Party,
    previous: SessionDescription | None = None,
    willing: Direction = Direction.SENDRECV,
    standing: Security | None = None,
) -> Negotiated:
    """Answer an offer (RFC 3264 §6): its first audio that we can do, with the first codec we know.

    Only what was offered is answered. When the offer has live media and none of it can be done, the
    answer is 488. `standing` is how the stream is protected so far.
    """
    stream: Stream | None = None
    version = previous.origin.session_version + 1 if previous else 1
    secured_as = (version, standing)
    lines: list[Media] = []
    for media in offer.media:
        agreed = None if stream else _answer_media(offer, media, party, willing, secured_as)
        lines.append(agreed[0] if agreed else _refused(media))
        stream = agreed[1] if agreed else stream
    if stream is None and any(not media.is_refused for media in offer.media):
        raise SdpError("no media that can be done was offered", status=488)
    description = _described(party, tuple(lines), previous, offer.timing)
    return Negotiated(description, stream)


def offer(
    party: Party,
    previous: SessionDescription | None = None,
    willing: Direction = Direction.SENDRECV,
) -> SessionDescription:
    """Make an offer (RFC 3264 §5, §8).

    A later one keeps media descriptions and payload types as they are.
    """
    if previous is None:
        return _described(party, (_new_media(party, willing, 1),), None)
    version = previous.origin.session_version + 1
    live = [index for index, media in enumerate(previous.media) if not media.is_refused]
    lines = list(previous.media)
    if live:
        lines[live[0]] = _redirected(lines[live[0]], party.media.rtp_port, willing)
        return _described(party, tuple(lines), previous)
    free = [index for index, media in enumerate(lines) if media.kind == "audio"]
    if free:
        lines[free[0]] = _new_media(party, willing, version)
    else:
        lines.append(_new_media(party, willing, version))
    return _described(party, tuple(lines), previous)


def complete(
    offered: SessionDescription,
    answered: SessionDescription,
    party: Party,
    standing: Security | None = None,
) -> Negotiated:
    """What our offer became by the peer's answer (RFC 3264 §7)."""
    if len(offered.media) != len(answered.media):
        raise SdpError("the answer has not as many media descriptions as the offer", status=488)
    stream: Stream | None = None
    for ours, theirs in zip(offered.media, answered.media, strict=True):
        if ours.is_refused or theirs.is_refused:
            continue
        if ours.kind != theirs.kind or ours.protocol != theirs.protocol:
            raise SdpError("the answer changes a media description", status=488)
        stream = _completed_stream(offered, ours, answered, theirs, party, standing)
    return Negotiated(offered, stream)


def _answer_media(
    offer: SessionDescription,
    media: Media,
    party: Party,
    willing: Direction,
    secured_as: tuple[int, Security | None],
) -> tuple[Media, Stream] | None:
    connection = media.connection or offer.connection
    if media.is_refused or media.kind != "audio":
        return None
    if connection is None or not _is_reachable(connection, party.media):
        return None
    chosen = _chosen(read_formats(media), party.capabilities)
    secured = securing.answer_to(media, party.srtp, *secured_as)
    if not chosen or secured is None:
        return None
    offered = direction_of(offer, media)
    if connection.is_unspecified:
        offered &= Direction.SENDONLY
    direction = offered.mirrored & willing
    mux = party.capabilities.rtcp_mux and attribute_of(media.attributes, "rtcp-mux") is not None
    ptime = attribute_of(media.attributes, "ptime")
    attributes = [Attribute("rtpmap", f"{f.payload_type} {_rtpmap(f)}") for f in chosen]
    attributes += _fmtps(chosen, party.capabilities)
    if _ptime_ms(ptime) is not None:
        attributes.append(Attribute("ptime", ptime))
    attributes += _transport_attributes(party.media, mux=mux)
    attributes += secured.attributes
    attributes.append(Attribute(direction.attribute))
    ours = Media(
        kind=media.kind,
        port=party.media.rtp_port,
        protocol=media.protocol,
        formats=tuple(str(f.payload_type) for f in chosen),
        attributes=tuple(attributes),
    )
    formats = tuple(
        Format(f.codec, f.payload_type, f.payload_type) for f in chosen if f.codec is not None
    )
    stream = _stream(connection, media, party.media, direction, formats, mux=mux)
    return ours, msgspec.structs.replace(stream, security=secured.security)


def _completed_stream(
    offered: SessionDescription,
    ours: Media,
    answered: SessionDescription,
    theirs: Media,
    party: Party,
    standing: Security | None,
) -> Stream:
    connection = theirs.connection or answered.connection
    if connection is None or not _is_reachable(connection, party.media):
        raise SdpError("the answer names an address that cannot be used", status=488)
    receive = {f.codec: f.payload_type for f in read_formats(ours) if f.codec is not None}
    formats = tuple(
        Format(f.codec, receive[f.codec], f.payload_type)
        for f in read_formats(theirs)
        if f.codec is not None and f.codec in receive
    )
    if all(is_telephone_event(f.codec) for f in formats):
        raise SdpError("the answer has no codec of the offer", status=488)
    direction = direction_of(offered, ours) & direction_of(answered, theirs).mirrored
    if connection.is_unspecified:
        direction &= Direction.RECVONLY
    mux = all(attribute_of(m.attributes, "rtcp-mux") is not None for m in (ours, theirs))
    security = securing.completed(ours, theirs, party.srtp, standing)
    stream = _stream(connection, theirs, party.media, direction, formats, mux=mux)
    return msgspec.structs.replace(stream, security=security)


def _chosen(formats: tuple[ReadFormat, ...], capabilities: Capabilities) -> list[ReadFormat]:
    """The peer's first codec that we have too, and its telephone events.

    Deviation: where no telephone-event has the codec's clock (RFC 4733 §2.1) the first one is
    taken; phones offer Opus with telephone-event/8000 alone.
    """
    codec = next((f for f in formats if f.codec in capabilities.codecs), None)
    if codec is None or codec.codec is None:
        return []
    clock_rate_hz = codec.codec.clock_rate_hz
    events = [f for f in formats if f.codec is not None and is_telephone_event(f.codec)]
    events.sort(key=lambda f: f.codec is not None and f.codec.clock_rate_hz != clock_rate_hz)
    return [codec, *events[:1]] if capabilities.telephone_event else [codec]


def _new_media(party: Party, willing: Direction, version: int) -> Media:
    capabilities = party.capabilities
    codecs = list(capabilities.codecs)
    if capabilities.telephone_event:
        clocks = dict.fromkeys(codec.clock_rate_hz for codec in codecs)
        codecs += (Codec("telephone-event", clock, clock) for clock in sorted(clocks))
    numbers = _payload_types(codecs)
    attributes = [
        Attribute("rtpmap", f"{n} {codec.rtpmap}") for n, codec in zip(numbers, codecs, strict=True)
    ]
    attributes += (
        Attribute("fmtp", f"{n} {TELEPHONE_EVENTS}")
        for n, codec in zip(numbers, codecs, strict=True)
        if is_telephone_event(codec)
    )
    attributes += _transport_attributes(party.media, mux=capabilities.rtcp_mux)
    profile, keys = securing.offered_by(party.srtp, version)
    attributes += keys
    attributes.append(Attribute(willing.attribute))
    return Media(
        kind="audio",
        port=party.media.rtp_port,
        protocol=profile,
        formats=tuple(map(str, numbers)),
        attributes=tuple(attributes),
    )


def _payload_types(codecs: list[Codec]) -> list[int]:
    """Static numbers where there are, 101 for the first telephone-event.

    Then the free dynamic ones.
    """
    first_event = next((codec for codec in codecs if is_telephone_event(codec)), None)
    free = (n for n in DYNAMIC_PAYLOAD_TYPES if n != TELEPHONE_EVENT_PAYLOAD_TYPE)
    numbers: list[int] = []
    for codec in codecs:
        if codec is first_event:
            numbers.append(TELEPHONE_EVENT_PAYLOAD_TYPE)
        else:
            numbers.append(next(free) if codec.payload_type is None else codec.payload_type)
    return numbers


def _described(
    party: Party,
    lines: tuple[Media, ...],
    previous: SessionDescription | None,
    timing: tuple[str, ...] | None = None,
) -> SessionDescription:
    """Our session description; its version rises by one exactly when it changes (RFC 3264 §8)."""
    address = party.media.address
    family = "IP6" if ":" in address else "IP4"
    origin = previous.origin if previous else Origin("-", party.session_id, 1, family, address)
    description = SessionDescription(
        origin=origin,
        connection=Connection(family, address),
        timing=timing or (previous.timing if previous else ("t=0 0",)),
        media=lines,
    )
    if previous is None or description == previous:
        return description
    changed = msgspec.structs.replace(origin, session_version=origin.session_version + 1)
    return msgspec.structs.replace(description, origin=changed)


def _refused(media: Media) -> Media:
    return Media(media.kind, 0, media.protocol, media.formats)


def _redirected(media: Media, port: int, direction: Direction) -> Media:
    names = {d.attribute for d in (Direction(value) for value in range(4))}
    kept = tuple(a for a in media.attributes if a.name not in names)
    attributes = (*kept, Attribute(direction.attribute))
    return msgspec.structs.replace(media, port=port, attributes=attributes)


def _stream(
    connection: Connection,
    theirs: Media,
    local: LocalMedia,
    direction: Direction,
    formats: tuple[Format, ...],
    *,
    mux: bool,
) -> Stream:
    held = connection.is_unspecified
    rtp = None if held else Endpoint(connection.address, theirs.port)
    rtcp = rtp if mux or rtp is None else _rtcp_endpoint(theirs, rtp)
    ptime_ms = _ptime_ms(attribute_of(theirs.attributes, "ptime")) or formats[0].codec.ptime_ms
    return Stream(local, rtp, rtcp, mux, direction, formats, ptime_ms)


def _rtcp_endpoint(media: Media, rtp: Endpoint) -> Endpoint | None:
    """Where RTCP goes: a=rtcp (RFC 3605), else the next port (RFC 3550 §11)."""
    fields = (attribute_of(media.attributes, "rtcp") or "").split()
    if fields and fields[0].isascii() and fields[0].isdigit() and len(fields[0]) <= 5:
        port = int(fields[0])
        if 0 < port <= PORT_MAX:
            return Endpoint(fields[3] if len(fields) == 4 else rtp.address, port)
    return Endpoint(rtp.address, rtp.port + 1) if rtp.port < PORT_MAX else None


def _is_reachable(connection: Connection, local: LocalMedia) -> bool:
    """Whether media may go there: held, or a unicast address of our own family."""
    if connection.is_unspecified:
        return True
    if (connection.address_type == "IP6") != (":" in local.address):
        return False
    try:
        return not ip_address(connection.address).is_multicast
    except ValueError:
        return True  # a host name (RFC 8866 §5.7)


def _rtpmap(read: ReadFormat) -> str:
    return read.codec.rtpmap if read.codec is not None else ""


def _fmtps(chosen: list[ReadFormat], capabilities: Capabilities) -> list[Attribute]:
    found: list[Attribute] = []
    for read in chosen:
        if read.codec is not None and is_telephone_event(read.codec):
            found.append(Attribute("fmtp", f"{read.payload_type} {read.fmtp or TELEPHONE_EVENTS}"))
        elif read.fmtp and capabilities.reflects:
            found.append(Attribute("fmtp", f"{read.payload_type} {read.fmtp}"))
    return found


def _transport_attributes(local: LocalMedia, *, mux: bool) -> list[Attribute]:
    attributes: list[Attribute] = []
    if local.rtcp_port != local.rtp_port + 1:
        attributes.append(Attribute("rtcp", str(local.rtcp_port)))
    if mux:
        attributes.append(Attribute("rtcp-mux"))
    return attributes


def _ptime_ms(text: str | None) -> int | None:
    if not text or not text.isascii() or not text.isdigit() or len(text) > 3:
        return None
    return int(text) if 0 < int(text) <= PTIME_MS_MAX else None
