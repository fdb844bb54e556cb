"""SIP over WebSocket from bytes to messages (RFC 7118), without a socket."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    Request,
    TextMessage,
)

from sipfarm.base.limits import MESSAGE_BYTES_MAX
from sipfarm.signaling.io.websocket import FRAGMENTS_MAX, UPGRADE_BYTES_MAX, WebSocketFraming

MESSAGE = b"OPTIONS sip:example.test SIP/2.0\r\nContent-Length: 0\r\n\r\n"


class Client:
    """The other end: what it says is fed, and what is answered is read."""

    def __init__(self, cut: Random | None = None, origins: frozenset[str] = frozenset()) -> None:
        self.framing = WebSocketFraming(origins)
        self.found: list[tuple[str, bytes]] = []
        self.events: list[Event] = []
        self._client = WSConnection(ConnectionType.CLIENT)
        self._cut = cut

    def upgrade(self, *subprotocols: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.say(
            Request(
                host="example.test",
                target="/sip",
                subprotocols=list(subprotocols),
                extra_headers=list(headers),
            )
        )

    def say(self, event: Event) -> None:
        self.feed(self._client.send(event))

    def feed(self, data: bytes) -> None:
        for part in self._parts(data):
            for kind, bytes_found in self.framing.feed(part):
                self.found.append((kind, bytes_found))
                if kind == "answer":
                    self.hear(bytes_found)

    def hear(self, data: bytes) -> None:
        self._client.receive_data(data)
        self.events += self._client.events()

    def kinds(self, *leaving_out: str) -> list[str]:
        return [kind for kind, _ in self.found if kind not in leaving_out]

    def messages(self) -> list[bytes]:
        return [found for kind, found in self.found if kind == "message"]

    def error(self) -> str:
        return next(found.decode() for kind, found in self.found if kind == "error")

    def _parts(self, data: bytes) -> list[bytes]:
        if self._cut is None:
            return [data]
        parts: list[bytes] = []
        while data:
            length = self._cut.randint(1, max(1, len(data) // 3))
            parts.append(data[:length])
            data = data[length:]
        return parts


@pytest.fixture
def client() -> Client:
    opened = Client()
    opened.upgrade("sip")
    assert opened.kinds() == ["answer", "opened"]
    opened.found.clear()
    return opened


def test_an_upgrade_to_sip_is_accepted() -> None:
    client = Client()
    client.upgrade("chat", "sip")
    accepted = client.events[0]
    assert isinstance(accepted, AcceptConnection)
    assert accepted.subprotocol == "sip"
    assert not accepted.extensions
    assert client.framing.is_open


def test_an_upgrade_to_something_else_is_refused() -> None:
    client = Client()
    client.upgrade("chat")
    assert b"HTTP/1.1 400" in client.found[0][1]
    assert b"subprotocol sip" in client.found[0][1]
    assert client.kinds() == ["answer", "error"]
    assert not client.framing.is_open


PAGE = frozenset({"https://phone.example.test"})


@pytest.mark.parametrize(
    ("origins", "told", "accepted"),
    [
        (frozenset[str](), ["https://anybody.example.test"], True),
        (PAGE, ["https://phone.example.test"], True),
        (PAGE, ["HTTPS://Phone.example.test"], True),
        (PAGE, [], True),  # no browser
        (PAGE, ["https://phone.example.test.evil.test"], False),
        (PAGE, ["http://phone.example.test"], False),
        (PAGE, ["https://phone.example.test:8443"], False),
        (PAGE, ["null"], False),
        (PAGE, [""], False),
        (PAGE, ["https://phone.example.test", "https://evil.test"], False),
    ],
)
def test_pages_of_other_origins_are_refused_before_any_sip(
    origins: frozenset[str], told: list[str], accepted: bool
) -> None:
    """RFC 6455 §10.2, RFC 7118 §7."""
    client = Client(origins=origins)
    client.upgrade("sip", headers=[(b"Origin", origin.encode()) for origin in told])
    assert client.framing.is_open is accepted
    assert client.kinds() == ["answer", "opened" if accepted else "error"]
    assert client.found[0][1].startswith(b"HTTP/1.1 101" if accepted else b"HTTP/1.1 403")
    if not accepted:
        assert client.error() == "upgrade refused with 403"
        assert not client.framing.feed(MESSAGE)


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: %b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: %b\r\n"
    b"Sec-WebSocket-Protocol: sip\r\n\r\n"
)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 426),
        (b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n", 405),
        (UPGRADE % (b"a.test", b"8"), 426),
        (UPGRADE % (b"\xff\xfe", b"13"), 400),
        (UPGRADE % (b"a.test", b"13\r\nConnection: \xff"), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"OPTIONS sip:a.test SIP/2.0\r\nVia: SIP/2.0/WS x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (UPGRADE_BYTES_MAX // 6 + 1), 431),
    ],
)
def test_what_is_no_upgrade_is_refused_with_a_status(request_bytes: bytes, status: int) -> None:
    client = Client()
    found = client.framing.feed(request_bytes)
    assert [kind for kind, _ in found] == ["answer", "error"]
    head, _, body = found[0][1].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d" % status)
    assert f"content-length: {len(body)}".encode() in head.lower()
    assert not client.framing.feed(b"more")


def test_text_and_binary_messages_are_messages(client: Client) -> None:
    client.say(TextMessage(data=MESSAGE.decode()))
    client.say(BytesMessage(data=MESSAGE + b"\xff"))
    assert client.messages() == [MESSAGE, MESSAGE + b"\xff"]


@given(st.integers())
def test_messages_do_not_depend_on_how_the_bytes_are_cut(seed: int) -> None:
    random = Random(seed)
    client = Client(random)
    client.upgrade("sip")
    said = [random.randbytes(random.randint(5, 2_000)) + b"x" for _ in range(4)]
    for message in said:
        half = random.randint(0, len(message))
        client.say(BytesMessage(data=message[:half], message_finished=False))
        client.say(Ping())
        client.say(BytesMessage(data=message[half:]))
    assert client.messages() == said


@pytest.mark.parametrize("message", [MESSAGE, "Subject: grüß dich".encode(), b"\xff\x00binary"])
def test_what_is_sent_arrives_as_text_or_binary(client: Client, message: bytes) -> None:
    client.events.clear()
    client.hear(client.framing.wrap(message))
    (event,) = client.events
    assert isinstance(event, Message)
    assert isinstance(event, BytesMessage) == (message[0] == 0xFF)
    assert (event.data.encode() if isinstance(event.data, str) else event.data) == message


def test_a_ping_is_answered_with_what_it_carried(client: Client) -> None:
    client.say(Ping(payload=b"mark"))
    assert client.events[-1] == Pong(payload=b"mark")


def test_a_double_crlf_is_answered_with_one(client: Client) -> None:
    client.say(TextMessage(data="\r\n\r\n"))
    assert isinstance(client.events[-1], TextMessage)
    assert client.events[-1].data == "\r\n"
    client.say(TextMessage(data="\r\n"))
    assert client.kinds() == ["alive", "answer", "alive"]


def test_a_good_bye_is_answered(client: Client) -> None:
    client.say(CloseConnection(code=1001))
    assert isinstance(client.events[-1], CloseConnection)
    assert client.kinds() == ["answer", "closed"]
    assert client.framing.goodbye() == b""


def test_our_own_good_bye_is_a_close_frame(client: Client) -> None:
    client.hear(client.framing.goodbye())
    closed = client.events[-1]
    assert isinstance(closed, CloseConnection)
    assert closed.code == 1001
    assert client.framing.wrap(MESSAGE) == b""


def test_before_the_upgrade_there_is_no_good_bye() -> None:
    assert WebSocketFraming().goodbye() == b""


def closed_with(client: Client) -> int:
    closed = client.events[-1]
    assert isinstance(closed, CloseConnection)
    return int(closed.code)


def test_a_message_that_is_too_large_is_closed_with_1009(client: Client) -> None:
    client.say(BytesMessage(data=b"x" * MESSAGE_BYTES_MAX, message_finished=False))
    assert not client.found
    client.say(BytesMessage(data=b"xx"))
    assert closed_with(client) == 1009
    assert client.error() == "message too large"


def test_the_largest_message_goes_through(client: Client) -> None:
    client.say(BytesMessage(data=b"x" * MESSAGE_BYTES_MAX))
    assert client.messages() == [b"x" * MESSAGE_BYTES_MAX]


def test_a_frame_without_an_end_keeps_no_more_than_one_message(client: Client) -> None:
    client.feed(b"\x82\xff" + (1 << 50).to_bytes(8) + b"\0\0\0\0")
    for _ in range(2 + MESSAGE_BYTES_MAX // 10_000):
        client.feed(b"x" * 10_000)
    assert client.error() == "message too large"


def test_fragments_without_an_end_are_closed(client: Client) -> None:
    for _ in range(FRAGMENTS_MAX + 1):
        client.say(TextMessage(data="", message_finished=False))
    assert closed_with(client) == 1008


@pytest.mark.parametrize(
    "frame",
    [
        b"\x82\x01x",  # not masked
        b"\xf2\x80\0\0\0\0",  # reserved bits
        b"\x83\x80\0\0\0\0",  # an opcode that there is not
        b"\x80\x80\0\0\0\0",  # a continuation of nothing
        b"\x89\xfe\x00\x7e\0\0\0\0",  # a ping that is too long
        b"\x81\x82\0\0\0\0\xff\xff",  # text that is no UTF-8
    ],
)
def test_a_frame_against_the_rules_is_closed(client: Client, frame: bytes) -> None:
    client.feed(frame)
    assert client.kinds()[-2:] == ["answer", "error"]
    assert closed_with(client) in (1002, 1007)
    assert not client.framing.feed(b"more")


@given(st.binary(max_size=600), st.booleans())
def test_no_bytes_raise(data: bytes, opened: bool) -> None:
    client = Client()
    if opened:
        client.upgrade("sip")
    client.framing.feed(data)
