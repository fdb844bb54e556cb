import ipaddress
from pathlib import Path

import pytest

from sipfarm.base.errors import ConfigError
from sipfarm.base.net import HostPort, Listen, PortRange
from sipfarm.base.secrets import Secret
from sipfarm.config import STOCK_ROUTING, Config, ProtectConfig, load, parse

WHOLE = """
[farm]
name = "north"
secret = "0123456789abcdef"
secret_previous = "fedcba9876543210"
store = "sqlite:/var/lib/sipfarm/farm.db"
balancing = "flow"
suspect_after_ms = 900
dead_after_ms = 1800

[member]
name = "m1"
roles = ["pbx", "media"]
drain_deadline_s = 60
packet_log = "log/packets.jsonl"
packet_log_mb = 10

[sip]
listen = ["udp:127.0.0.1:5061", "tls:[::1]:5061"]
advertise = "sip.example.test"
certificate = "tls/certificate.pem"
key = "/etc/key.pem"
reply_via = "receiver"
routing = "provider.routing:route"
trusted = ["10.0.0.0/8", "::1/128"]
nameservers = ["192.0.2.53", "[2001:db8::53]:5353"]
origins = ["https://Phone.example.test:443", "http://[::1]:8000", "capacitor://localhost"]

[protect]
unproven_per_second = 50
unproven_total_per_second = 0
faults_max = 10
fault_forgiven_s = 60
ban_s = 3600
exempt = ["198.51.100.0/24"]

[bus]
listen = "127.0.0.1:7061"

[media]
mode = "auto"
address = "127.0.0.1"
advertise = "192.0.2.1"
ports = "21000-21999"
threads = 2

[admin]
listen = "0.0.0.0:8061"
token_env = "TOKEN"
"""

SMALL = """[farm]
secret_env = "SECRET"
store = "redis://127.0.0.1:6379/0"
[member]
name = "m1"
[sip]
listen = ["udp:127.0.0.1:5061"]
[bus]
listen = "127.0.0.1:7061"
[admin]
listen = "127.0.0.1:8061"
"""

ENVIRONMENT = {"SECRET": "0123456789abcdef", "TOKEN": "a-long-token", "SHORT": "x"}


def read(text: str) -> Config:
    return parse(text, "member.toml", ENVIRONMENT, Path("/etc/sipfarm"))


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value).splitlines()


def test_every_key_is_read() -> None:
    config = read(WHOLE)
    assert config.farm.name == "north"
    assert config.farm.secret == Secret("0123456789abcdef")
    assert config.farm.secret_previous == Secret("fedcba9876543210")
    assert config.farm.balancing == "flow"
    assert (config.farm.suspect_after_ms, config.farm.dead_after_ms) == (900, 1_800)
    assert config.member.roles == ("pbx", "media")
    assert config.member.drain_deadline_s == 60
    assert config.member.packet_log == Path("/etc/sipfarm/log/packets.jsonl")
    assert config.member.packet_log_mb == 10
    assert config.sip.listen[1] == Listen.parse("tls:[::1]:5061")
    assert config.sip.advertise == HostPort("sip.example.test", 5060)
    assert config.sip.certificate == Path("/etc/sipfarm/tls/certificate.pem")
    assert config.sip.key == Path("/etc/key.pem")
    assert config.sip.reply_via == "receiver"
    assert config.sip.routing == "provider.routing:route"
    assert [str(network) for network in config.sip.trusted] == ["10.0.0.0/8", "::1/128"]
    assert config.sip.nameservers == (HostPort("192.0.2.53", 53), HostPort("2001:db8::53", 5353))
    assert config.sip.origins == (
        "https://phone.example.test",
        "http://[::1]:8000",
        "capacitor://localhost",
    )
    assert config.protect == ProtectConfig(
        unproven_per_second=50,
        unproven_total_per_second=0,
        faults_max=10,
        fault_forgiven_s=60,
        ban_s=3_600,
        exempt=(ipaddress.IPv4Network("198.51.100.0/24"),),
    )
    assert config.media.ports == PortRange(21_000, 21_999)
    assert (config.media.advertise, config.media.threads) == ("192.0.2.1", 2)
    assert config.media.mode == "auto"
    assert config.admin.token == Secret("a-long-token")


def test_what_is_left_out_has_a_default() -> None:
    config = read(SMALL)
    assert config.farm.secret == Secret("0123456789abcdef")
    assert config.farm.balancing == "packet"
    assert config.member.roles == ("edge", "pbx", "media")
    assert config.member.packet_log is None
    assert config.sip.routing == STOCK_ROUTING
    assert config.sip.trusted == ()
    assert config.sip.origins == ()
    assert config.media.mode == "relay"
    assert [str(network) for network in config.protect.exempt] == ["127.0.0.0/8", "::1/128"]
    assert config.admin.token is None


def test_a_configuration_does_not_show_its_secrets() -> None:
    shown = repr(read(WHOLE))
    assert "0123456789abcdef" not in shown
    assert "a-long-token" not in shown


@pytest.mark.parametrize(
    ("wrong", "right", "problem"),
    [
        ('"m1"', '"m 1"', '5: [member] name: "m 1": allowed are 1 to 32 letters'),
        ('name = "m1"', "", "4: [member] name: is missing"),
        ('name = "m1"', "name = 1", "5: [member] name: must be a text in quotes"),
        ("SECRET", "UNSET", "2: [farm] secret_env: the environment variable UNSET is not set"),
        ("SECRET", "SHORT", "2: [farm] secret_env: the environment variable SHORT: too short"),
        ("secret_env", "secret", "2: [farm] secret: too short"),
        ('secret_env = "SECRET"', "", "1: [farm]: secret (or secret_env) is missing"),
        (
            'secret_env = "SECRET"',
            'secret_env = "SECRET"\nsecret = "0123456789abcdef"',
            "2: [farm] secret_env: secret is there too",
        ),
        ("redis:", "mysql:", '3: [farm] store: "mysql://127.0.0.1:6379/0": allowed are sqlite:'),
        ("redis://127.0.0.1:6379/0", "sqlite:", "3: [farm] store: sqlite: needs a path"),
        ("redis://127.0.0.1:6379/0", "redis://", '3: [farm] store: "redis://": allowed are'),
        ("udp:", "tcq:", '7: [sip] listen: "tcq:127.0.0.1:5061" does not begin with a transport'),
        ("udp:", "tls:", "7: [sip] listen: tls:127.0.0.1:5061 needs certificate and key"),
        ("udp:127.0.0.1", "udp:0.0.0.0", "7: [sip] listen: listening on all addresses needs"),
        ("udp:127.0.0.1:5061", "tcp:127.0.0.1:7061", "7: [sip] listen: tcp:127.0.0.1:7061 and [b"),
        ('["udp:127.0.0.1:5061"]', "[]", "7: [sip] listen: says where phones reach the farm"),
        ('["udp:127.0.0.1:5061"]', '"udp"', '7: [sip] listen: "udp": must be a list'),
        (
            '["udp:127.0.0.1:5061"]',
            '["udp:127.0.0.1:1","udp:127.0.0.1:1"]',
            '7: [sip] listen: "udp:127.0.0.1:1" stands there twice',
        ),
        ("[bus]", 'certificate = "c.pem"\n[bus]', "8: [sip] certificate: certificate and key go"),
        ("[bus]", 'trusted = ["10.0.0.1/8"]\n[bus]', '8: [sip] trusted: "10.0.0.1/8" is no netw'),
        ("[bus]", 'trusted = ["0.0.0.0/0"]\n[bus]', '8: [sip] trusted: "0.0.0.0/0" is everybody'),
        ("[bus]", 'origins = ["*"]\n[bus]', '8: [sip] origins: "*": write it as browsers do'),
        ("[bus]", 'origins = ["http://a/"]\n[bus]', '8: [sip] origins: "http://a/": write it as'),
        ("[bus]", 'origins = ["http://a:65536"]\n[bus]', '8: [sip] origins: "http://a:65536": wr'),
        (
            "[bus]",
            'origins = ["http://a", "http://A:80"]\n[bus]',
            '8: [sip] origins: "http://a" stands there twice',
        ),
        ("[bus]", 'nameservers = ["ns"]\n[bus]', '8: [sip] nameservers: "ns": write the IP addr'),
        ("redis://127.0.0.1:6379/0", "redis+sentinel://a", '3: [farm] store: "redis+sentinel://a"'),
        ("[bus]", 'routing = "x"\n[bus]', '8: [sip] routing: "x": must name a function'),
        ("[bus]", 'reply_via = "x"\n[bus]', '8: [sip] reply_via: "x": allowed are "any" and "re'),
        ("[bus]", 'advertise = "0.0.0.0"\n[bus]', '8: [sip] advertise: "0.0.0.0": write the addr'),
        ("[bus]", 'advertize = "x"\n[bus]', '8: [sip] advertize: unknown key; did you mean "adv'),
        ("[bus]", "zzz = 1\n[bus]", "8: [sip] zzz: unknown key; allowed are listen, advertise"),
        ("[bus]", "[protect]\nban_s = 0\n[bus]", "9: [protect] ban_s: 0: must be a whole number"),
        ("[bus]", '[protect]\nexempt = ["x"]\n[bus]', '9: [protect] exempt: "x" is no network'),
        ("127.0.0.1:7061", "0.0.0.0:7061", '9: [bus] listen: "0.0.0.0:7061": write the one addre'),
        ("127.0.0.1:8061", "192.0.2.1:8061", "11: [admin] listen: 192.0.2.1:8061 is not loopback"),
        ("[admin]", '[media]\nports = "5000-6000"\n[admin]', "11: [media] ports: udp:127.0.0.1:5"),
        ("[admin]", '[media]\naddress = "::"\n[admin]', "11: [media] address: all addresses need"),
        ("[admin]", '[media]\nsockets = "one"\n[admin]', '11: [media] sockets: "one": allowed are'),
        ("[admin]", "[media]\nthreads = true\n[admin]", "11: [media] threads: true: must be a who"),
        ("[member]", "dead_after_ms = 1000\n[member]", "1: [farm] suspect_after_ms: must be belo"),
        ("[member]", "[mumble]\n[member]", '4: [mumble]: unknown key; did you mean "member"?'),
        ("[bus]\n", "[[bus]]\n", "8: [bus]: must be a table: write [bus]"),
        ('"m1"', '"m1"\nroles = ["edge", "pbk"]', '6: [member] roles: "pbk": allowed are "edge"'),
        ('"m1"', '"m1"\nroles = []', "6: [member] roles: a member has at least one role"),
        ('"m1"', '"m1"\nroles = ["edge", "pbx"]', '6: [member] roles: "pbx" needs "media" besid'),
        ('"m1"', '"m1"\nroles = ["edge", "media"]', '6: [member] roles: "media" needs "pbx" be'),
    ],
)
def test_a_fault_is_told_with_file_line_key_and_what_is_allowed(
    wrong: str, right: str, problem: str
) -> None:
    text = SMALL.replace(wrong, right, 1)
    assert text != SMALL
    told = problems(text)
    assert told[0].startswith(f"member.toml:{problem}")


def test_all_faults_are_told_at_once_in_the_order_of_the_lines() -> None:
    text = SMALL.replace("redis:", "x:").replace("udp:", "x:").replace("8061", "99999")
    assert [line.split(": ")[0] for line in problems(text)] == [
        "member.toml:3",
        "member.toml:7",
        "member.toml:11",
    ]


def test_an_empty_file_is_told_all_that_it_must_have() -> None:
    told = "\n".join(problems(""))
    for key in ("[farm] store", "[farm]: secret", "[member] name", "[bus] listen", "[admin]"):
        assert key in told


def test_a_relative_store_is_meant_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "member.toml"
    file.write_text(SMALL.replace("redis://127.0.0.1:6379/0", "sqlite:farm.db"))
    assert load(file, ENVIRONMENT).farm.store == f"sqlite:{tmp_path}/farm.db"


def test_a_certificate_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    file = tmp_path / "member.toml"
    file.write_text(SMALL.replace("[bus]", 'certificate = "c.pem"\nkey = "k.pem"\n[bus]'))
    with pytest.raises(ConfigError, match=r"\[sip\] certificate: cannot read"):
        load(file, ENVIRONMENT)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"member\.toml: cannot be read: no such file"):
        load(tmp_path / "member.toml", ENVIRONMENT)


def test_a_store_may_be_found_through_sentinels() -> None:
    url = "redis+sentinel://10.0.0.1:26379,10.0.0.2/farm"
    assert read(SMALL.replace("redis://127.0.0.1:6379/0", url)).farm.store == url
