"""A relay of the plane that becomes a bridge and a relay again, over real sockets."""

import select
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest

from sipfarm.native import BridgeSide, CodecDecoder, CodecEncoder, CodecFormat, Plane, PortPool

PCMU = CodecFormat("PCMU", 8_000, 8_000)
PCMA = CodecFormat("PCMA", 8_000, 8_000)
G722 = CodecFormat("G722", 8_000, 16_000)
OPUS = CodecFormat("opus", 48_000, 16_000, channels=2)
STREAM = 7


class Phone:
    """An RTP end on a socket of its own."""

    def __init__(self, payload_type: int, coding: CodecFormat) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self._payload_type = payload_type
        self._coding = coding
        self._encoder = CodecEncoder(coding)
        self._sent = 0

    @property
    def address(self) -> tuple[str, int]:
        return self.socket.getsockname()

    def talk(self, port: int, hz: float) -> None:
        """One packet of 20 ms."""
        rate, clock = self._coding.sample_rate_hz, self._coding.clock_rate_hz
        at = np.arange(self._sent * rate // 50, (self._sent + 1) * rate // 50)
        pcm = (10_000 * np.sin(2 * np.pi * hz * at / rate)).astype(np.int16)
        header = struct.pack(
            ">BBHII", 0x80, self._payload_type, self._sent, self._sent * clock // 50, 0xABCD
        )
        self._sent += 1
        self.socket.sendto(header + self._encoder.encode(pcm.tobytes()), ("127.0.0.1", port))

    def hears(self, within_s: float) -> bool:
        return bool(select.select([self.socket], [], [], within_s)[0])

    def hear(self) -> bytes:
        assert self.hears(5), "nothing came"
        return self.socket.recv(2_000)


class Relay:
    def __init__(self) -> None:
        pool = PortPool()
        self.plane = Plane(pool, "127.0.0.1", first_port=42_000, last_port=48_999)
        while pool.free < 2:
            self.plane.replenish(0)
        first, second = pool.take(0), pool.take(0)
        assert first is not None
        assert second is not None
        self.ports = (first, second)

    def open(self, a: Phone, b: Phone) -> None:
        """Open, and wait until packets go both ways: a command is carried out in its turn."""
        self.plane.open_relay(STREAM, self.ports[0], a.address, self.ports[1], b.address)
        for sender, port, listener in ((a, self.ports[0], b), (b, self.ports[1], a)):
            while not listener.hears(0.05):
                sender.talk(port, 440)
            while listener.hears(0.05):
                listener.hear()

    def first_kind(self, a: Phone, b: Phone, wanted: int) -> int:
        """The payload type that `b` hears: the one that was wanted, or the 100th other."""
        kind = -1
        for _ in range(100):
            a.talk(self.ports[0], 440)
            kind = b.hear()[1] & 0x7F if b.hears(0.2) else -1  # a resampler begins with less
            if kind == wanted:
                break
        return kind


@pytest.fixture
def relay() -> Iterator[Relay]:
    made = Relay()
    yield made
    made.plane.stop()


@pytest.fixture
def phones() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def side(payload_type: int, coding: CodecFormat) -> BridgeSide:
    return BridgeSide(receive=[(payload_type, coding)], send=(payload_type, coding))


def strongest_hz(packets: list[bytes], coding: CodecFormat) -> float:
    decoder = CodecDecoder(coding)
    pcm = np.frombuffer(b"".join(decoder.decode(p[12:]) for p in packets), np.int16)
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.fft.rfftfreq(len(pcm), 1 / coding.sample_rate_hz)[spectrum.argmax()])


@pytest.mark.parametrize(
    ("near", "far"), [((0, PCMU), (8, PCMA)), ((9, G722), (0, PCMU)), ((0, PCMU), (96, OPUS))]
)
def test_a_tone_crosses_a_bridge_in_both_directions(
    relay: Relay,
    phones: ExitStack,
    near: tuple[int, CodecFormat],
    far: tuple[int, CodecFormat],
) -> None:
    a, b = Phone(*near), Phone(*far)
    phones.callback(a.socket.close)
    phones.callback(b.socket.close)
    relay.open(a, b)
    relay.plane.set_bridge(STREAM, side(*near), side(*far))
    assert relay.first_kind(a, b, far[0]) == far[0]
    heard: tuple[list[bytes], list[bytes]] = ([], [])
    for turn in range(50):
        a.talk(relay.ports[0], 440)
        b.talk(relay.ports[1], 700)
        if turn > 1:  # a codec or resampler may begin with less than a frame
            heard[0].append(a.hear())
            heard[1].append(b.hear())
    assert {packet[1] & 0x7F for packet in heard[0]} == {near[0]}
    assert {packet[1] & 0x7F for packet in heard[1]} == {far[0]}
    assert strongest_hz(heard[0], near[1]) == pytest.approx(700, abs=3)
    assert strongest_hz(heard[1], far[1]) == pytest.approx(440, abs=3)


def test_a_bridge_is_a_plain_relay_before_and_after(relay: Relay, phones: ExitStack) -> None:
    a, b = Phone(0, PCMU), Phone(8, PCMA)
    phones.callback(a.socket.close)
    phones.callback(b.socket.close)
    relay.open(a, b)
    for _ in range(3):
        relay.plane.set_bridge(STREAM, side(0, PCMU), side(8, PCMA))
        assert relay.first_kind(a, b, 8) == 8
        relay.plane.set_plain(STREAM)
        assert relay.first_kind(a, b, 0) == 0


def test_a_codec_that_cannot_be_done_leaves_the_relay_as_it_is(
    relay: Relay, phones: ExitStack
) -> None:
    a, b = Phone(0, PCMU), Phone(8, PCMA)
    phones.callback(a.socket.close)
    phones.callback(b.socket.close)
    relay.open(a, b)
    with pytest.raises(ValueError, match="rate"):
        relay.plane.set_bridge(STREAM, side(0, PCMU), side(9, CodecFormat("G722", 8_000, 44_100)))
    a.talk(relay.ports[0], 440)
    assert b.hear()[1] & 0x7F == 0


def test_more_bridges_than_a_thread_has_taken_are_refused_or_taken_but_never_piled_up(
    relay: Relay, phones: ExitStack
) -> None:
    a, b = Phone(0, PCMU), Phone(8, PCMA)
    phones.callback(a.socket.close)
    phones.callback(b.socket.close)
    relay.open(a, b)
    refused = 0
    for _ in range(200):
        try:
            relay.plane.set_bridge(STREAM, side(0, PCMU), side(8, PCMA))
        except ValueError:
            refused += 1
    assert relay.plane.totals()["commands_refused"] == refused
    assert relay.first_kind(a, b, 8) == 8
