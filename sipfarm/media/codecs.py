"""Facts about codecs: names, clocks and payload types.

RFC 3551 §6 tables 4 and 5, RFC 4733, RFC 4867, RFC 5574, RFC 7587.
"""

from typing import Final

import msgspec


class Codec(msgspec.Struct, frozen=True):
    """One encoding of the audio registry.

    `clock_rate_hz` is what RTP timestamps and rtpmap count; `sample_rate_hz` is what is heard. They
    differ for G.722 (RFC 3551 §4.5.2). Opus always says 48000/2, whatever it carries (RFC 7587 §7).
    """

    name: str
    clock_rate_hz: int
    sample_rate_hz: int
    channels: int = 1
    payload_type: int | None = None  # static (RFC 3551 §6); None: dynamic
    ptime_ms: int = 20
    frame_ms: int = 1  # packets hold a whole number of these

    @property
    def is_hd(self) -> bool:
        """Whether more than telephone band is heard."""
        return self.sample_rate_hz >= 16_000

    @property
    def rtpmap(self) -> str:
        """The value of an rtpmap attribute after the payload type (RFC 8866 §6.6)."""
        channels = f"/{self.channels}" if self.channels > 1 else ""
        return f"{self.name}/{self.clock_rate_hz}{channels}"

    def is_named(self, name: str, clock_rate_hz: int, channels: int) -> bool:
        """Whether an rtpmap names this codec; names compare without case (RFC 4855 §3)."""
        return (
            self.name.lower() == name.lower()
            and self.clock_rate_hz == clock_rate_hz
            and self.channels == channels
        )


OPUS: Final = Codec("opus", 48_000, 48_000, channels=2, frame_ms=10)
G722: Final = Codec("G722", 8_000, 16_000, payload_type=9)
PCMU: Final = Codec("PCMU", 8_000, 8_000, payload_type=0)
PCMA: Final = Codec("PCMA", 8_000, 8_000, payload_type=8)
G726_32: Final = Codec("G726-32", 8_000, 8_000)
GSM: Final = Codec("GSM", 8_000, 8_000, payload_type=3, frame_ms=20)
G729: Final = Codec("G729", 8_000, 8_000, payload_type=18, frame_ms=10)
AMR: Final = Codec("AMR", 8_000, 8_000, frame_ms=20)
AMR_WB: Final = Codec("AMR-WB", 16_000, 16_000, frame_ms=20)
SPEEX: Final = Codec("speex", 8_000, 8_000, frame_ms=20)
SPEEX_16K: Final = Codec("speex", 16_000, 16_000, frame_ms=20)
SPEEX_32K: Final = Codec("speex", 32_000, 32_000, frame_ms=20)
L16_8K: Final = Codec("L16", 8_000, 8_000)
L16_16K: Final = Codec("L16", 16_000, 16_000)
L16_48K: Final = Codec("L16", 48_000, 48_000)
TELEPHONE_EVENT: Final = Codec("telephone-event", 8_000, 8_000)
TELEPHONE_EVENT_16K: Final = Codec("telephone-event", 16_000, 16_000)
TELEPHONE_EVENT_48K: Final = Codec("telephone-event", 48_000, 48_000)

CODECS: Final = (
    OPUS,
    G722,
    PCMU,
    PCMA,
    G726_32,
    GSM,
    Codec("G723", 8_000, 8_000, payload_type=4, ptime_ms=30, frame_ms=30),
    Codec("DVI4", 8_000, 8_000, payload_type=5),
    Codec("DVI4", 16_000, 16_000, payload_type=6),
    Codec("LPC", 8_000, 8_000, payload_type=7),
    Codec("L16", 44_100, 44_100, channels=2, payload_type=10, frame_ms=10),
    Codec("L16", 44_100, 44_100, payload_type=11, frame_ms=10),
    L16_8K,
    L16_16K,
    L16_48K,
    Codec("L16", 8_000, 8_000, channels=2),
    Codec("L16", 16_000, 16_000, channels=2),
    Codec("L16", 48_000, 48_000, channels=2),
    Codec("QCELP", 8_000, 8_000, payload_type=12),
    Codec("CN", 8_000, 8_000, payload_type=13),
    Codec("MPA", 90_000, 90_000, payload_type=14),
    Codec("G728", 8_000, 8_000, payload_type=15),
    Codec("DVI4", 11_025, 11_025, payload_type=16),
    Codec("DVI4", 22_050, 22_050, payload_type=17),
    G729,
    AMR,
    AMR_WB,
    Codec("iLBC", 8_000, 8_000, ptime_ms=30, frame_ms=30),
    SPEEX,
    SPEEX_16K,
    SPEEX_32K,
    Codec("CN", 16_000, 16_000),
    TELEPHONE_EVENT,
    TELEPHONE_EVENT_16K,
    TELEPHONE_EVENT_48K,
)

DYNAMIC_PAYLOAD_TYPES: Final = range(96, 128)
PAYLOAD_TYPE_MAX: Final = 127


def codec_named(name: str, clock_rate_hz: int, channels: int = 1) -> Codec | None:
    """The codec an rtpmap names, if the table has it."""
    return next((codec for codec in CODECS if codec.is_named(name, clock_rate_hz, channels)), None)


def codec_of_payload_type(payload_type: int) -> Codec | None:
    """The codec of a static payload type, which needs no rtpmap (RFC 3551 §6)."""
    return next((codec for codec in CODECS if codec.payload_type == payload_type), None)
