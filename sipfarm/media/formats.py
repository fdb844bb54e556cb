"""The formats of an RTP media description: payload types, rtpmap and fmtp (RFC 8866 §6)."""

import msgspec

from sipfarm.media.codecs import PAYLOAD_TYPE_MAX, Codec, codec_named, codec_of_payload_type
from sipfarm.media.fmtp import NoParameters, Parameters, parse_fmtp
from sipfarm.media.sdp import Media


class ReadFormat(msgspec.Struct, frozen=True):
    """A format of an m= line with what rtpmap and fmtp say of it.

    `codec` is None for an unknown one.
    """

    payload_type: int
    codec: Codec | None
    fmtp: str | None

    @property
    def parameters(self) -> Parameters:
        return NoParameters() if self.codec is None else parse_fmtp(self.codec, self.fmtp)


def read_formats(media: Media) -> tuple[ReadFormat, ...]:
    """The RTP formats of a media description (RFC 8866 §6.6, §6.15).

    Deviation: a static payload type whose rtpmap has the right name and a wrong clock is taken for
    the static codec; phones in the field write G722/16000.
    """
    rtpmaps = _by_payload_type(media, "rtpmap")
    fmtps = _by_payload_type(media, "fmtp")
    found: dict[int, ReadFormat] = {}
    for text in media.formats:
        if not (text.isascii() and text.isdigit() and len(text) <= 3):
            continue
        number = int(text)
        if number > PAYLOAD_TYPE_MAX or number in found:
            continue
        found[number] = ReadFormat(number, _codec(number, rtpmaps.get(number)), fmtps.get(number))
    return tuple(found.values())


def is_telephone_event(codec: Codec) -> bool:
    """Whether a format carries DTMF and tones instead of audio (RFC 4733)."""
    return codec.name == "telephone-event"


def _codec(number: int, rtpmap: str | None) -> Codec | None:
    static = codec_of_payload_type(number)
    if rtpmap is None:
        return static
    name, _, rest = rtpmap.partition("/")
    clock, _, channels = rest.partition("/")
    if static is not None and static.name.lower() == name.strip().lower():
        return static
    if not (clock.strip().isdecimal() and (channels.strip() or "1").isdecimal()):
        return None
    if len(clock) > 9 or len(channels) > 3:
        return None
    named = codec_named(name.strip(), int(clock), int(channels.strip() or "1"))
    if named is None and name.strip().lower() == "telephone-event":
        return Codec("telephone-event", int(clock), int(clock))
    return named


def _by_payload_type(media: Media, name: str) -> dict[int, str]:
    values: dict[int, str] = {}
    for attribute in media.attributes:
        if attribute.name != name or not attribute.value:
            continue
        number, _, value = attribute.value.partition(" ")
        if number.isascii() and number.isdigit() and len(number) <= 3:
            values.setdefault(int(number), value.strip())
    return values
