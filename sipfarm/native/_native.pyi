"""The native core: SIP engine, UDP batches, RTP plane."""

import enum
from collections.abc import Iterable, Sequence
from typing import Any

def build_info() -> dict[str, str]:
    """What this build was made of; goes into every benchmark record."""

class Message:
    """A SIP message: wire bytes and an index (RFC 3261 §7); immutable."""

    def __init__(self, wire: bytes, hop: Hop) -> None:
        """As it came over this hop. Raises ValueError as `parse` does."""

    @staticmethod
    def parse(wire: bytes) -> Message:
        """
        Raises ValueError with the status an answer would carry and the reason.
        """

    @property
    def is_request(self) -> bool: ...
    @property
    def method(self) -> str: ...
    @property
    def request_uri(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def reason_phrase(self) -> str: ...
    @property
    def wire(self) -> bytes: ...
    @property
    def body(self) -> bytes: ...
    @property
    def call_id(self) -> str: ...
    @property
    def from_tag(self) -> str: ...
    @property
    def to_tag(self) -> str: ...
    @property
    def cseq(self) -> int: ...
    @property
    def max_forwards(self) -> int: ...
    @property
    def transaction(self) -> int: ...
    @property
    def hop(self) -> Hop: ...
    @property
    def transport(self) -> str: ...
    @property
    def source(self) -> tuple[str, int]: ...
    def header(self, name: str) -> str | None:
        """The first value, unfolded; compact forms and any case."""

    def headers(self, name: str) -> list[str]:
        """The value of each line, unfolded."""

    def values(self, name: str) -> list[str]:
        """The comma-separated values of all lines, unfolded."""

class Uri:
    """A SIP, SIPS or tel URI (RFC 3261 §19.1, RFC 3966)."""

    @staticmethod
    def parse(text: str) -> Uri:
        """Raises ValueError."""

    @property
    def scheme(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def password(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def params(self) -> dict[str, str]: ...
    @property
    def text(self) -> str: ...
    def aor(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

class NameAddr:
    """name-addr or addr-spec with its header parameters (RFC 3261 §20.10)."""

    @staticmethod
    def parse(text: str) -> NameAddr:
        """Raises ValueError."""

    @property
    def display(self) -> str: ...
    @property
    def uri(self) -> Uri: ...
    @property
    def params(self) -> dict[str, str]: ...

class Hop:
    """
    Where a message came from or goes to: transport, far address, listening point, connection.
    """

    def __init__(
        self, transport: str, host: str, port: int, local: int = 0, flow: int = 0, member: int = 0
    ) -> None: ...
    @property
    def transport(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def local(self) -> int: ...
    @property
    def flow(self) -> int: ...
    @property
    def member(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

class Batch:
    """Datagrams or whole messages on their way into the engine."""

    def __init__(self) -> None: ...
    def add(self, data: bytes, hop: Hop) -> None: ...
    def clear(self) -> None: ...
    def __len__(self) -> int: ...

class UdpPort:
    """
    A bound UDP socket driven with recvmmsg and sendmmsg; the descriptor stays the caller's.
    """

    def __init__(self, descriptor: int, local: int) -> None: ...
    def receive(self, batch: Batch) -> int:
        """Appends what is there, at most 64 datagrams; returns how many."""

    def receive_undelivered(self, batch: Batch) -> int:
        """
        Appends, with its destination, what an ICMP error says did not arrive, at most 64
        datagrams; returns how many.
        """

    def send(self, output: Output) -> list[tuple[int, int]]:
        """
        Sends this port's datagrams; returns (client transaction, errno) of the refused.
        """

class CodecFormat:
    """One encoding as offer and answer left it: what the media plane is told."""

    def __init__(
        self,
        name: str,
        clock_rate_hz: int,
        sample_rate_hz: int,
        *,
        channels: int = 1,
        bitrate: int = 0,
        max_playback_rate_hz: int = 0,
        mode_set: int = 0,
        mode: int | None = None,
        complexity: int | None = None,
        octet_aligned: bool = False,
        fec: bool = False,
        dtx: bool = False,
        cbr: bool = False,
        vbr: bool = False,
        stereo: bool = False,
        annexb: bool = True,
    ) -> None:
        """Raises ValueError where the plane knows no codec of that name."""

    @property
    def name(self) -> str: ...
    @property
    def clock_rate_hz(self) -> int: ...
    @property
    def sample_rate_hz(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def bitrate(self) -> int: ...
    @property
    def max_playback_rate_hz(self) -> int: ...
    @property
    def mode_set(self) -> int: ...
    @property
    def mode(self) -> int | None: ...
    @property
    def complexity(self) -> int | None: ...
    @property
    def octet_aligned(self) -> bool: ...
    @property
    def fec(self) -> bool: ...
    @property
    def dtx(self) -> bool: ...
    @property
    def cbr(self) -> bool: ...
    @property
    def vbr(self) -> bool: ...
    @property
    def stereo(self) -> bool: ...
    @property
    def annexb(self) -> bool: ...
    @property
    def objection(self) -> str | None:
        """Why this build cannot do it; None: it can."""

    @property
    def ptime_ms_max(self) -> int:
        """How much of it fits into one payload."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

class CodecEncoder:
    """PCM to payloads, as the media plane does it; for tests and tools.

    PCM is mono, 16 bit, native order.
    """

    def __init__(self, coding: CodecFormat) -> None:
        """Raises ValueError with the objection to the format."""

    @property
    def quantum(self) -> int:
        """A call takes a whole multiple of these samples."""

    @property
    def skipped(self) -> int:
        """Samples at the start of the last call that its payload leaves out."""

    def encode(self, pcm: bytes) -> bytes:
        """Empty: nothing is to be sent now."""

    def request_mode(self, mode: int) -> None: ...
    def expect_loss(self, percent: int) -> None: ...

class CodecDecoder:
    """Payloads to PCM, as the media plane does it; for tests and tools."""

    def __init__(self, coding: CodecFormat) -> None:
        """Raises ValueError with the objection to the format."""

    def duration(self, payload: bytes) -> int:
        """Samples; 0: not a payload of this codec."""

    def decode(self, payload: bytes) -> bytes:
        """Empty: undecodable."""

    def conceal(self, samples: int) -> bytes: ...
    def recover(self, following: bytes, samples: int) -> bytes:
        """The packet before `following` is lost."""

    @property
    def requested_mode(self) -> int | None: ...

class PortPool:
    """
    Even RTP ports that are bound already; a port rests before it is used again.
    """

    def __init__(self, rest_ms: int = 5000) -> None: ...
    def add(self, port: int) -> bool: ...
    def take(self, now_ms: int) -> int | None: ...
    def give_back(self, port: int, now_ms: int) -> bool: ...
    @property
    def free(self) -> int: ...
    @property
    def resting(self) -> int: ...
    @property
    def taken(self) -> int: ...
    @property
    def refused(self) -> int: ...

class BridgeSide:
    """One side of a bridge: what comes from there, and what is sent there.

    Payload types with how they are coded; of events and noise with their clock rates.
    """

    def __init__(
        self,
        *,
        receive: Sequence[tuple[int, CodecFormat]],
        send: tuple[int, CodecFormat],
        ptime_ms: int = 20,
        receive_events: Sequence[tuple[int, int]] = ...,
        send_events: tuple[int, int] | None = None,
        receive_noise: Sequence[tuple[int, int]] = ...,
        send_noise: tuple[int, int] | None = None,
        listens: bool = True,
    ) -> None: ...

class SrtpKeying:
    """Master key and salt of one direction, wiped when it goes."""

    def __init__(
        self,
        suite: str,
        key_and_salt: bytes,
        mki: bytes = b"",
        rtp_packets_max: int = ...,
    ) -> None: ...

class Plane:
    """The media plane's threads, as the control thread sees them."""

    def __init__(
        self,
        pool: PortPool,
        address: str,
        advertise: str = "",
        first_port: int = 20000,
        last_port: int = 29999,
        threads: int = 1,
        spare_pairs: int = 64,
        silence_timeout_ms: int = 60000,
        sockets: str = "auto",
        kernel_relay: bool = True,
    ) -> None: ...
    def replenish(self, now_ms: int) -> int:
        """Binds ports ahead; bounded work per call."""

    def apply(self, output: Output) -> None: ...
    def open_echo(
        self,
        stream: int,
        port: int,
        rtp: tuple[str, int] | None,
        rtcp: tuple[str, int] | None,
        rtcp_mux: bool,
    ) -> None: ...
    def open_relay(
        self,
        stream: int,
        port_a: int,
        rtp_a: tuple[str, int] | None,
        port_b: int,
        rtp_b: tuple[str, int] | None,
    ) -> None:
        """A relay without a SIP engine."""

    def set_bridge(self, stream: int, a: BridgeSide, b: BridgeSide) -> None:
        """An open relay's sides have different codecs from now on.

        Raises ValueError where that cannot be done.
        """

    def set_plain(self, stream: int) -> None:
        """A bridge is a plain relay again."""

    def set_remote(
        self, stream: int, rtp: tuple[str, int] | None, rtcp: tuple[str, int] | None, rtcp_mux: bool
    ) -> None: ...
    def set_held(self, stream: int, held: bool) -> None: ...
    def set_security(
        self,
        stream: int,
        side: str,
        inbound: SrtpKeying | None,
        outbound: SrtpKeying | None,
        *,
        keep_inbound: bool = False,
        keep_outbound: bool = False,
        replay_window: int = 128,
        rocs_tried: int = 2,
    ) -> bool:
        """Protects a side; a direction that is kept goes on with its session, one without a key
        carries nothing. False, and nothing was changed, for a stream that is not there or whose
        thread is far behind."""

    def clear_security(self, stream: int, side: str) -> bool: ...
    def rollover(self, stream: int, side: str) -> tuple[int, int] | None:
        """SSRC and rollover counter of what came last from there."""

    def close(self, stream: int) -> None: ...
    @property
    def event_fd(self) -> int: ...
    def poll_events(self) -> list[dict[str, Any]]: ...
    def stats(self, stream: int) -> tuple[dict[str, int], dict[str, int]] | None: ...
    def totals(self) -> dict[str, int]: ...
    @property
    def socket_mode(self) -> tuple[str, str]:
        """What carries the packets of many ports: `steered` or `per_port`; and why each port has a
        socket where steering was wanted."""

    @property
    def kernel_relay(self) -> tuple[str, str]:
        """The interfaces at which the kernel relays, and why it does not where that was wanted."""

    @property
    def advertise(self) -> str: ...
    def stop(self) -> None: ...

class EventKind(enum.IntEnum):
    REQUEST = 0

    ACK = 1

    CANCEL = 2

    RESPONSE = 3

    EXHAUSTED = 4

    CALL = 5

    ORPHAN = 6

    BANNED = 7

    RESOLVE = 8

class Event:
    """Something that Python decides on or is told of."""

    @property
    def kind(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def id(self) -> int: ...
    @property
    def call(self) -> int: ...
    @property
    def status(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def chosen(self) -> bool:
        """Of RESOLVE: the URI names the transport."""

    @property
    def text(self) -> str: ...
    @property
    def hop(self) -> Hop: ...
    @property
    def message(self) -> Message | None: ...

def siphash(key: bytes, data: bytes) -> int:
    """SipHash-2-4 with a 16-byte key."""

def sent_by(response: bytes, gone: Hop) -> tuple[Hop, str, str, int] | None:
    """
    (hop, server name, name to look up, its port) of a response whose connection is gone (RFC 3261
    §18.2.2); None where no connection may be opened.
    """

class Output:
    """
    What calls of the engine caused; performed by the driver and then cleared.
    """

    def __init__(self) -> None: ...
    def take_events(self) -> list[Event]: ...
    def stream_sends(self) -> list[tuple[Hop, bytes, int, str]]:
        """
        (hop, bytes, client transaction, name that a TLS server there must prove) of what does not
        leave over UDP here.
        """

    def sends(self) -> list[tuple[Hop, bytes, int]]:
        """(hop, bytes, client transaction) of everything, in order."""

    @property
    def has_stream_sends(self) -> bool: ...
    def take_frames(self) -> list[tuple[int, bytes]]:
        """(member number, payload for its engine)."""

    @property
    def has_frames(self) -> bool: ...
    @property
    def has_events(self) -> bool: ...
    @property
    def media_commands(self) -> int: ...
    @property
    def tracing(self) -> bool:
        """Whether it collects what became of each packet."""

    @tracing.setter
    def tracing(self, on: bool, /) -> None: ...
    def take_packets(self) -> list[tuple[str, str, int, int, Hop, bytes]]:
        """(what, why, from member, to member, hop, bytes) of each packet that came or left."""

    def clear(self) -> None: ...
    def __len__(self) -> int: ...

class Protection:
    """How new work is held off by its source."""

    def __init__(
        self,
        *,
        unproven_per_s: int,
        unproven_total_per_s: int,
        faults_max: int,
        fault_forgiven_ms: int,
        ban_ms: int,
        exempt: Iterable[tuple[str, int]],
    ) -> None: ...

class Engine:
    """
    The SIP engine, sans-IO. What a call causes is added to the Output handed in.
    """

    def __init__(
        self,
        ports: PortPool,
        *,
        listens: Sequence[tuple[Hop, str, int]],
        member: int,
        epoch: int,
        mark_key: bytes,
        mark_key_id: int = 0,
        previous_mark_key: bytes | None = None,
        previous_mark_key_id: int = 1,
        transaction_key: bytes,
        media: str,
        now_ms: int,
        t1_ms: int = 500,
        timer_c_ms: int = 185000,
        transactions_max: int = 400000,
        calls_max: int = 200000,
        claims: bool = True,
        reply_via_receiver: bool = False,
        protect: Protection | None = None,
    ) -> None: ...
    def receive(self, batch: Batch, now_ms: int, out: Output) -> None: ...
    def next_deadline_ms(self) -> int | None: ...
    def expire(self, now_ms: int, out: Output) -> None: ...
    def respond(
        self,
        transaction: int,
        status: int,
        reason: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        to_tag: str,
        now_ms: int,
        out: Output,
    ) -> bool: ...
    def answer_statelessly(
        self,
        transaction: int,
        status: int,
        reason: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        now_ms: int,
        out: Output,
    ) -> None: ...
    def retransmit(self, transaction: int, now_ms: int, out: Output) -> None: ...
    def set_view(
        self,
        members: Iterable[tuple[int, int, bool, float] | tuple[int, int, bool, float, bool, bool]],
        now_ms: int,
        out: Output,
    ) -> None:
        """(number, epoch, ready, load 0..1, and if need be: edge, pbx) of each member that is not
        dead.
        """

    def receive_bus(self, member: int, payload: bytes, now_ms: int, out: Output) -> None: ...
    def take_as_user_agent(self, transaction: int) -> bool:
        """
        A user agent takes a request. False: it is answered (cancelled, that is), or taken already
        by another way (RFC 3261 §8.2.2.2).
        """

    def bus_failed(self, payload: bytes, now_ms: int, out: Output) -> None: ...
    def forward(
        self,
        transaction: int,
        targets: Iterable[tuple[str, str, Hop | None]],
        relay: bool,
        record_route: bool,
        more: bool,
        step_ms: int,
        remove: Iterable[str],
        add: Iterable[tuple[str, str]],
        now_ms: int,
        out: Output,
    ) -> None: ...
    def finish(self, transaction: int, now_ms: int, out: Output) -> None: ...
    def request(
        self,
        key: int,
        method: str,
        uri: str,
        route: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        call_id: str,
        heard: object,
        now_ms: int,
        out: Output,
    ) -> bool:
        """
        Sends a request to a target by its route set; False: nobody knows where to, or a limit is
        reached.
        """

    def send_ack(
        self,
        uri: str,
        route: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        call_id: str,
        heard: object,
        now_ms: int,
        out: Output,
    ) -> bool:
        """ACK to a 2xx."""

    def place_orphan(self, request: Message, member: int, now_ms: int, out: Output) -> None:
        """The member that has the call of an orphan takes it; 0: nobody has that call (481)."""

    def mint_tag(self, call_id: str) -> str: ...
    def mint_contact(self, call_id: str, local: int = 0) -> str: ...
    def mint_flow(self, flow: int, far: str, member: int = 0) -> str: ...
    def open_flow(self, text: str, far: str) -> tuple[int, int, int] | None:
        """(member, epoch, flow) of a flow mark; None for a forged one."""

    def resolved(self, query: int, found: Sequence[Hop], now_ms: int, out: Output) -> None:
        """Where the name of a query is reached, best first, each by its own transport."""

    def transport_failed(self, transaction: int, now_ms: int, out: Output) -> None: ...
    def undelivered(self, batch: Batch, now_ms: int, out: Output) -> None:
        """Datagrams of ours that ICMP errors quote, each with where it was sent to."""

    def end_call(self, call: int, by: str, now_ms: int, out: Output) -> None: ...
    def hang_up(self, call: int, by: str, now_ms: int, out: Output) -> None:
        """Ends an answered call, with a BYE to both sides."""

    def silent_call(self, stream: int) -> tuple[int, str, list[int]] | None:
        """
        (call, Call-ID, streams) of the answered call that a stream is of; None where there is none,
        or it is on hold.
        """

    def prove(self, source: Hop, now_ms: int, out: Output) -> None: ...
    def blame(self, source: Hop, fault: str, now_ms: int, out: Output) -> None: ...
    def bans(self, now_ms: int) -> list[tuple[str, int, str]]:
        """(address, the ms it has left, fault) of each that is banned."""

    def unban(self, address: str, now_ms: int) -> bool: ...
    def calls(self, limit: int = 1000, after: int = 0) -> list[dict[str, Any]]:
        """
        A snapshot of forwarded calls; `after` is the handle of the last one of the page before.
        """

    def counters(self) -> dict[str, Any]: ...

class StreamFramer:
    """Splits a byte stream into SIP messages (RFC 3261 §18.3)."""

    def __init__(self) -> None: ...
    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """
        The (kind, bytes) that became whole.

        Kinds: message, ping (answer CRLF), crlf, error (close; bytes are the reason).
        """

class Credentials:
    """The digest of an Authorization or Proxy-Authorization (RFC 7616 §3.4)."""

    def __init__(
        self,
        username: str,
        realm: str,
        nonce: str,
        uri: str,
        response: str,
        algorithm: str = "",
        cnonce: str = "",
        qop: str = "",
        nc: str = "",
    ) -> None: ...
    @property
    def username(self) -> str: ...
    @property
    def realm(self) -> str: ...
    @property
    def nonce(self) -> str: ...
    @property
    def uri(self) -> str: ...
    @property
    def response(self) -> str: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def cnonce(self) -> str: ...
    @property
    def qop(self) -> str: ...
    @property
    def nc(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...

def parse_credentials(value: str) -> Credentials | None:
    """The digest of an Authorization (RFC 7616 §3.4); None if malformed."""

def digest_response(credentials: Credentials, ha1: str, method: str) -> str:
    """
    What `response` must be for an HA1 (RFC 7616 §3.4.1), in hex; "" without one, or for an
    algorithm that is not known.
    """

class NonceMint:
    """Makes and recognises digest nonces (RFC 7616 §5.4)."""

    def __init__(self, keys: Iterable[bytes], member_number: int, bind_to: str) -> None: ...
    def mint(self, source: tuple[str, int], wall_ms: int) -> str:
        """A nonce for this source, unlike any other."""

    def recognise(self, nonce: str, source: tuple[str, int]) -> bytes | None:
        """The stamp of a nonce that a member of this farm gave to this source."""

class NonceUse(enum.IntEnum):
    FIRST = 0
    SAME_TRANSACTION = 1
    REPLAY = 2
    FORGOTTEN = 3

class NonceCounts:
    """Judges nonce counts per transaction (RFC 7616 §3.4.5)."""

    def __init__(self, nonces_max: int, counts_max: int) -> None: ...
    def judge(self, stamp: bytes, count: int, transaction: int, wall_ms: int) -> NonceUse: ...
    def expire(self, issued_before_wall_ms: int) -> None: ...
    def __len__(self) -> int: ...

class OwnAddresses:
    """Where the farm itself is reached: all it listens on or advertises."""

    def __init__(self, hosts: Iterable[str], ports: Iterable[int]) -> None:
        """Hosts in lower case, IPv6 in brackets."""

    def include(self, host: str, port: int) -> bool:
        """Whether a URI with this host and port (0: absent) leads to the farm."""

    def has_port(self, port: int) -> bool: ...

def same_resource(uri: str, request_uri: str, own: OwnAddresses) -> bool:
    """Whether the `uri` of a digest is the Request-URI (RFC 3261 §22.4 item 1)."""

class DigestGuard:
    """Finds credentials in requests and judges them (RFC 7616 §3.4)."""

    def __init__(
        self,
        *,
        algorithms: Iterable[str],
        nonce_lifetime_ms: int,
        own: OwnAddresses,
        keys: Iterable[bytes],
        member_number: int,
        bind_to: str,
        nonces_max: int,
        counts_max: int,
    ) -> None: ...
    def challenges(
        self, realm: str, source: tuple[str, int], wall_ms: int, stale: bool
    ) -> list[str]:
        """The values of WWW-Authenticate or Proxy-Authenticate, one for each algorithm."""

    @property
    def nonces_known(self) -> int:
        """Of how many nonces the use is remembered."""

    def find(self, request: Message, realm: str, proxy: bool) -> Credentials | int:
        """
        The credentials for a realm by the algorithm we like best, or the number of a Verdict.
        """

    def judge(
        self,
        credentials: Credentials,
        ha1_md5: str,
        ha1_sha256: str,
        request: Message,
        wall_ms: int,
    ) -> int:
        """The number of a Verdict."""

def apply_register(
    stored: bytes | None, update: bytes, wall_ms: int
) -> tuple[int, bytes | None, bytes | None, int]:
    """
    (status, live bindings or None: the update's one contact, new value or None: unchanged, when
    that is dead).
    """

class BindingWriter:
    """A thread that applies register updates to the cells of a SQLite file."""

    def __init__(self, path: str, timeout_ms: int) -> None:
        """`timeout_ms`: how long anybody waits for an update."""

    @property
    def error(self) -> str:
        """Why the file cannot be used, "" where it can."""

    @property
    def descriptor(self) -> int:
        """Readable when outcomes can be taken."""

    def submit(self, ticket: int, aor: str, update: bytes, wall_ms: int) -> None: ...
    def take(self) -> list[tuple[int, int, bytes | None, str]]:
        """
        (ticket, status, live bindings or None: the update's one contact, error) of each update that
        is done.
        """

    def close(self) -> None:
        """Finish what was submitted, and end the thread."""

class CellReader:
    """A thread that reads cells of a SQLite file."""

    def __init__(self, path: str) -> None: ...
    @property
    def error(self) -> str:
        """Why the file cannot be used, "" where it can."""

    @property
    def descriptor(self) -> int:
        """Readable when values can be taken."""

    def submit(self, ticket: int, keys: Iterable[tuple[str, str, str]]) -> None:
        """Keys are (noun, scope, name)."""

    def take(self) -> list[tuple[int, list[bytes | None], str]]:
        """(ticket, values in the order of the keys, error) of each read that is done."""

    def close(self) -> None:
        """Finish what was submitted, and end the thread."""

class RegisterScreen:
    """
    Challenges REGISTERs without credentials before anybody decides on them.

    For the domains it was told of alone; whatever is not quite plain is passed on.
    """

    def __init__(self, guard: DigestGuard, own: OwnAddresses) -> None: ...
    def admit(self, domain: str, until_ms: int) -> None:
        """A domain's REGISTERs are to be challenged, until then."""

    def run(self, engine: Engine, out: Output, now_ms: int, wall_ms: int) -> None:
        """Answer those among the events that ask for no more than a challenge; take them out."""

class ExpressLane:
    """
    Registers again, without a decision for each, who was registered once (docs/adr/0016).

    It says yes and nothing else; whatever is not plain is passed on.
    """

    def __init__(
        self,
        guard: DigestGuard,
        writer: BindingWriter,
        own: OwnAddresses,
        *,
        expires_min_s: int,
        expires_max_s: int,
        expires_default_s: int,
        bindings_max: int,
        headers: Iterable[tuple[str, str]],
        bound_to_receiver: bool,
        accounts_max: int,
        waiting_max: int,
    ) -> None:
        """`headers` stand in each 200 between its Contacts and its Date."""

    def admit(
        self, request: Message, ha1_md5: str, ha1_sha256: str, until_ms: int, age: int
    ) -> None:
        """
        The account that this request has registered may come by here until then, as long as names
        are of that age.
        """

    def run(self, engine: Engine, out: Output, now_ms: int, wall_ms: int, age: int) -> None:
        """Take up those among the events that it can; take them out."""

    @property
    def descriptor(self) -> int:
        """Readable when outcomes can be taken."""

    def take(
        self, engine: Engine, out: Output, now_ms: int, wall_ms: int
    ) -> tuple[
        list[tuple[str, bytes]], list[tuple[Message, bytes, int, bytes | None, str]], list[str]
    ]:
        """
        (AOR, stored bindings) of each that is registered and answered; (request, stored update,
        status, bindings or None, error) of each that is left; the AOR of each that was done when
        nobody waited for it any more.
        """

    def next_deadline_ms(self) -> int | None: ...
    def overdue(self, engine: Engine, now_ms: int) -> list[int]:
        """The transactions that have waited too long, each told once."""

    @property
    def waiting(self) -> int:
        """REGISTERs that wait for the store."""

    def counters(self) -> dict[str, int]: ...

def read_registrant(
    request: Message, own: OwnAddresses
) -> tuple[bool, str, str, str, bool, list[str]] | str:
    """
    Whom a REGISTER is for (RFC 3261 §10.3), or what is malformed in it.

    Whether To has a sip or sips URI, its canonical user, its host, the host of the Request-URI,
    whether that is one of our addresses, the option tags of Require. Hosts are in lower case, ""
    for an IP address with a port that is not ours: a phone.
    """

def read_contacts(
    request: Message, own: OwnAddresses, contacts_max: int
) -> tuple[
    int,
    bool,
    int,
    tuple[str, ...],
    bool,
    bool,
    bool,
    bool,
    str,
    str,
    list[tuple[int, str, str, str, bool, int, int, str, int, bool]],
]:
    """
    What a REGISTER binds (RFC 3261 §10.3).

    How many contacts there are, whether one is `*`, the Expires header (-1: none, or malformed),
    the Path and whether it is well-formed, whether its last hop does outbound, whether the phone
    does, whether no proxy stands in between, the source ("udp:192.0.2.1:5060"), User-Agent, and of
    each contact: fitness, URI, key, host (see `read_registrant`), whether that is ours, expires
    (-1: none), q in thousandths, instance, reg-id (0: none), whether it can be believed.
    """

class Mixer:
    """The core of a conference; here for tests, rooms mix natively. Frames are 16-bit PCM."""

    def __init__(
        self,
        sample_rate_hz: int,
        parties_max: int,
        links_max: int = 256,
        delay_ticks_max: int = 0,
    ) -> None: ...
    def join(self, player: bool = False) -> int:
        """Raises ValueError when it is full."""

    def leave(self, party: int) -> None: ...
    def set_muted(self, party: int, muted: bool) -> None: ...
    def set_deaf(self, party: int, deaf: bool) -> None: ...
    def set_gain(self, party: int, db: float) -> None: ...
    def set_volume(self, party: int, db: float) -> None: ...
    def set_gain_between(self, listener: int, speaker: int, db: float) -> bool: ...
    def set_whispering(self, speaker: int, whispering: bool) -> None: ...
    def choose_whispered_to(self, speaker: int, listener: int, chosen: bool) -> bool: ...
    def set_loudest(self, k: int) -> None: ...
    def set_gate(self, dbov: float) -> None: ...
    def set_delay(self, ticks: int) -> None: ...
    def input(self, party: int, frame: bytes) -> None:
        """A frame of 20 ms for the tick that `mix` ends."""

    def mix(self) -> None: ...
    def heard(self, party: int) -> int:
        """The buffer that a party hears: 0 is silence, 1 the common mix."""

    def buffer(self, number: int) -> bytes: ...
    def talking(self, party: int) -> bool: ...
    @property
    def active(self) -> int | None: ...
