"""What is said to a softphone process and what it says: one JSON object a line.

The values are shared by the process that owns pjsua2 and by those who drive it. A command names
itself by `do`, an event by `event`.
"""

from typing import Final, Self

import msgspec

LINE_BYTES_MAX: Final = 65_536
CALLS_MAX: Final = 32
CODECS: Final = ("G722", "PCMU", "PCMA", "speex", "iLBC", "GSM")
CODECS_OFFERED: Final = ("G722", "PCMU", "PCMA")
TRANSPORTS: Final = ("udp", "tcp", "tls")
SRTP_USES: Final = ("off", "optional", "mandatory")


class PhoneSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who the phone is and how it reaches its server."""

    aor: str
    password: str = ""
    auth_user: str = ""
    """The digest user name; empty: the user part of the AOR."""
    server: str = ""
    """`host:port` of the outbound proxy and registrar; empty: calls go straight to their URI."""
    transport: str = "udp"
    bind: str = ""
    """The local address; empty: loopback when the server is on it, else every address."""
    port: int = 0
    codecs: tuple[str, ...] = CODECS_OFFERED
    """What is offered, best first."""
    expires_s: int = 300
    srtp: str = "off"
    """SRTP by SDES: `off`, `optional` (RTP/AVP with keys, or without) or `mandatory`."""
    srtp_suites: tuple[str, ...] = ()
    """Crypto-suites that are offered; empty: all that the phone has."""
    ca_file: str = ""
    """Where given, the certificate of a TLS server is verified against it."""
    log_file: str = ""
    """Where pjsua2 writes its own log, SIP messages included; empty: nowhere."""


class Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="do", tag=str.lower):
    """What a softphone process is asked to do."""


class Open(Command, frozen=True, kw_only=True):
    """Start the phone; the first command, once."""

    settings: PhoneSettings


class Register(Command, frozen=True, kw_only=True):
    """Register at the server, or with `expires_s` 0 remove the registration."""

    expires_s: int = 300


class Call(Command, frozen=True, kw_only=True):
    """Call a URI; `call` is the number by which the new call is known in this process."""

    call: int
    to: str
    play: str = ""
    record: str = ""
    loop: bool = False


class Answer(Command, frozen=True, kw_only=True):
    """Answer an incoming call, with 200 or any other final or provisional status."""

    call: int
    status: int = 200
    play: str = ""
    record: str = ""
    loop: bool = False


class Hangup(Command, frozen=True, kw_only=True):
    """End a call: BYE, CANCEL or a refusal with `status` (0: 603), as its state asks for."""

    call: int
    status: int = 0


class Hold(Command, frozen=True, kw_only=True):
    """Put the far end on hold by a re-INVITE (RFC 3264 §8.4)."""

    call: int


class Resume(Command, frozen=True, kw_only=True):
    """Take the far end off hold."""

    call: int


class Dtmf(Command, frozen=True, kw_only=True):
    """Send digits as telephone-events (RFC 4733)."""

    call: int
    digits: str


class Report(Command, frozen=True, kw_only=True):
    """Ask for the counters of a call, running or ended."""

    call: int


class Quit(Command, frozen=True, kw_only=True):
    """Unregister, end all calls, stop."""


AnyCommand = Open | Register | Call | Answer | Hangup | Hold | Resume | Dtmf | Report | Quit


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=str.lower):
    """What a softphone process tells."""


class Opened(Event, frozen=True, kw_only=True):
    """The phone is up; `address` is where it listens for SIP."""

    address: str


class Registered(Event, frozen=True, kw_only=True):
    """How a registration went; `active` is false after a refusal or a removal."""

    active: bool
    status: int
    reason: str


class Incoming(Event, frozen=True, kw_only=True):
    """A call came in and rings."""

    call: int
    caller: str
    callee: str
    call_id: str


class State(Event, frozen=True, kw_only=True):
    """A call changed its state: calling, early, connecting, confirmed, disconnected."""

    call: int
    state: str
    status: int
    reason: str


class Media(Event, frozen=True, kw_only=True):
    """Offer and answer met: active, local_hold, remote_hold, none or error, and the codec."""

    call: int
    state: str
    codec: str
    clock_rate_hz: int
    reason: str = ""


class Digit(Event, frozen=True, kw_only=True):
    """A digit came in."""

    call: int
    digit: str


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """RTP packets and payload bytes of one direction, over the whole call (RFC 3550 §6.4)."""

    packets: int = 0
    bytes: int = 0
    lost: int = 0
    discarded: int = 0
    duplicated: int = 0
    reordered: int = 0
    jitter_us: int = 0

    def plus(self, later: Self) -> "Counters":
        """Join the counters of two streams of a call that a re-INVITE cut."""
        return Counters(
            packets=self.packets + later.packets,
            bytes=self.bytes + later.bytes,
            lost=self.lost + later.lost,
            discarded=self.discarded + later.discarded,
            duplicated=self.duplicated + later.duplicated,
            reordered=self.reordered + later.reordered,
            jitter_us=later.jitter_us or self.jitter_us,
        )


class Reported(Event, frozen=True, kw_only=True):
    """A call as the phone saw it."""

    call: int
    call_id: str
    remote: str
    state: str
    status: int
    reason: str
    """Status and reason of the last response to the INVITE."""
    seconds: float
    codec: str
    clock_rate_hz: int
    remote_rtp: str
    sent: Counters
    received: Counters
    digits: str
    recording: str


class Failed(Event, frozen=True, kw_only=True):
    """A command could not be carried out; `call` is 0 where it named none."""

    do: str
    call: int
    sentence: str


class Closed(Event, frozen=True, kw_only=True):
    """The last line of a phone that ended in order."""


AnyEvent = Opened | Registered | Incoming | State | Media | Digit | Reported | Failed | Closed

_encoder: Final = msgspec.json.Encoder()
_command_decoder: Final = msgspec.json.Decoder(AnyCommand)
_event_decoder: Final = msgspec.json.Decoder(AnyEvent)


def encode(value: Command | Event) -> bytes:
    """One line of the protocol, its line feed included."""
    return _encoder.encode(value) + b"\n"


def decode_command(line: bytes) -> AnyCommand:
    """Read a command; raises msgspec.DecodeError, whose text is a sentence."""
    return _command_decoder.decode(line)


def decode_event(line: bytes) -> AnyEvent:
    """Read an event; raises msgspec.DecodeError, whose text is a sentence."""
    return _event_decoder.decode(line)
