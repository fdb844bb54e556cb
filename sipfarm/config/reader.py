"""A member's file is read once, checked, and frozen from then on (DESIGN §6)."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from sipfarm.base.errors import ConfigError, ConfigProblem
from sipfarm.base.io.files import is_readable, read_text
from sipfarm.base.net import HostPort, Listen, PortRange
from sipfarm.base.roles import ROLES, Role
from sipfarm.base.secrets import Secret
from sipfarm.base.toml_reader import Reader, TomlDocument, TomlTable
from sipfarm.base.toml_values import (
    boolean,
    choice,
    function_name,
    integer,
    ip_network,
    ip_text,
    list_of,
    text,
    text_of,
)
from sipfarm.config.contradictions import contradictions
from sipfarm.config.sections import (
    BALANCING,
    DIGEST_ALGORITHMS,
    MEDIA_MODES,
    MEDIA_SOCKETS,
    PACKET_LOG_MB,
    REPLY_VIA,
    STOCK_ROUTING,
    AdminConfig,
    BusConfig,
    Config,
    DigestAlgorithm,
    FarmConfig,
    MediaConfig,
    MemberConfig,
    ProtectConfig,
    SipConfig,
)
from sipfarm.config.values import (
    advertised_address,
    bus_address,
    death_ms,
    farm_secret,
    ip_address,
    name_of,
    nameserver_address,
    silence_ms,
    store_url,
    token_of,
    trusted_network,
    web_origin,
)

SECTIONS = ("farm", "member", "sip", "protect", "bus", "media", "admin")
LISTEN_MAX = 64
TRUSTED_MAX = 256
NAMESERVERS_MAX = 3
ORIGINS_MAX = 256
RECONNECT_WAIT_MS_MAX = 30_000
"""Below 64*T1, when the sender of a request gives it up (RFC 3261 §17.1.2.2)."""
EXEMPT_MAX = 256


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Read a member's file; ConfigError tells everything that is wrong with it."""
    config = parse(read_text(path), str(path), environment, directory=path.absolute().parent)
    missing = [
        ConfigProblem(str(path), 0, f"[sip] {key}", f'cannot read "{file}"')
        for key, file in (("certificate", config.sip.certificate), ("key", config.sip.key))
        if file is not None and not is_readable(file)
    ]
    if missing:
        raise ConfigError(missing)
    return config


def parse(
    toml: str, file: str, environment: Mapping[str, str], directory: Path = Path("/")
) -> Config:
    """Make a configuration of TOML. Relative paths in it are meant from `directory`."""
    document = TomlDocument(toml, file)
    root = document.root
    tables = {name: root.table(name) for name in SECTIONS}
    config = Config(
        farm=_farm(tables["farm"], environment, directory),
        member=_member(tables["member"], directory),
        sip=_sip(tables["sip"], directory),
        protect=_protect(tables["protect"]),
        bus=BusConfig(listen=tables["bus"].require("listen", text_of(bus_address), _NOWHERE)),
        media=_media(tables["media"]),
        admin=_admin(tables["admin"], environment),
    )
    for table in (*tables.values(), root):
        table.close()
    if not document.problems:
        for section, key, reason in contradictions(config):
            tables[section].refuse(key, reason)
    document.finish()
    return config


_ROLES: Reader[tuple[Role, ...]] = list_of(choice(ROLES), len(ROLES))
_DIGESTS: Reader[tuple[DigestAlgorithm, ...]] = list_of(
    choice(DIGEST_ALGORITHMS), len(DIGEST_ALGORITHMS)
)
_NOWHERE = HostPort("127.0.0.1", 0)


def _farm(table: TomlTable, environment: Mapping[str, str], directory: Path) -> FarmConfig:
    secret = _secret(table, "secret", environment, farm_secret)
    if secret is None and "secret" not in table and "secret_env" not in table:
        table.refuse("", "secret (or secret_env) is missing")
    return FarmConfig(
        name=table.take("name", text_of(name_of), "farm"),
        secret=secret or Secret(""),
        secret_previous=table.take("secret_previous", text_of(farm_secret), None),
        store=table.require("store", text_of(lambda value: store_url(value, directory)), ""),
        balancing=table.take("balancing", choice(BALANCING), "packet"),
        suspect_after_ms=table.take("suspect_after_ms", silence_ms, 1_000),
        dead_after_ms=table.take("dead_after_ms", death_ms, 2_000),
    )


def _member(table: TomlTable, directory: Path) -> MemberConfig:
    return MemberConfig(
        name=table.require("name", text_of(name_of), ""),
        roles=table.take("roles", _ROLES, ROLES),
        drain_deadline_s=table.take("drain_deadline_s", integer(0, 86_400), 300),
        packet_log=table.take("packet_log", text_of(lambda value: directory / value), None),
        packet_log_mb=table.take("packet_log_mb", integer(1, 1_000_000), PACKET_LOG_MB),
    )


def _sip(table: TomlTable, directory: Path) -> SipConfig:
    path = text_of(lambda value: directory / value)
    return SipConfig(
        listen=table.take("listen", list_of(text_of(Listen.parse), LISTEN_MAX), ()),
        advertise=table.take("advertise", text_of(advertised_address), None),
        certificate=table.take("certificate", path, None),
        key=table.take("key", path, None),
        reply_via=table.take("reply_via", choice(REPLY_VIA), "any"),
        routing=table.take("routing", text_of(function_name), STOCK_ROUTING),
        trusted=table.take("trusted", list_of(text_of(trusted_network), TRUSTED_MAX), ()),
        digest=table.take("digest", _DIGESTS, DIGEST_ALGORITHMS),
        nameservers=table.take(
            "nameservers", list_of(text_of(nameserver_address), NAMESERVERS_MAX), ()
        ),
        origins=table.take("origins", list_of(text_of(web_origin), ORIGINS_MAX), ()),
        reconnect_wait_ms=table.take("reconnect_wait_ms", integer(0, RECONNECT_WAIT_MS_MAX), 5_000),
    )


def _protect(table: TomlTable) -> ProtectConfig:
    """Read the section; a 0 switches a bound off."""
    usual = ProtectConfig()
    rate = integer(0, 1_000_000)
    return ProtectConfig(
        unproven_per_second=table.take("unproven_per_second", rate, usual.unproven_per_second),
        unproven_total_per_second=table.take(
            "unproven_total_per_second", rate, usual.unproven_total_per_second
        ),
        faults_max=table.take("faults_max", integer(0, 1_000_000), usual.faults_max),
        fault_forgiven_s=table.take("fault_forgiven_s", integer(1, 86_400), usual.fault_forgiven_s),
        ban_s=table.take("ban_s", integer(1, 86_400), usual.ban_s),
        exempt=table.take("exempt", list_of(text_of(ip_network), EXEMPT_MAX), usual.exempt),
    )


def _media(table: TomlTable) -> MediaConfig:
    return MediaConfig(
        mode=table.take("mode", choice(MEDIA_MODES), "relay"),
        address=table.take("address", text_of(ip_text), "127.0.0.1"),
        advertise=table.take("advertise", text_of(ip_text), None),
        ports=table.take("ports", text_of(PortRange.parse), PortRange(20_000, 29_999)),
        threads=table.take("threads", integer(1, 64), 1),
        sockets=table.take("sockets", choice(MEDIA_SOCKETS), "auto"),
        kernel_relay=table.take("kernel_relay", boolean, True),
        silence_timeout_s=table.take("silence_timeout_s", integer(5, 86_400), 60),
    )


def _admin(table: TomlTable, environment: Mapping[str, str]) -> AdminConfig:
    return AdminConfig(
        listen=table.require("listen", text_of(ip_address), _NOWHERE),
        token=_secret(table, "token", environment, token_of),
    )


def _secret(
    table: TomlTable,
    key: str,
    environment: Mapping[str, str],
    parse_secret: Callable[[str], Secret],
) -> Secret | None:
    """A secret that stands in the file, or in the environment variable that the file names."""
    written = table.take(key, text_of(parse_secret), None)
    variable = table.take(f"{key}_env", text, None)
    if variable is None:
        return written
    if key in table:
        table.refuse(f"{key}_env", f"{key} is there too: only one of the two is allowed")
        return None
    value = environment.get(variable, "")
    if not value:
        table.refuse(f"{key}_env", f"the environment variable {variable} is not set")
        return None
    try:
        return parse_secret(value)
    except ValueError as error:
        table.refuse(f"{key}_env", f"the environment variable {variable}: {error}")
        return None
