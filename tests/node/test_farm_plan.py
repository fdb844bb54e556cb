from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from sipfarm import config as configuration
from sipfarm.base.errors import StartError
from sipfarm.base.net import HostPort, PortRange
from sipfarm.base.secrets import Secret
from sipfarm.config import Config
from sipfarm.node.farm_plan import share_out, stock_config, with_listen
from sipfarm.node.member_toml import toml_of

SIP = HostPort("127.0.0.1", 5060)
ADMIN = HostPort("127.0.0.1", 8080)


def stock(listen: HostPort = SIP, admin: HostPort = ADMIN) -> Config:
    return stock_config(listen, admin, "sqlite:/tmp/farm.db", Secret("s" * 32))


def written(config: Config) -> Config:
    return configuration.parse(toml_of(config), "member.toml", {})


def test_members_share_the_sip_address_and_nothing_else() -> None:
    members = share_out(stock(), 3, [7_001, 7_002, 7_003])
    assert [member.member.name for member in members] == ["m1", "m2", "m3"]
    assert {member.sip.listen for member in members} == {stock().sip.listen}
    assert [member.admin.listen.port for member in members] == [8_081, 8_082, 8_083]
    assert [member.bus.listen.port for member in members] == [7_001, 7_002, 7_003]
    shares = [member.media.ports for member in members]
    assert all(one.last < other.first for one, other in pairwise(shares))
    assert all(share.first % 2 == 0 for share in shares)
    assert {member.farm.secret for member in members} == {Secret("s" * 32)}


@pytest.mark.parametrize("kernel_relay", [True, False])
def test_a_member_reads_the_choices_that_were_written_for_it(kernel_relay: bool) -> None:
    config = stock()
    media = msgspec.structs.replace(config.media, kernel_relay=kernel_relay)
    config = msgspec.structs.replace(config, media=media)
    assert written(config).media.kernel_relay is kernel_relay


def test_each_member_has_a_packet_log_of_its_own() -> None:
    config = stock()
    log = Path("/var/log/sipfarm/packets.jsonl")
    member = msgspec.structs.replace(config.member, packet_log=log)
    members = share_out(msgspec.structs.replace(config, member=member), 2, [1, 2])
    assert [str(member.member.packet_log) for member in members] == [
        "/var/log/sipfarm/packets-m1.jsonl",
        "/var/log/sipfarm/packets-m2.jsonl",
    ]


def test_a_bus_port_that_is_named_is_the_first_of_all() -> None:
    config = configuration.parse(
        toml_of(stock()).replace('listen = "127.0.0.1:0"', 'listen = "127.0.0.1:7061"'), "m", {}
    )
    assert [member.bus.listen.port for member in share_out(config, 2, [])] == [7_061, 7_062]


@pytest.mark.parametrize("port", [5_060, 20_000, 25_000, 29_999, 30_000])
def test_media_ports_keep_clear_of_the_sip_port(port: int) -> None:
    members = share_out(stock(HostPort("127.0.0.1", port)), 2, [1, 2])
    assert not any(
        member.media.ports.first <= port <= member.media.ports.last for member in members
    )


@pytest.mark.parametrize(
    ("config", "count", "reason"),
    [
        (stock(), 0, "0 members"),
        (stock(), 65, "65 members"),
        (stock(admin=HostPort("127.0.0.1", 65_534)), 2, "ports above"),
        (stock(HostPort("127.0.0.1", 0)), 2, "not 0"),
        (stock(HostPort("0.0.0.0", 5060)), 1, r"\[sip\] listen: .*advertise"),
        (stock(HostPort("127.0.0.1", 8081)), 1, r"\[sip\] listen: .*same address"),
        (stock(admin=HostPort("0.0.0.0", 8080)), 1, r"\[admin\] listen: .*token"),
    ],
)
def test_what_cannot_be_shared_is_told_in_a_sentence(
    config: Config, count: int, reason: str
) -> None:
    with pytest.raises(StartError, match=reason):
        share_out(config, count, [1] * count)


def test_too_few_media_ports_are_told() -> None:
    config = configuration.parse(
        toml_of(stock()).replace("20000-29999", "20000-20005"), "member.toml", {}
    )
    assert len(share_out(config, 3, [1, 2, 3])) == 3
    with pytest.raises(StartError, match=r"\[media\] ports: .*no part"):
        share_out(config, 4, [1, 2, 3, 4])


def test_another_address_takes_the_place_of_all() -> None:
    config = with_listen(stock(), HostPort("127.0.0.2", 6060))
    assert [str(listen) for listen in config.sip.listen] == [
        "udp:127.0.0.2:6060",
        "tcp:127.0.0.2:6060",
    ]


def test_what_is_written_is_read_as_the_same() -> None:
    for member in share_out(stock(), 3, [7_001, 7_002, 7_003]):
        assert written(member) == member


def test_every_key_and_every_odd_text_survives_writing(tmp_path: Path) -> None:
    for name in ("odd ü.pem", 'quoted "\\.key'):
        (tmp_path / name).touch()
    text = """
        [farm]
        name = "f-1"
        secret = "0123456789 \\" \\\\ \\u007f \\u0001 ü 😀"
        secret_previous = "another secret that was there"
        store = "redis://:pass@127.0.0.1:6379/1"
        balancing = "flow"
        suspect_after_ms = 500
        dead_after_ms = 900
        [member]
        name = "m1"
        roles = ["pbx", "media"]
        drain_deadline_s = 7
        packet_log = "packets.jsonl"
        packet_log_mb = 9
        [sip]
        listen = ["udp:[::1]:5060", "tls:127.0.0.1:5061"]
        advertise = "sip.example.test:5060"
        certificate = "odd ü.pem"
        key = 'quoted "\\.key'
        reply_via = "receiver"
        routing = "own.module:policy"
        trusted = ["10.0.0.0/8", "fd00::/8"]
        [bus]
        listen = "127.0.0.1:7061"
        [media]
        address = "127.0.0.1"
        advertise = "192.0.2.1"
        ports = "20000-20999"
        threads = 3
        [admin]
        listen = "127.0.0.1:8061"
        token = "a token, printable"
    """
    config = configuration.parse(text, "member.toml", {}, tmp_path)
    assert written(config) == config
    assert config.media.ports == PortRange(20_000, 20_999)


SECURE = """[farm]
secret = "a secret of these tests"
store = "sqlite:farm.db"
[member]
name = "m1"
[sip]
listen = ["udp:127.0.0.1:5060", "tls:127.0.0.1:5061", "ws:127.0.0.1:8082", "wss:[::1]:8443"]
certificate = "farm.pem"
key = "farm.key"
[bus]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:8080"
"""


def test_members_share_the_ports_of_tls_and_websocket_too() -> None:
    config = configuration.parse(SECURE.replace("8082", "8092"), "m", {}, Path("/etc/farm"))
    members = share_out(config, 3, [7_001, 7_002, 7_003])
    assert {member.sip.listen for member in members} == {config.sip.listen}
    assert {member.sip.certificate for member in members} == {Path("/etc/farm/farm.pem")}
    assert [written(member).sip for member in members] == [config.sip] * 3


def test_a_port_of_websocket_is_none_of_an_admin_api() -> None:
    config = configuration.parse(SECURE, "m", {})
    with pytest.raises(StartError, match=r"ws:127\.0\.0\.1:8082 and \[admin\] listen are the same"):
        share_out(config, 3, [7_001, 7_002, 7_003])


def test_another_sip_address_leaves_tls_and_websocket_where_they_are() -> None:
    config = with_listen(configuration.parse(SECURE, "m", {}), HostPort("127.0.0.2", 5070))
    assert [str(listen) for listen in config.sip.listen] == [
        "udp:127.0.0.2:5070",
        "tcp:127.0.0.2:5070",
        "tls:127.0.0.1:5061",
        "ws:127.0.0.1:8082",
        "wss:[::1]:8443",
    ]
