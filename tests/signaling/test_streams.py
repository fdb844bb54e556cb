"""The pool of connections, over sockets of this machine."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import structlog

from sipfarm.base.errors import CapacityError, StartError
from sipfarm.base.io.entropy import SystemEntropy
from sipfarm.base.net import HostPort, Listen, Transport
from sipfarm.base.records import Domain
from sipfarm.native import Hop
from sipfarm.signaling.io.connection import ConnectionLimits
from sipfarm.signaling.io.resolver import Resolver
from sipfarm.signaling.io.streams import Streams, StreamSettings, source_of
from sipfarm.signaling.io.tls import Certificates, Pair, server_context
from sipfarm.testing.dns_server import DnsServer
from sipfarm.testing.stream_farm import Certificate, make_certificate

MESSAGE = b"OPTIONS sip:example.test SIP/2.0\r\nContent-Length: 0\r\n\r\n"
WITHIN_S = 10.0
HOST = "127.0.0.1"
QUICK = ConnectionLimits(upgrade_s=0.2, first_message_s=0.3, message_s=0.3)
Settings = StreamSettings


class Kept:
    """What the pool tells."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[bytes, Hop]] = asyncio.Queue()
        self.failed: asyncio.Queue[int] = asyncio.Queue()
        self.listeners: list[socket.socket] = []

    async def next_message(self) -> tuple[bytes, Hop]:
        async with asyncio.timeout(WITHIN_S):
            return await self.received.get()

    async def next_failure(self) -> int:
        async with asyncio.timeout(WITHIN_S):
            return await self.failed.get()


@asynccontextmanager
async def pool(
    settings: StreamSettings | None = None,
    transport: Transport = Transport.TCP,
    certificates: Callable[[asyncio.TaskGroup], Awaitable[Certificates]] | None = None,
    host: str = HOST,
    resolver: Resolver | None = None,
) -> AsyncGenerator[tuple[Streams, Kept, int]]:
    """A pool that listens on one port."""
    kept = Kept()
    async with asyncio.TaskGroup() as group:
        shown = None if certificates is None else await certificates(group)
        log = structlog.get_logger()
        streams = Streams(
            group,
            lambda messages: [kept.received.put_nowait(one) for one in messages] and None,
            kept.failed.put_nowait,
            log,
            5,
            settings,
            shown,
            resolver,
        )
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as listener:
            listener.bind((host, 0))
            await streams.listen(listener, 0, transport)
            try:
                yield streams, kept, listener.getsockname()[1]
            finally:
                streams.close()


async def connect(
    port: int,
    context: ssl.SSLContext | None = None,
    name: str | None = None,
    host: str = HOST,
    source: str | None = None,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(WITHIN_S):
        return await asyncio.open_connection(
            host, port, ssl=context, server_hostname=name, local_addr=source and (source, 0)
        )


async def ends(reader: asyncio.StreamReader) -> bool:
    """Whether the farm closes."""
    async with asyncio.timeout(WITHIN_S):
        try:
            return await reader.read() is not None
        except ConnectionError:
            return True


def trusting(*certificates: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for one in certificates:
        context.load_verify_locations(one.certificate)
    return context


@pytest.mark.parametrize("host", [HOST, "::1"])
def test_an_answer_leaves_by_the_connection_of_its_request(host: str) -> None:
    async def run() -> None:
        async with pool(host=host) as (streams, kept, port):
            reader, writer = await connect(port, host=host)
            writer.write(MESSAGE)
            message, hop = await kept.next_message()
            assert message == MESSAGE
            assert streams.has(hop.flow)
            streams.send(hop, b"answer", 0)
            assert await reader.readexactly(6) == b"answer"
            without_flow = Hop("tcp", hop.host, hop.port)
            streams.send(without_flow, b"by address", 0)
            assert await reader.readexactly(10) == b"by address"
            writer.close()

    asyncio.run(run())


def test_a_request_within_a_flow_that_is_gone_fails() -> None:
    async def run() -> None:
        async with pool() as (streams, kept, port):
            _, writer = await connect(port)
            writer.write(MESSAGE)
            _, hop = await kept.next_message()
            streams.send(hop, MESSAGE, 41)
            writer.close()
            assert await kept.next_failure() == 41  # it was under way
            assert not streams.has(hop.flow)
            streams.send(hop, MESSAGE, 42)
            assert await kept.next_failure() == 42
            assert streams.count == 0

    asyncio.run(run())


@pytest.mark.parametrize("transport", ["ws", "wss"])
def test_no_websocket_is_opened_by_us(transport: str) -> None:
    async def run() -> None:
        async with pool() as (streams, kept, port):
            streams.send(Hop(transport, HOST, port), MESSAGE, 7)
            assert await kept.next_failure() == 7

    asyncio.run(run())


def test_a_connection_is_opened_once_for_all_that_is_sent_there() -> None:
    async def run() -> None:
        async with pool() as (streams, kept, _), pool() as (others, of_others, port):
            streams.send(Hop("tcp", HOST, port), MESSAGE, 1)
            streams.send(Hop("tcp", HOST, port), MESSAGE, 2)
            _, first = await of_others.next_message()
            _, second = await of_others.next_message()
            assert first.flow == second.flow
            assert (streams.count, others.count) == (1, 1)
            others.send(first, MESSAGE, 0)
            message, hop = await kept.next_message()
            assert (message, hop.port) == (MESSAGE, port)

    asyncio.run(run())


def test_what_cannot_be_reached_fails() -> None:
    async def run() -> None:
        async with pool() as (streams, kept, _):
            with socket.socket() as unused:
                unused.bind((HOST, 0))
                streams.send(Hop("tcp", HOST, unused.getsockname()[1]), MESSAGE, 3)
                assert await kept.next_failure() == 3

    asyncio.run(run())


def test_a_source_has_a_share_of_the_connections() -> None:
    async def run() -> None:
        async with pool(Settings(per_source_max=2)) as (streams, kept, port):
            writers: list[asyncio.StreamWriter] = []
            for _ in range(2):
                _, writer = await connect(port)
                writer.write(MESSAGE)
                await kept.next_message()
                writers.append(writer)
            reader, writer = await connect(port)
            assert await ends(reader)
            assert streams.refused == {"too many connections of one source": 1}
            for one in (*writers, writer):
                one.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("transport", "said"),
    [
        (Transport.TCP, b""),
        (Transport.TCP, MESSAGE[:20]),
        (Transport.TCP, b"\r\n\r\n"),
        (Transport.WS, b""),
        (Transport.WS, b"GET / HTTP/1.1\r\nHost: a.test\r\n"),
    ],
)
def test_who_is_slow_is_closed(transport: Transport, said: bytes) -> None:
    async def run() -> None:
        async with pool(Settings(connection=QUICK, look_s=0.05), transport) as (streams, _, port):
            reader, writer = await connect(port)
            writer.write(said)
            assert await ends(reader)
            assert streams.refused.total() == 1
            assert streams.count == 0
            writer.close()

    asyncio.run(run())


def test_a_sender_without_pause_lets_others_speak() -> None:
    async def run() -> None:
        async with pool() as (_, kept, port):
            _, loud = await connect(port)
            loud.write(MESSAGE * 20_000)
            await kept.next_message()
            _, quiet = await connect(port)
            quiet.write(MESSAGE.replace(b"OPTIONS", b"MESSAGE"))
            before = 0
            while not (await kept.next_message())[0].startswith(b"MESSAGE"):
                before += 1
            assert before < 19_000
            loud.transport.abort()
            quiet.close()

    asyncio.run(run())


# TLS


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("own"), "own", "DNS:sip.example.test")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("other"), "other", "DNS:other.test")


class Records:
    """Domains that can be changed, or be away."""

    def __init__(self, *domains: Domain) -> None:
        self.held = {domain.name: domain for domain in domains}
        self.asked: list[str] = []
        self.is_away = False

    async def domains(self) -> tuple[Domain, ...]:
        return tuple(self.held.values())

    async def domain(self, name: str) -> Domain | None:
        self.asked.append(name)
        if self.is_away:
            raise CapacityError("away")
        return self.held.get(name)


def with_certificate(name: str, pair: Certificate) -> Domain:
    return Domain(name, str(pair.certificate), str(pair.key))


def shower(
    own: Certificate, records: Records
) -> Callable[[asyncio.TaskGroup], Awaitable[Certificates]]:
    async def make(group: asyncio.TaskGroup) -> Certificates:
        log = structlog.get_logger()
        made = Certificates(Pair(own.certificate, own.key), records, group, log)
        await made.load()
        return made

    return make


async def shown(port: int, name: str, *trusted: Certificate) -> str:
    """Whose certificate is shown to who asks for a name."""
    context = trusting(*trusted)
    context.check_hostname = False
    _, writer = await connect(port, context, name)
    names = writer.get_extra_info("peercert")["subjectAltName"]
    writer.close()
    return str(names[0][1])


def test_the_name_asked_for_picks_the_certificate(own: Certificate, other: Certificate) -> None:
    records = Records(with_certificate("other.test", other))

    async def run() -> None:
        certificates = shower(own, records)
        async with pool(transport=Transport.TLS, certificates=certificates) as (_, _, port):
            assert await shown(port, "other.test", own, other) == "other.test"
            assert await shown(port, "OTHER.test", own, other) == "other.test"
            assert await shown(port, "sip.example.test", own, other) == "sip.example.test"
            assert await shown(port, "x" * 60 + ".test", own, other) == "sip.example.test"

    asyncio.run(run())


def test_a_name_that_is_new_is_looked_up_for_the_next_time(
    own: Certificate, other: Certificate
) -> None:
    records = Records()

    async def run() -> None:
        certificates = shower(own, records)
        async with pool(transport=Transport.TLS, certificates=certificates) as (_, _, port):
            records.held["other.test"] = with_certificate("other.test", other)
            assert await shown(port, "other.test", own, other) == "sip.example.test"
            async with asyncio.timeout(WITHIN_S):
                while await shown(port, "other.test", own, other) != "other.test":
                    pass
            assert records.asked == ["other.test"]

    asyncio.run(run())


def test_without_the_store_the_farms_certificate_is_shown(own: Certificate) -> None:
    records = Records()
    records.is_away = True

    async def run() -> None:
        certificates = shower(own, records)
        async with pool(transport=Transport.TLS, certificates=certificates) as (_, _, port):
            for _ in range(2):
                assert await shown(port, "other.test", own) == "sip.example.test"

    asyncio.run(run())


def test_a_domain_whose_files_are_wrong_is_shown_the_farms(own: Certificate) -> None:
    records = Records(Domain("other.test", "/nowhere/a.pem", "/nowhere/a.key"))

    async def run() -> None:
        certificates = shower(own, records)
        async with pool(transport=Transport.TLS, certificates=certificates) as (_, _, port):
            assert await shown(port, "other.test", own) == "sip.example.test"

    asyncio.run(run())


def test_handshakes_of_a_source_are_bounded(own: Certificate) -> None:
    async def run() -> None:
        settings = Settings(handshakes_per_source_max=2, handshake_s=0.5)
        certificates = shower(own, Records())
        held = pool(settings, Transport.TLS, certificates)
        async with held as (streams, _, port):
            silent = [await connect(port) for _ in range(2)]
            reader, writer = await connect(port)
            assert await ends(reader)
            assert streams.refused == {"too many handshakes of one source": 1}
            for one, _ in silent:
                assert await ends(one)  # they took too long
            assert streams.handshakes == 0
            for _, one in (*silent, (reader, writer)):
                one.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "arrives"), [("sip.example.test", True), ("impostor.test", False), ("", True)]
)
def test_a_server_found_by_its_name_must_prove_it(
    own: Certificate, monkeypatch: pytest.MonkeyPatch, name: str, arrives: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(own.certificate))

    async def run() -> None:
        certificates = shower(own, Records())
        server = pool(transport=Transport.TLS, certificates=certificates)
        async with pool() as (streams, kept, _), server as (_, of_server, port):
            streams.send(Hop("tls", HOST, port), MESSAGE, 8, name)
            if arrives:
                message, hop = await of_server.next_message()
                assert (message, hop.transport) == (MESSAGE, "tls")
            else:
                assert await kept.next_failure() == 8

    asyncio.run(run())


def test_two_names_at_one_address_are_two_servers(
    own: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was proven to be one is not taken for the other."""
    monkeypatch.setenv("SSL_CERT_FILE", str(own.certificate))

    async def run() -> None:
        server = pool(transport=Transport.TLS, certificates=shower(own, Records()))
        async with pool() as (streams, kept, _), server as (_, of_server, port):
            streams.send(Hop("tls", HOST, port), MESSAGE, 8, "sip.example.test")
            await of_server.next_message()
            streams.send(Hop("tls", HOST, port), MESSAGE, 9, "impostor.test")
            assert await kept.next_failure() == 9

    asyncio.run(run())


def response(transport: str, sent_by: str) -> bytes:
    return (
        f"SIP/2.0 200 OK\r\nVia: SIP/2.0/{transport} {sent_by};branch=z9hG4bK1\r\n"
        "From: <sip:a@x.test>;tag=1\r\nTo: <sip:b@x.test>;tag=2\r\nCall-ID: 1\r\n"
        "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def test_a_response_whose_connection_is_gone_goes_to_the_port_of_sent_by() -> None:
    """RFC 3261 §18.2.2."""

    async def run() -> None:
        async with pool() as (streams, kept, port), pool() as (_, of_phone, phone_port):
            _, writer = await connect(port)
            writer.write(MESSAGE)
            _, hop = await kept.next_message()
            streams.send(hop, MESSAGE, 41)
            writer.close()
            assert await kept.next_failure() == 41  # the connection is gone
            answer = response("TCP", f"phone.invalid:{phone_port}")
            streams.send(hop, answer, 0)
            assert (await of_phone.next_message())[0] == answer
            streams.send(hop, MESSAGE, 0)  # no response: nothing is opened for it
            assert streams.count == 1

    asyncio.run(run())


def test_where_nobody_is_at_its_source_a_response_follows_the_name_in_sent_by() -> None:
    """RFC 3261 §18.2.2, RFC 3263 §5."""
    source, elsewhere = "127.0.0.3", "127.0.0.2"
    zone = f"""
        phone.example.test A {source}
        phone.example.test A 127.0.0.4
        phone.example.test A {elsewhere}
    """

    async def run(names: DnsServer) -> None:
        listen = Listen(Transport.TCP, HostPort(HOST, 5060))
        resolver = Resolver(SystemEntropy(), [listen], [names.address])
        phone = pool(host=elsewhere)
        async with pool(resolver=resolver) as (streams, kept, port), phone as (_, of_phone, at):
            _, writer = await connect(port, source=source)
            writer.write(MESSAGE)
            _, hop = await kept.next_message()
            streams.send(hop, MESSAGE, 41)
            writer.close()
            assert await kept.next_failure() == 41  # the connection is gone
            for name in ("phone.example.test", "nobody.example.test", HOST):
                streams.send(hop, response("TCP", f"{name}:{at}"), 0)
            received, _ = await of_phone.next_message()
            assert received == response("TCP", f"phone.example.test:{at}")
            answer = response("TCP", f"phone.example.test:{at}").replace(b"200 OK", b"486 No")
            streams.send(hop, answer, 0)
            assert (await of_phone.next_message())[0] == answer
            assert streams.count == 1

    with DnsServer(zone) as names:
        asyncio.run(run(names))


def test_over_tls_sent_by_must_be_proven_there(
    own: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(own.certificate))

    async def run() -> None:
        phone = pool(transport=Transport.TLS, certificates=shower(own, Records()))
        async with pool() as (streams, _, _), phone as (_, of_phone, port):
            gone = Hop("tls", HOST, 40_000, 0, 7)
            streams.send(gone, response("TLS", f"impostor.test:{port}"), 0)
            answer = response("TLS", f"sip.example.test:{port}")
            streams.send(gone, answer, 0)
            assert (await of_phone.next_message())[0] == answer

    asyncio.run(run())


def test_files_that_are_no_certificate_are_told(tmp_path: Path, own: Certificate) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    another = make_certificate(tmp_path, "another", "DNS:another.test")
    for certificate, key, told in (
        (tmp_path / "none.pem", own.key, "none.pem cannot be read: no such file"),
        (own.certificate, tmp_path / "none.key", "none.key cannot be read: no such file"),
        (empty, own.key, "empty.pem holds no certificate in PEM form"),
        (own.key, own.key, "own.key holds no certificate in PEM form"),
        (own.certificate, empty, "empty.pem holds no key in PEM form"),
        (own.certificate, another.key, "another.key is not the key of .*own.pem"),
    ):
        with pytest.raises(StartError, match=told):
            server_context(Pair(certificate, key))


def test_a_key_with_a_passphrase_is_told(tmp_path: Path, own: Certificate) -> None:
    locked = tmp_path / "locked.key"
    command = ["openssl", "pkey", "-in", own.key, "-aes128", "-passout", "pass:x", "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(StartError, match="locked by a passphrase"):
        server_context(Pair(own.certificate, locked))


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:db8:1:2:3::4]", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_an_ipv6_network_is_one_source(host: str, source: str) -> None:
    assert source_of(host) == source


def test_bounds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="per_source_max"):
        Settings(per_source_max=60_000)
    with pytest.raises(ValueError, match="handshakes_per_source_max"):
        msgspec.structs.replace(Settings(), handshakes_max=1)
