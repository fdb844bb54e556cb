"""Codes that cross a bridge of the plane: a codec pair carries each call's own and no other."""

from collections.abc import Iterator

import pytest

from loadtests.call_ends import judge
from loadtests.tone_ends import CODECS, ToneEnds
from sipfarm.base.net import HostPort
from sipfarm.native import BridgeSide, CodecFormat, Plane, PortPool
from sipfarm.testing.ports import lease_ports

pytestmark = pytest.mark.timeout(300)  # the program is built first

HOST = "127.0.0.1"
CALLS = 10
LISTEN_MS = 5_000
SAMPLE_RATES_HZ = {"G722": 16_000, "opus": 16_000, "L16": 16_000, "AMR-WB": 16_000}


@pytest.fixture
def ports() -> Iterator[tuple[Plane, list[int]]]:
    pool = PortPool()
    plane = Plane(pool, HOST, first_port=42_000, last_port=48_999)
    while pool.free < 2 * CALLS:
        plane.replenish(0)
    taken = [pool.take(0) for _ in range(2 * CALLS)]
    yield plane, [port for port in taken if port is not None]
    plane.stop()


def side(codec: str) -> BridgeSide:
    payload_type, rtpmap = CODECS[codec]
    _, clock_rate_hz, *channels = rtpmap.split("/")
    rate_hz = SAMPLE_RATES_HZ.get(codec, 8_000)
    channel_count = int(channels[0]) if channels else 1
    coding = CodecFormat(codec, int(clock_rate_hz), rate_hz, channels=channel_count)
    return BridgeSide(receive=[(payload_type, coding)], send=(payload_type, coding))


@pytest.mark.parametrize(
    ("near", "far"),
    [
        ("PCMU", "PCMA"),
        ("PCMU", "G722"),
        ("PCMA", "opus"),
        ("G722", "opus"),
        ("G722", "AMR-WB"),
        ("PCMU", "G729"),
        ("GSM", "AMR"),
        ("L16", "G726-32"),
    ],
)
def test_each_end_hears_the_other_through_two_codecs(
    ports: tuple[Plane, list[int]], near: str, far: str
) -> None:
    plane, numbers = ports
    with lease_ports(10) as lease, ToneEnds(near, far, LISTEN_MS) as ends:
        host = f"127.{lease.first >> 8}.{lease.first & 255}.2"  # the lease makes it ours
        calls = [
            (call, HostPort(host, 12_000 + 4 * call), HostPort(host, 12_002 + 4 * call))
            for call in range(1, CALLS + 1)
        ]
        ends.bind(calls)
        for call, a, b in calls:
            port_a, port_b = numbers[2 * call - 2 : 2 * call]
            plane.open_relay(call, port_a, (a.host, a.port), port_b, (b.host, b.port))
            plane.set_bridge(call, side(near), side(far))
            ends.start(call, HostPort(HOST, port_a), HostPort(HOST, port_b))
        heard = ends.finish()
    assert len(heard) == 2 * CALLS
    assert not judge(heard, range(1, CALLS + 1), LISTEN_MS)
