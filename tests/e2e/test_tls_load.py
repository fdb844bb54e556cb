"""SIPp behind stunnel, since SIPp itself has no TLS here: calls from TLS to UDP, with some load."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sipfarm.base.net import HostPort
from sipfarm.testing.eventually import eventually
from sipfarm.testing.ports import lease_ports
from sipfarm.testing.processes import Children
from sipfarm.testing.sipp import Sipp, SippCall
from sipfarm.testing.sockets import is_listening
from sipfarm.testing.stream_farm import DOMAIN, PORTS, TLS, UDP, StreamFarm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

CALLS_PER_S = 20
SECONDS = 5
TUNNEL_STEP = 9
WITHIN_S = 10.0


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamFarm]:
    with lease_ports(PORTS) as lease, Children() as children:
        yield StreamFarm(children, lease, tmp_path_factory.mktemp("farm"), members=3)


def tunnel(farm: StreamFarm, children: Children, folder: Path) -> HostPort:
    """Where what is said in the clear goes on over TLS, from an address that may call."""
    entrance = HostPort(farm.trusted(1).host, farm.at(TUNNEL_STEP).port)
    file = folder / "stunnel.conf"
    file.write_text(
        "foreground = yes\npid =\nsyslog = no\n"
        "[farm]\nclient = yes\n"
        f"accept = {entrance}\nconnect = {farm.at(TLS)}\nlocal = {farm.trusted(1).host}\n"
        f"CAfile = {farm.trust}\nverifyChain = yes\ncheckIP = {farm.host}\n",
        encoding="utf-8",
    )
    children.start(["stunnel4", file])
    eventually(lambda: is_listening(entrance), "stunnel listens", WITHIN_S)
    return entrance


@pytest.mark.parametrize("transport", ["t1", "tn"])
def test_calls_over_tls_under_load(
    farm: StreamFarm, children: Children, tmp_path: Path, transport: str
) -> None:
    """`t1`: all calls over one connection, `tn`: each over its own."""
    folder = tmp_path / "sipp"
    folder.mkdir()
    phone = farm.trusted(2)
    registered = SippCall(
        scenario="register_contact",
        local=phone,
        remote=farm.at(UDP),
        domain=DOMAIN,
        service="bob",
        keys={"contact": str(phone)},
    )
    Sipp(children, folder, registered).succeed()
    calls = CALLS_PER_S * SECONDS
    called = Sipp(
        children, folder, SippCall(scenario="call_uas", local=phone, domain=DOMAIN, calls=calls)
    )
    calling = Sipp(
        children,
        folder,
        SippCall(
            scenario="call_uac",
            local=farm.trusted(3),
            remote=tunnel(farm, children, tmp_path),
            domain=DOMAIN,
            calls=calls,
            per_second=CALLS_PER_S,
            transport=transport,
            hold_ms=1_000,
            options=("-max_socket", "500"),
        ),
    )
    assert calling.succeed().successful == calls
    assert called.succeed().taken == calls
